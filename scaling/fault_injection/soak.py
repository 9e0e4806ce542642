"""Soak test: a long run whose workers are killed about once a minute.

Memory and open files of the driver, of its newest workers and of the object store are sampled. A
leak is a difference between the second quarter of the run and the last; the first is warm-up.
"""

import contextlib
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import psutil
from pydantic import TypeAdapter
from rich.table import Table

from scaling.common.polling import polling_every
from scaling.common.terminal import terminal_table
from scaling.fault_injection.rehearsal import (
    EVERY,
    Rehearsal,
    RehearsalRequest,
    judge,
    train_with_faults,
)
from scaling.orchestration.train import make_job, train
from scaling.runs.job import Fault

BLOCK = 60
"""Steps with one killed worker: with pauses and the restart they take about a minute."""
SAMPLE_SECONDS = 2.0
WORKER = "RayTrainWorker"
GROWTH = {
    "driver memory (MB)": 30.0,
    "driver files": 10.0,
    "worker memory (MB)": 30.0,
    "worker files": 10.0,
    "object store (MB)": 20.0,
}
"""Sampled quantities, and how much more each may be in the last quarter than in the second."""


@dataclass(frozen=True)
class ResourceLevel:
    """Medians of one quantity in the second and the last quarter of the run, and its maximum."""

    name: str
    before: float
    after: float
    most: float

    @property
    def grows(self) -> bool:
        """True if the quantity grew more than allowed."""
        return self.after - self.before > GROWTH[self.name]


@dataclass(frozen=True)
class Soak:
    """Result of a soak test, with the comparison of the run with the undisturbed one."""

    seconds: float
    killed: int
    rehearsal: Rehearsal
    levels: list[ResourceLevel]

    @property
    def problems(self) -> list[str]:
        """Differences from the undisturbed run, and quantities that grew."""
        grown = [
            f"{one.name} went from {one.before:.0f} to {one.after:.0f}"
            for one in self.levels
            if one.grows
        ]
        return [*self.rehearsal.problems, *grown]

    @property
    def verdict(self) -> str:
        """The result in sentences."""
        if self.problems:
            return "NOT survived: " + "; ".join(self.problems)
        return (
            f"{self.rehearsal.steps} steps in the undisturbed order, each once, with "
            f"{self.killed} workers killed; the largest difference of a loss is "
            f"{self.rehearsal.largest_difference:.2g} nats; nothing grew"
        )

    def as_json(self) -> dict[str, Any]:
        """Return all fields as plain JSON types, with hardware and versions."""
        levels: list[Any] = TypeAdapter(list[ResourceLevel]).dump_python(self.levels, mode="json")
        measured = {"seconds": self.seconds, "killed": self.killed, "levels": levels}
        return measured | self.rehearsal.as_json() | {"problems": self.problems}

    def table(self) -> Table:
        """Return a table of the quantities."""
        table = terminal_table(
            f"{self.seconds / 60:.0f} minutes, {self.killed} workers killed: medians",
            ("what", "second quarter", "last quarter", "most"),
        )
        for one in self.levels:
            table.add_row(one.name, *(f"{x:.0f}" for x in (one.before, one.after, one.most)))
        return table


def soak(request: RehearsalRequest, seed: int = 0) -> Soak:
    """Train the downscaled run undisturbed, then with a random worker killed in each block.

    The connected cluster must consist of child processes of this one. No worker is killed in the
    first steps of a block, so that there is a checkpoint between any two.
    """
    train(make_job(request.undisturbed, {}))
    steps = request.disturbed.train.steps
    generator = np.random.default_rng(seed)
    kills = [
        Fault(
            "kill",
            first + int(generator.integers(2 * EVERY, BLOCK)),
            int(generator.integers(request.workers)),
        )
        for first in range(0, steps, BLOCK)
    ]
    # A block takes a minute, however fast its steps are.
    pauses = [Fault("pause", step) for step in range(1, steps + 1)]
    began = time.monotonic()
    observations = Observations()
    with polling_every(observations.sample, SAMPLE_SECONDS):
        error = train_with_faults(request.disturbed, (*pauses, *kills), [])
    seconds = time.monotonic() - began
    return Soak(seconds, len(kills), judge(request, error), observations.levels())


@dataclass
class Observations:
    """Samples over time: rows of numbers in the order of ``GROWTH``."""

    rows: list[list[float]] = field(default_factory=list)

    def sample(self) -> None:
        """Add a row, if there are workers now."""
        driver = psutil.Process()
        workers, store = [], 0.0
        for process in driver.children(recursive=True):
            with contextlib.suppress(psutil.Error):
                name = " ".join(process.cmdline())
                if WORKER in name:
                    workers.append((process.memory_info().rss, process.num_fds()))
                elif process.name() == "raylet":
                    store += process.memory_info().shared
        if workers:
            memory, files = (max(column) for column in zip(*workers, strict=True))
            numbers = (driver.memory_info().rss / 1e6, driver.num_fds(), memory / 1e6, files)
            self.rows.append([*numbers, store / 1e6])

    def levels(self) -> list[ResourceLevel]:
        """Return the level of each quantity; empty without samples."""
        if not self.rows:
            return []
        columns = np.array(self.rows).T
        quarter = -(-columns.shape[1] // 4)
        return [
            ResourceLevel(
                name,
                float(np.median(column[quarter : 2 * quarter])),
                float(np.median(column[-quarter:])),
                float(column.max()),
            )
            for name, column in zip(GROWTH, columns, strict=True)
        ]
