"""A sweep's run, shrunk to this machine, under faults done on purpose: what it survives, and how.

The faults strike one run one after the other. It has to end with the losses of an undisturbed one,
in the same order of windows, and to leave nothing half-written.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter
from rich.table import Table

from datasets.files import PARTIAL
from scaling.checkpoints import checkpoint as checkpoints
from scaling.checkpoints.checkpoint import Checkpoint
from scaling.common import environment
from scaling.common.hardware import hardware
from scaling.config.run_config import RunConfig
from scaling.fault_injection.downscale import downscaled
from scaling.fault_injection.local_cluster import LocalCluster
from scaling.orchestration.restarts import TrainingError
from scaling.orchestration.train import make_job, train
from scaling.runs.job import Fault, FaultKind
from scaling.runs.log import RunHistory
from scaling.runs.record import Restart
from scaling.training.run_record import recorded_restarts

INSIDE: dict[str, FaultKind] = {
    "error": "raise",
    "nan": "nan",
    "worker": "kill",
    "freeze": "freeze",
    "preempt": "terminate",
    "damage": "damage",
    "memory": "memory",
}
"""The faults that a worker does to itself, at an exact step."""
SENTENCES: dict[str, str] = {
    "error": "a worker raises an exception",
    "nan": "the loss of one step is no number",
    "worker": "a worker is killed (SIGKILL)",
    "freeze": "a worker stops without ending (SIGSTOP)",
    "preempt": "a worker is told to end (SIGTERM)",
    "damage": "one bit of the newest checkpoint changes, and a worker is killed",
    "memory": "a worker has not enough memory for its piece of a batch",
    "node": "a node is lost, and another one comes when the run has gone on without it",
    "disk": "the storage refuses checkpoints for a while",
}
EVERY = 5
"""Steps between checkpoints."""
APART = 2 * EVERY
NODE_STEPS = 60
"""Steps that a run needs for the loss of a node: it goes on without it, and takes another one.

That takes its time, however fast steps are: the run pauses before each of them.
"""
CLOSE = 2e-3
"""Nats by which losses may differ where the number of workers changed on the way."""


@dataclass(frozen=True)
class RehearsalRequest:
    """A run, the faults to strike it, on so many workers, and the folder for what it leaves.

    The storage refuses checkpoints for ``refused_seconds``. ``steps`` are as many as the faults
    need unless they are given.
    """

    config: RunConfig
    faults: tuple[str, ...]
    workers: int
    storage: str
    refused_seconds: float
    steps: int | None = None

    @property
    def undisturbed(self) -> RunConfig:
        """The shrunk run that nothing strikes."""
        return self._shrunk("undisturbed")

    @property
    def disturbed(self) -> RunConfig:
        """The same run in another folder."""
        return self._shrunk("disturbed")

    def _shrunk(self, name: str) -> RunConfig:
        needed = APART * (len(self.faults) + 1) + (NODE_STEPS if "node" in self.faults else 0)
        folder, steps = Path(self.storage) / name, self.steps or needed
        return downscaled(self.config, folder, self.workers, steps, EVERY)


@dataclass(frozen=True)
class Rehearsal:
    """What became of the run: its restarts, and every way in which it is not as it should be.

    ``largest_difference`` (nats) is that of a step's loss from the undisturbed run's.
    """

    faults: tuple[str, ...]
    workers: int
    steps: int
    restarts: list[Restart]
    warnings: list[str]
    largest_difference: float
    problems: list[str]

    @property
    def verdict(self) -> str:
        """Whether all is as it should be, in sentences."""
        warned = "".join(f"warning: {warning}\n" for warning in self.warnings)
        if self.problems:
            return warned + "NOT survived: " + "; ".join(self.problems)
        return (
            f"{warned}survived {', '.join(self.faults)}: {self.steps} steps in the undisturbed "
            f"order, each once; the largest difference of a loss is {self.largest_difference:.2g} "
            "nats; nothing is damaged or left half-written"
        )

    def as_json(self) -> dict[str, Any]:
        """All of it as plain JSON types, and what it ran on."""
        plain: dict[str, Any] = TypeAdapter(Rehearsal).dump_python(self, mode="json")
        return {"hardware": hardware(), "versions": environment.versions(), **plain}

    def table(self) -> Table:
        """The restarts: from which step, with how many workers, what was lost, and why."""
        table = Table(title=f"restarts of a run of {self.workers} workers", title_justify="left")
        for heading in ("from step", "workers", "steps lost", "seconds to the next step"):
            table.add_column(heading, justify="right")
        table.add_column("why")
        for restart in self.restarts:
            seconds = "" if restart.seconds is None else f"{restart.seconds:.1f}"
            figures = (restart.step, restart.workers, restart.lost_steps, seconds)
            table.add_row(*map(str, figures), restart.why)
        return table


@dataclass(frozen=True)
class ExternalEvent:
    """Something that is done from outside when the run has reached a step."""

    step: int
    do: Callable[[], None]


def rehearse(asked: RehearsalRequest, made: LocalCluster) -> Rehearsal:
    """Train the shrunk run once undisturbed and once with the faults, on the connected bed.

    Must be called in the main thread, which alone may start nodes.
    """
    train(make_job(asked.undisturbed, {}))
    inside, events = _planned(asked, made)
    error = train_with_faults(asked.disturbed, inside, events)
    return judge(asked, error)


def _planned(
    asked: RehearsalRequest, made: LocalCluster
) -> tuple[tuple[Fault, ...], list[ExternalEvent]]:
    """The faults at their steps: each three after a checkpoint, the node's and the disk's last."""
    inside: list[Fault] = []
    events: list[ExternalEvent] = []
    run = asked.disturbed
    order = sorted(asked.faults, key=lambda name: (name == "disk", name == "node"))
    for number, name in enumerate(order):
        step = APART * (number + 1) + 3
        if name in INSIDE:
            inside.append(Fault(INSIDE[name], step, asked.workers - 1))
        elif name == "node":
            events.append(ExternalEvent(step, lambda: _lose_and_gain(run, made, asked.workers)))
            inside += [Fault("pause", step + later) for later in range(1, NODE_STEPS)]
        else:
            events.append(ExternalEvent(step, lambda: _refuse(run.folder, asked.refused_seconds)))
    return tuple(inside), events


def train_with_faults(
    config: RunConfig, inside: tuple[Fault, ...], events: list[ExternalEvent]
) -> Exception | None:
    """Train in a thread while this one does the events; what ended the run, if not its steps."""
    errors: list[Exception] = []

    def body() -> None:
        try:
            train(make_job(config, {}, inside))
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=body, daemon=True)
    thread.start()
    waiting = list(events)
    while thread.is_alive():
        if waiting and _reached(config) >= waiting[0].step:
            waiting.pop(0).do()
        time.sleep(0.05)
    if waiting and not errors:
        errors.append(TrainingError("its steps were over before every fault had struck"))
    return errors[0] if errors else None


def _reached(config: RunConfig) -> int:
    steps = RunHistory.read(config.folder).steps
    return int(steps[-1]["step"]) if steps else 0


def _lose_and_gain(config: RunConfig, made: LocalCluster, workers: int) -> None:
    """Lose a node; give the run another one when it goes on without; return at a step with that."""
    made.kill_node()
    _await(lambda: _working(config) < workers)
    made.add_node()
    _await(lambda: _working(config) == workers)
    grown_at = _reached(config)
    _await(lambda: _reached(config) > grown_at)


def _working(config: RunConfig) -> int:
    """The workers that the run was last started with."""
    return int(RunHistory.read(config.folder).starts[-1]["workers"])


def _await(done: Callable[[], bool]) -> None:
    over = time.monotonic() + 120
    while not done() and time.monotonic() < over:
        time.sleep(0.05)


def _refuse(run_folder: Path, seconds: float) -> None:
    """Put a file where the checkpoints' folder is, for so long: nothing can be written there."""
    folder = run_folder / checkpoints.FOLDER
    away = folder.with_name("away")
    folder.rename(away)
    folder.touch()

    def back() -> None:
        time.sleep(seconds)
        folder.unlink()
        away.rename(folder)

    threading.Thread(target=back).start()


def judge(asked: RehearsalRequest, error: Exception | None) -> Rehearsal:
    """The disturbed run beside the undisturbed one, and what ended it, if not its steps."""
    folder = asked.disturbed.folder
    expected, history = RunHistory.read(asked.undisturbed.folder), RunHistory.read(folder)
    problems = [] if error is None else [f"the run did not end: {error}"]
    digests = [line["order_digest"] for line in expected.steps]
    if [line["order_digest"] for line in history.steps] != digests:
        problems.append("the order of windows is not that of the undisturbed run")
    nats = [np.array([line["nats"] for line in one.steps]) for one in (expected, history)]
    shared = min(map(len, nats))
    difference = float(np.abs(nats[0][:shared] - nats[1][:shared]).max()) if shared else 0.0
    if difference > CLOSE:
        problems.append(f"a loss differs by {difference:.2g} nats from the undisturbed run's")
    left = folder.rglob(f"*{PARTIAL}")
    problems += [f"{leftover} was left half-written" for leftover in left]
    for checkpoint in checkpoints.committed(folder):
        problems += Checkpoint.read(checkpoint).problems()
    return Rehearsal(
        faults=asked.faults,
        workers=asked.workers,
        steps=asked.disturbed.train.steps,
        restarts=recorded_restarts(history),
        warnings=[line["sentence"] for line in history.warnings],
        largest_difference=difference,
        problems=problems,
    )
