"""What a worker keeps in its accelerator's memory and writes into a checkpoint, by ZeRO stage.

Plain numbers, for DeepSpeed 0.19.8 with this project's settings: weights in float32 and Adam, so 16
bytes a parameter before anything is sharded. What activations take is in :mod:`model.activations`.
``tests/test_communication.py`` holds both against real processes.
"""

from dataclasses import dataclass

from scaling.communication import FULL, HALF, REUSE_DISTANCE

BUCKET = 500_000_000
"""Gradients that are reduced at a time: DeepSpeed's default of ``reduce_bucket_size``."""
MOMENTS = 2
"""Numbers that Adam keeps for a parameter."""


@dataclass(frozen=True)
class Footprint:
    """Bytes of a worker while gradients are reduced.

    ``optimizer`` are Adam's moments and, where they are sharded, the copy of the parameters that
    they are taken on; ``buffers`` what gradients are reduced in, and at stage 3 the parameters that
    are gathered.
    """

    parameters: float
    gradients: float
    optimizer: float
    buffers: float

    @property
    def total(self) -> float:
        """All of them."""
        return self.parameters + self.gradients + self.optimizer + self.buffers


def footprint(stage: int, parameters: int, workers: int, *, half: bool = False) -> Footprint:
    """The footprint of one of so many workers; products in bfloat16 where ``half``."""
    whole = float(FULL * parameters)
    shard = whole / workers
    reduced = min(parameters, BUCKET)
    cast = HALF * half
    if stage == 0:
        return Footprint(whole, whole, MOMENTS * whole, FULL * reduced)
    optimizer = (MOMENTS + 1) * shard
    # A bucket has memory of its own, for each precision that gradients are said in.
    if stage == 1:
        return Footprint(whole, whole, optimizer, (1 + half) * FULL * BUCKET + cast * reduced)
    if stage == 2:
        buffers = (1 + half) * FULL * BUCKET + (FULL + cast) * reduced
        return Footprint(whole, shard, optimizer, buffers)
    gathered = (HALF if half else FULL) * min(parameters, REUSE_DISTANCE // 2)
    return Footprint(shard, shard, optimizer, (FULL + cast) * BUCKET + gathered)


def peak(
    stage: int, held: Footprint, forward: float, backward: float, *, accumulate: int = 1
) -> float:
    """The most bytes of a worker in a step, with those that its passes keep.

    ``forward`` and ``backward`` are those of :class:`model.activations.Activations`. Gradients of
    earlier pieces are there in the forward pass of a later one; at stage 0 they are gathered into a
    buffer when the passes are over.
    """
    late = held.buffers if stage == 0 else 0.0
    early = held.total - late
    before = early if accumulate > 1 else early - held.gradients
    return max(held.total, before + forward, early + backward)


@dataclass(frozen=True)
class Checkpoint:
    """Bytes of a checkpoint: the part that each worker writes, and the whole, which each reads."""

    part: float
    whole: float


def checkpoint(parameters: int, workers: int, *, best: bool = False) -> Checkpoint:
    """The checkpoint of so many workers: weights and moments, dealt to them as whole tensors.

    The first worker adds the ``best`` weights where the run is to end with those.
    """
    dealt = float((MOMENTS + 1) * FULL * parameters)
    added = float(FULL * parameters) if best else 0.0
    return Checkpoint(dealt / workers + added, dealt + added)
