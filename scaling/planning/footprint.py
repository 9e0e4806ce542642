"""What a worker keeps in its accelerator's memory and writes into a checkpoint, by ZeRO stage.

Plain numbers, for DeepSpeed 0.19.8 with this project's settings: weights in float32 and Adam, so 16
bytes a parameter before anything is sharded. What activations take is in :mod:`model.activations`.
``tests/scaling/planning/test_communication.py`` holds both against real processes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

FULL = 4
"""Bytes of a parameter, gradient or moment: the engine keeps all in float32."""
HALF = 2
"""Bytes of what is said in bfloat16."""
REUSE_DISTANCE = 1_000_000_000
"""Parameters that stage 3 keeps gathered if no more are used meanwhile: DeepSpeed's default."""
OVERLAPPED: Mapping[int, bool] = MappingProxyType({0: False, 1: False, 2: False, 3: True})
"""Whether a stage communicates beside the computation: DeepSpeed's default of ``overlap_comm``."""


@dataclass(frozen=True)
class Volume:
    """Bytes that the collectives of a worker are given in one optimizer step.

    Of a reduce-scatter and of an all-gather they are those of the whole, of which each worker has a
    part: so none depends on the number of workers.
    """

    all_reduced: float
    scattered: float
    gathered: float

    def sent(self, workers: int) -> float:
        """Bytes that each of so many workers sends, and receives, around a ring.

        A reduce-scatter and an all-gather send ``(n - 1) / n`` of the whole, an all-reduce is one
        after the other (Patarasuk and Yuan 2009, J. Parallel Distrib. Comput. 69, 117-124).
        """
        return (workers - 1) / workers * (2 * self.all_reduced + self.scattered + self.gathered)


def volume(
    stage: int,
    parameters: int,
    *,
    half: bool = False,
    accumulate: int = 1,
    reuse_distance: int = REUSE_DISTANCE,
) -> Volume:
    """The volume of a step, taken in ``accumulate`` pieces; products in bfloat16 where ``half``.

    Rajbhandari et al. 2020 (arXiv 1910.02054, section 7) count 2, 2, 2 and 3 parameters' worth sent
    for stages 0 to 3. DeepSpeed's stages 1 and 2 all-reduce the gradients where a reduce-scatter
    would do (``use_multi_rank_bucket_allreduce``) and gather the parameters: 3. Stage 3 gathers
    parameters a second time for the backward pass only where more than ``reuse_distance`` were
    used since, which is true of all but the last ``reuse_distance / 2``. The parameters that it
    never shards, tensors of up to 100,000 elements, count as if it did.
    """
    gradients = (HALF if half and stage else FULL) * parameters
    if stage == 0:
        return Volume(gradients, 0.0, 0.0)
    if stage == 1:
        return Volume(gradients, 0.0, FULL * parameters)
    if stage == 2:
        return Volume(accumulate * gradients, 0.0, FULL * parameters)
    again = max(0.0, parameters - reuse_distance / 2)
    gathered = (HALF if half else FULL) * (parameters + again)
    return Volume(0.0, accumulate * gradients, accumulate * gathered)


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
class CheckpointSize:
    """Bytes of a checkpoint: the part that each worker writes, and the whole, which each reads."""

    part: float
    whole: float


def checkpoint(parameters: int, workers: int, *, best: bool = False) -> CheckpointSize:
    """The checkpoint of so many workers: weights and moments, dealt to them as whole tensors.

    The first worker adds the ``best`` weights where the run is to end with those.
    """
    dealt = float((MOMENTS + 1) * FULL * parameters)
    added = float(FULL * parameters) if best else 0.0
    return CheckpointSize(dealt / workers + added, dealt + added)
