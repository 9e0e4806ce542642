"""What the workers of a run say to each other in an optimizer step, by ZeRO stage: plain numbers.

As DeepSpeed 0.19.8 does it with this project's settings; ``bench workers`` counts it in real
processes, and ``tests/test_communication.py`` holds the count against this.
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
