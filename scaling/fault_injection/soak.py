"""A long run whose workers are killed about once a minute: what is lost by it, and what grows.

The driver, its newest workers and the object store are looked at all the while. What such a run
leaks shows as the difference between its second quarter and its last one: the first is warm-up.
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
"""Steps in each of which one worker is killed: with pauses and the restart about a minute."""
LOOK_SECONDS = 2.0
WORKER = "RayTrainWorker"
GROWTH = {
    "driver memory (MB)": 30.0,
    "driver files": 10.0,
    "worker memory (MB)": 30.0,
    "worker files": 10.0,
    "object store (MB)": 20.0,
}
"""What is looked at, and by how much it may be more in the last quarter than in the second."""


@dataclass(frozen=True)
class ResourceLevel:
    """One quantity in the second quarter of the run and in the last one (medians), and its most."""

    name: str
    before: float
    after: float
    most: float

    @property
    def grows(self) -> bool:
        """Whether it became more than may be."""
        return self.after - self.before > GROWTH[self.name]


@dataclass(frozen=True)
class Soak:
    """What became of the run, which took so many seconds, and the level of what could grow."""

    seconds: float
    killed: int
    rehearsal: Rehearsal
    levels: list[ResourceLevel]

    @property
    def problems(self) -> list[str]:
        """Every way in which it is not as it should be."""
        grown = [
            f"{one.name} went from {one.before:.0f} to {one.after:.0f}"
            for one in self.levels
            if one.grows
        ]
        return [*self.rehearsal.problems, *grown]

    @property
    def verdict(self) -> str:
        """Whether all is as it should be, in sentences."""
        if self.problems:
            return "NOT survived: " + "; ".join(self.problems)
        return (
            f"{self.rehearsal.steps} steps in the undisturbed order, each once, with "
            f"{self.killed} workers killed; the largest difference of a loss is "
            f"{self.rehearsal.largest_difference:.2g} nats; nothing grew"
        )

    def as_json(self) -> dict[str, Any]:
        """All of it as plain JSON types, and what it ran on."""
        levels: list[Any] = TypeAdapter(list[ResourceLevel]).dump_python(self.levels, mode="json")
        measured = {"seconds": self.seconds, "killed": self.killed, "levels": levels}
        return measured | self.rehearsal.as_json() | {"problems": self.problems}

    def table(self) -> Table:
        """The level of each quantity."""
        table = terminal_table(
            f"{self.seconds / 60:.0f} minutes, {self.killed} workers killed: medians",
            ("what", "second quarter", "last quarter", "most"),
        )
        for one in self.levels:
            table.add_row(one.name, *(f"{x:.0f}" for x in (one.before, one.after, one.most)))
        return table


def soak(asked: RehearsalRequest, seed: int = 0) -> Soak:
    """Train the shrunk run undisturbed, and with a random worker killed in each block of steps.

    It must run on a connected cluster of processes of this one. All but the first few steps of a
    block may be the worker's last, so that a checkpoint is reached between any two.
    """
    train(make_job(asked.undisturbed, {}))
    steps = asked.disturbed.train.steps
    generator = np.random.default_rng(seed)
    kills = [
        Fault(
            "kill",
            first + int(generator.integers(2 * EVERY, BLOCK)),
            int(generator.integers(asked.workers)),
        )
        for first in range(0, steps, BLOCK)
    ]
    # So that a block takes a minute, however fast its steps are.
    pauses = [Fault("pause", step) for step in range(1, steps + 1)]
    began = time.monotonic()
    seen = Observations()
    with polling_every(seen.look, LOOK_SECONDS):
        error = train_with_faults(asked.disturbed, (*pauses, *kills), [])
    seconds = time.monotonic() - began
    return Soak(seconds, len(kills), judge(asked, error), seen.levels())


@dataclass
class Observations:
    """What was looked at, each time: a row of numbers in the order of ``GROWTH``."""

    rows: list[list[float]] = field(default_factory=list)

    def look(self) -> None:
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
        """The level of each quantity; empty where nothing was seen."""
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
