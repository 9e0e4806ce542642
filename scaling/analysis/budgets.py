"""Runs of equal cost that share their other settings: where a best size can be read off."""

from collections.abc import Hashable, Sequence
from itertools import groupby

import numpy as np

from scaling.analysis.series import CONTEXT, PANEL, configuration, setting, varied
from scaling.runs.record import RunRecord

CHUNK, WIDTH = "model.chunk", "model.width"
LENGTH = ("train.steps", "train.batch")  # what is spent on more targets
SHAPE = (PANEL, WIDTH)
EQUAL = 1.02  # costs within this factor of the lowest are one budget
LEAST_SIZES = 4  # at a budget, for a profile
TRADED = 1.1  # factor between the targets of its runs, or nothing was given up for size

PROFILES: dict[str, tuple[str, ...]] = {
    "shape": SHAPE,
    "chunk": (CHUNK,),
    "context": (CONTEXT,),
}
"""What may differ besides the length of training within a profile, by its name."""


def budgets(records: Sequence[RunRecord], free: Sequence[str]) -> list[float | None]:
    """The budget (operations) of each run in a profile of these settings; None outside of all.

    A profile holds runs that cost the same to within 2 %, agree in every setting but these and
    the length of training, and have four or more different values of them, paid for with targets.
    """
    fixed = [key for key in varied(records) if key not in (*free, *LENGTH)]
    groups: dict[tuple[Hashable, ...], list[int]] = {}
    for index, run in enumerate(records):
        groups.setdefault(configuration(run, fixed), []).append(index)
    found: list[float | None] = [None] * len(records)
    for members in groups.values():
        for _, profile in groupby(
            sorted(members, key=lambda at: records[at].operations.total),
            key=_Budget(records),
        ):
            of = list(profile)
            sizes = {tuple(setting(records[at], key) for key in free) for at in of}
            seen = [records[at].targets.seen for at in of]
            if len(sizes) >= LEAST_SIZES and max(seen) > TRADED * min(seen):
                cost = float(np.exp(np.mean([np.log(records[at].operations.total) for at in of])))
                for at in of:
                    found[at] = cost
    return found


class _Budget:
    """The number of a run's budget, for runs that come in the order of their cost."""

    def __init__(self, records: Sequence[RunRecord]) -> None:
        self.records, self.number, self.lowest = records, 0, 0.0

    def __call__(self, index: int) -> int:
        cost = self.records[index].operations.total
        if cost > EQUAL * self.lowest:
            self.number, self.lowest = self.number + 1, cost
        return self.number
