"""What worker processes on this machine say to each other, hold, save and read again.

Bytes are counted, so they hold on any machine; seconds are this machine's. The workers run an
engine on a model of 13 M parameters, in a gloo process group and without Ray.
"""

import dataclasses
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from scaling.benchmarks import worker_trial
from scaling.benchmarks.stream_rate import Spread
from scaling.benchmarks.worker_trial import Case, Trial
from scaling.common import environment
from scaling.common.hardware import hardware
from scaling.planning.footprint import Volume, checkpoint, volume

WORKERS = 4
CASES = tuple(
    Case(stage, precision) for precision in ("float32", "bfloat16") for stage in (0, 1, 2, 3)
)
RESUMED = Case(1, "float32")
SAVES = 5
RESTARTS = 3

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class StageCounts:
    """One ZeRO stage in one precision.

    ``volume`` is what the first worker's collectives were given in a step, in bytes, and ``other``
    what those that no formula has. ``held`` are the bytes of its tensors after a step,
    ``held_reducing`` when its gradients are reduced. ``saved`` are the bytes that each worker
    wrote, ``save_seconds`` what the slowest took.
    """

    stage: int
    precision: str
    volume: Volume
    other: int
    held: int
    held_reducing: int
    saved: list[int]
    save_seconds: Spread


@dataclass(frozen=True)
class TimedRestart:
    """Seconds from the start of new processes to the end of their first step, restored.

    ``read_seconds`` are those of reading the state, ``read`` the bytes that the first worker reads.
    """

    stage: int
    read: int
    seconds: Spread
    read_seconds: Spread


@dataclass(frozen=True)
class WorkerBench:
    """All that was counted and measured on one machine."""

    hardware: dict[str, Any]
    versions: dict[str, str]
    code_version: str
    workers: int
    parameters: int
    counted: list[StageCounts]
    restart: TimedRestart

    def as_json(self) -> dict[str, Any]:
        """All values as plain JSON types; bytes and seconds."""
        return dataclasses.asdict(self)

    def table(self) -> Table:
        """What was counted as a table for a terminal, in bytes a parameter."""
        table = Table(
            title=f"{self.hardware['processor']}, {self.workers} worker processes, "
            f"{self.parameters:,} parameters; bytes a parameter. New processes took a step after "
            f"{self.restart.seconds.median:.1f} s, of which {self.restart.read_seconds.median:.1f} "
            "s to read the state",
            title_justify="left",
        )
        for heading in (
            *("ZeRO", "precision", "all-reduced", "scattered", "gathered"),
            *("a worker sends", "by formula", "held"),
            *("saved", "by formula", "by the first", "save"),
        ):
            table.add_column(heading, justify="left" if heading == "precision" else "right")
        for row in self.counted:
            said, half = row.volume, row.precision == "bfloat16"
            expected = volume(row.stage, self.parameters, half=half).sent(self.workers)
            written = checkpoint(self.parameters, self.workers).whole
            figures = (
                *(said.all_reduced, said.scattered, said.gathered),
                *(said.sent(self.workers), expected, row.held),
                *(sum(row.saved), written, row.saved[0]),
            )
            table.add_row(
                str(row.stage),
                row.precision,
                *(f"{value / self.parameters:,.3f}" for value in figures),
                f"{row.save_seconds.median:.2f} s",
            )
        return table


def measure(progress: Progress) -> WorkerBench:
    """Measure everything; ``progress`` is called with measurements done and in all."""
    total = 1 + RESTARTS
    with tempfile.TemporaryDirectory() as folder:
        trial = Trial(WORKERS, CASES, SAVES, Path(folder))
        by_worker = worker_trial.run(trial)
        progress(1, total)
        cases = [list(found) for found in zip(*by_worker, strict=True)]
        counted = [counts(case, found) for case, found in zip(CASES, cases, strict=True)]
        restarts = []
        for number in range(RESTARTS):
            again = worker_trial.resume(dataclasses.replace(trial, cases=(RESUMED,)))
            restarts.append([found[0] for found in again])
            progress(2 + number, total)
    parts = counted[CASES.index(RESUMED)].saved
    return WorkerBench(
        hardware(),
        environment.versions(),
        environment.code_version(),
        WORKERS,
        by_worker[0][0]["parameters"],
        counted,
        TimedRestart(
            RESUMED.stage,
            sum(parts),
            _slowest([[found["seconds"] for found in restart] for restart in restarts]),
            _slowest([[found["restored"] for found in restart] for restart in restarts]),
        ),
    )


def counts(case: Case, found: list[dict[str, Any]]) -> StageCounts:
    """What the workers of a case have found, together."""
    first = found[0]
    given = dict(first["given"])
    kinds = [float(given.pop(field.name, 0)) for field in dataclasses.fields(Volume)]
    return StageCounts(
        case.stage,
        case.precision,
        Volume(*kinds),
        sum(given.values()),
        first["held"],
        first["held_reducing"],
        [worker["saved"] for worker in found],
        _slowest(list(zip(*(worker["save_seconds"] for worker in found), strict=True))),
    )


def _slowest(repeats: list[Any]) -> Spread:
    """The spread over the repeats of each one's slowest worker."""
    return Spread.of([max(workers) for workers in repeats])
