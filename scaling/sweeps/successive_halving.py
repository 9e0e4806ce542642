"""Successive halving within each cell of a sweep.

A cell is a point of the scale axes with the candidates that the sweep searches there. At every rung
(a share of the schedule) the better half continues. At the last rung only the best candidate does,
so that a cell gives one finished run. Candidates stop at a rung with a checkpoint and wait for the
others. The choice depends on losses alone, not on the order in which runs arrive. (Karnin et al.
2013, "Almost optimal exploration in multi-armed bandits", section 4.)
"""

import json
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from math import ceil

from datasets.files import replacing
from scaling.config.run_config import RunConfig
from scaling.runs.log import PRUNED_NAME, RunHistory
from scaling.runs.study import finished_record


@dataclass(frozen=True)
class RungTask:
    """A run to train up to the share ``until`` of its schedule, or to its end if that is None."""

    run: RunConfig
    until: float | None

    @property
    def done(self) -> bool:
        """True if the run has reached that share."""
        if self.until is None:
            return finished_record(self.run) is not None
        return self.until in _losses(self.run)


def next_tasks(
    cells: Sequence[Sequence[RunConfig]], rungs: Sequence[float], failed: AbstractSet[str]
) -> list[RungTask]:
    """Return the tasks that can train now, cell by cell, without the runs in ``failed`` (ids)."""
    return [task for cell in cells for task in _of_cell(cell, rungs, failed)]


def _of_cell(
    cell: Sequence[RunConfig], rungs: Sequence[float], failed: AbstractSet[str]
) -> list[RungTask]:
    if any(finished_record(run) for run in cell):
        return []
    alive = list(cell)
    for number, rung in enumerate(rungs):
        losses = {run.id: _losses(run).get(rung) for run in alive}
        # A run that failed later still counts at this rung, but another one continues instead.
        going = [run for run in alive if run.id not in failed]
        lacking = [run for run in going if losses[run.id] is None]
        if lacking:
            return [RungTask(run, rung) for run in lacking]
        room = 1 if number == len(rungs) - 1 else ceil(len(alive) / 2)
        alive = sorted(going, key=lambda run: losses[run.id] or 0.0)[:room]
    return [RungTask(run, None) for run in alive if run.id not in failed]


def note_pruned(cells: Sequence[Sequence[RunConfig]]) -> None:
    """Write into the folder of each pruned candidate which run was better, and at which rung.

    Cells without a finished run are left out, since they may still need a candidate.
    """
    for cell in cells:
        winners = [run for run in cell if finished_record(run)]
        for run in cell:
            losses = _losses(run)
            if not winners or run in winners or not losses:
                continue
            rung = max(losses)
            best = _losses(winners[0])[rung]
            why = (
                f"outdone by {winners[0].id} at {rung:.0%} of the schedule: "
                f"{losses[rung]:.4f} nats against {best:.4f}"
            )
            with replacing(run.folder / PRUNED_NAME) as partial:
                partial.write_text(json.dumps({"why": why}) + "\n")


def _losses(run: RunConfig) -> dict[float, float]:
    """Return the held-out loss (nats) at each rung that the run has reached."""
    return {line["share"]: line["nats"] for line in RunHistory.read(run.folder).rungs}
