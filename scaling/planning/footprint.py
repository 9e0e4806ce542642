"""Bytes that a worker keeps, sends and saves by ZeRO stage, without activations.

The formulas are for DeepSpeed 0.19.8 with weights in float32 and Adam: 16 bytes per parameter
before sharding. :mod:`model.activations` has the activations.
``tests/scaling/planning/test_communication.py`` compares both with real processes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

STAGES = (0, 1, 2, 3)
FULL = 4  # bytes of a parameter, gradient or moment: the engine keeps all in float32
HALF = 2  # bytes of a number in bfloat16
MOMENTS = 2  # numbers that Adam keeps for each parameter
BUCKET = 500_000_000  # gradients reduced at a time: DeepSpeed's default of reduce_bucket_size
REUSE_DISTANCE = 1_000_000_000
"""Parameters used meanwhile up to which stage 3 keeps others gathered: DeepSpeed's default."""
OVERLAPPED: Mapping[int, bool] = MappingProxyType({0: False, 1: False, 2: False, 3: True})
"""Whether a stage communicates while it computes: DeepSpeed's default of ``overlap_comm``."""


@dataclass(frozen=True)
class Volume:
    """Bytes of the tensors in the collectives of one optimizer step.

    Each counts the whole tensor, of which each worker may have a part.
    """

    all_reduced: float
    scattered: float
    gathered: float

    def sent(self, workers: int) -> float:
        """Return the bytes that each of so many workers sends, and receives, around a ring.

        A reduce-scatter and an all-gather send ``(n - 1) / n`` of the whole; an all-reduce is both
        in turn (Patarasuk and Yuan 2009, J. Parallel Distrib. Comput. 69, 117-124).
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
    """Return the volume of a step of ``accumulate`` micro-batches, in bfloat16 if ``half``.

    Rajbhandari et al. 2020 (arXiv 1910.02054, section 7) count 2, 2, 2 and 3 times the parameters
    for stages 0 to 3. DeepSpeed's stages 1 and 2 all-reduce the gradients, though a reduce-scatter
    would suffice (``use_multi_rank_bucket_allreduce``), and gather the parameters: 3. Stage 3
    gathers parameters again for the backward pass if more than ``reuse_distance`` were used since:
    all but the last ``reuse_distance / 2``. It never shards tensors of up to 100,000 elements; this
    formula ignores that.
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


@dataclass(frozen=True)
class Footprint:
    """Bytes of a worker while gradients are reduced.

    ``optimizer`` has Adam's moments and, if sharded, their copy of the parameters; ``buffers`` has
    the buckets of the reduction, and at stage 3 the gathered parameters.
    """

    parameters: float
    gradients: float
    optimizer: float
    buffers: float

    @property
    def total(self) -> float:
        """Sum of all."""
        return self.parameters + self.gradients + self.optimizer + self.buffers


def footprint(stage: int, parameters: int, workers: int, *, half: bool = False) -> Footprint:
    """Return the footprint of one of so many workers, with products in bfloat16 if ``half``."""
    whole = float(FULL * parameters)
    shard = whole / workers
    reduced = min(parameters, BUCKET)
    cast = HALF * half
    if stage == 0:
        return Footprint(whole, whole, MOMENTS * whole, FULL * reduced)
    optimizer = (MOMENTS + 1) * shard
    # Buckets are allocated once for each precision of the gradients.
    if stage == 1:
        return Footprint(whole, whole, optimizer, (1 + half) * FULL * BUCKET + cast * reduced)
    if stage == 2:
        buffers = (1 + half) * FULL * BUCKET + (FULL + cast) * reduced
        return Footprint(whole, shard, optimizer, buffers)
    gathered = (HALF if half else FULL) * min(parameters, REUSE_DISTANCE // 2)
    return Footprint(shard, shard, optimizer, (FULL + cast) * BUCKET + gathered)


def peak(
    stage: int, state: Footprint, forward: float, backward: float, *, accumulate: int = 1
) -> float:
    """Return the peak bytes of a worker in a step, activations included.

    ``forward`` and ``backward`` are those of :class:`model.activations.Activations`. A later
    micro-batch has the gradients of the earlier ones in its forward pass. Stage 0 fills its buffer
    after the passes.
    """
    late = state.buffers if stage == 0 else 0.0
    early = state.total - late
    before = early if accumulate > 1 else early - state.gradients
    return max(state.total, before + forward, early + backward)


@dataclass(frozen=True)
class CheckpointSize:
    """Bytes of a checkpoint: the part that a worker writes, and the whole that each reads."""

    part: float
    whole: float


def checkpoint(parameters: int, workers: int, *, best: bool = False) -> CheckpointSize:
    """Return the size of weights and moments; ``best`` weights are of the first worker."""
    shared = float((MOMENTS + 1) * FULL * parameters)
    added = float(FULL * parameters) if best else 0.0
    return CheckpointSize(shared / workers + added, shared + added)
