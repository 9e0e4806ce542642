"""Rehearsal of a sweep: its first run, downscaled to this machine, under injected faults.

All faults are injected into one run, one after the other. The run has to end with the losses of an
undisturbed run, in the same order of windows, and without partial files.
"""

import threading
import time
from collections.abc import Callable, Iterator
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
from scaling.common.terminal import terminal_table
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
"""Faults that a worker injects into itself, at an exact step."""
SENTENCES: dict[str, str] = {
    "error": "a worker raises an exception",
    "nan": "the loss of one step is NaN",
    "worker": "a worker is killed (SIGKILL)",
    "freeze": "a worker stops without ending (SIGSTOP)",
    "preempt": "a worker is preempted (SIGTERM)",
    "damage": "one bit of the newest checkpoint changes, and a worker is killed",
    "memory": "a worker has too little memory for its micro-batch",
    "node": "a node is killed, and another one is added after the run has restarted without it",
    "disk": "the storage refuses checkpoints for a while",
}
EVERY = 5
"""Steps between checkpoints."""
APART = 2 * EVERY
NODE_STEPS = 60
"""Steps that a run needs for the loss of a node: it restarts without it, then with another one.

The run pauses before each of these steps, since a restart takes time however fast steps are.
"""
CLOSE = 2e-3
"""Tolerance (nats) of losses after a batch is first split in another way.

Other numbers of workers or micro-batches sum in another order. Adam divides a gradient by its own
size, so a gradient that is rounding alone still moves its weight by the learning rate.
"""


@dataclass(frozen=True)
class RehearsalRequest:
    """A run, the faults to inject, the number of workers, and the folder of both runs.

    The storage refuses checkpoints for ``refused_seconds``. By default ``steps`` are as many as the
    faults need.
    """

    config: RunConfig
    faults: tuple[str, ...]
    workers: int
    storage: str
    refused_seconds: float
    steps: int | None = None

    @property
    def undisturbed(self) -> RunConfig:
        """The downscaled run without faults."""
        return self._downscaled("undisturbed")

    @property
    def disturbed(self) -> RunConfig:
        """The same run with faults, in another folder."""
        return self._downscaled("disturbed")

    def _downscaled(self, name: str) -> RunConfig:
        needed = APART * (len(self.faults) + 1) + (NODE_STEPS if "node" in self.faults else 0)
        folder, steps = Path(self.storage) / name, self.steps or needed
        return downscaled(self.config, folder, self.workers, steps, EVERY)


@dataclass(frozen=True)
class Rehearsal:
    """Result of a rehearsal: the restarts, and all differences from the undisturbed run.

    ``largest_difference`` (nats) is the largest one between losses of the same step. The first
    ``same_split_steps`` steps had the workers and micro-batches of the undisturbed run;
    ``same_split_difference`` is the largest difference among them.
    """

    faults: tuple[str, ...]
    workers: int
    steps: int
    restarts: list[Restart]
    warnings: list[str]
    largest_difference: float
    problems: list[str]
    # Records of earlier versions lack both.
    same_split_steps: int = 0
    same_split_difference: float = 0.0

    @property
    def verdict(self) -> str:
        """The result in sentences."""
        warned = "".join(f"warning: {warning}\n" for warning in self.warnings)
        if self.problems:
            return warned + "NOT survived: " + "; ".join(self.problems)
        return (
            f"{warned}survived {', '.join(self.faults)}: {self.steps} steps in the undisturbed "
            f"order, each once; the largest difference of a loss is {self.largest_difference:.2g} "
            f"nats, and {self.same_split_difference:.2g} nats over the first "
            f"{self.same_split_steps} steps, before the workers or micro-batches changed; no file "
            "is damaged or partial"
        )

    def as_json(self) -> dict[str, Any]:
        """Return all fields as plain JSON types, with hardware and versions."""
        plain: dict[str, Any] = TypeAdapter(Rehearsal).dump_python(self, mode="json")
        return {"hardware": hardware(), "versions": environment.versions(), **plain}

    def table(self) -> Table:
        """Return a table of the restarts."""
        headings = ("from step", "workers", "steps lost", "seconds to the next step")
        table = terminal_table(f"restarts of a run of {self.workers} workers", headings, text=0)
        table.add_column("why")
        for restart in self.restarts:
            seconds = "" if restart.seconds is None else f"{restart.seconds:.1f}"
            figures = (restart.step, restart.workers, restart.lost_steps, seconds)
            table.add_row(*map(str, figures), restart.why)
        return table


@dataclass(frozen=True)
class ExternalEvent:
    """An action from outside the run, when it has reached a step."""

    step: int
    do: Callable[[], None]


def rehearse(request: RehearsalRequest, cluster: LocalCluster) -> Rehearsal:
    """Train the downscaled run without and with the faults, on the connected cluster.

    Call this in the main thread, since no other one may start nodes.
    """
    train(make_job(request.undisturbed, {}))
    inside, events = _plan_faults(request, cluster)
    error = train_with_faults(request.disturbed, inside, events)
    return judge(request, error)


def _plan_faults(
    request: RehearsalRequest, cluster: LocalCluster
) -> tuple[tuple[Fault, ...], list[ExternalEvent]]:
    """Return the faults at their steps: each three after a checkpoint, node and disk last."""
    inside: list[Fault] = []
    events: list[ExternalEvent] = []
    run = request.disturbed
    order = sorted(request.faults, key=lambda name: (name == "disk", name == "node"))
    for number, name in enumerate(order):
        step = APART * (number + 1) + 3
        if name in INSIDE:
            inside.append(Fault(INSIDE[name], step, request.workers - 1))
        elif name == "node":
            events.append(
                ExternalEvent(step, lambda: _lose_and_gain(run, cluster, request.workers))
            )
            inside += [Fault("pause", step + later) for later in range(1, NODE_STEPS)]
        else:
            events.append(ExternalEvent(step, lambda: _refuse(run.folder, request.refused_seconds)))
    return tuple(inside), events


def train_with_faults(
    config: RunConfig, inside: tuple[Fault, ...], events: list[ExternalEvent]
) -> Exception | None:
    """Train in a thread while this one does the events. Return the error that ended the run."""
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
        errors.append(TrainingError("the run ended before every fault was injected"))
    return errors[0] if errors else None


def _reached(config: RunConfig) -> int:
    steps = RunHistory.read(config.folder).steps
    return int(steps[-1]["step"]) if steps else 0


def _lose_and_gain(config: RunConfig, cluster: LocalCluster, workers: int) -> None:
    """Kill a node, add another one after the restart, and wait for a step with it."""
    cluster.kill_node()
    _await(lambda: _working(config) < workers)
    cluster.add_node()
    _await(lambda: _working(config) == workers)
    grown_at = _reached(config)
    _await(lambda: _reached(config) > grown_at)


def _working(config: RunConfig) -> int:
    """Return the number of workers of the newest start."""
    return int(RunHistory.read(config.folder).starts[-1]["workers"])


def _await(done: Callable[[], bool]) -> None:
    over = time.monotonic() + 120
    while not done() and time.monotonic() < over:
        time.sleep(0.05)


def _refuse(run_folder: Path, seconds: float) -> None:
    """Replace the checkpoints' folder by a file for some seconds, so that writes fail."""
    folder = run_folder / checkpoints.FOLDER
    away = folder.with_name("away")
    folder.rename(away)
    folder.touch()

    def restore() -> None:
        time.sleep(seconds)
        folder.unlink()
        away.rename(folder)

    threading.Thread(target=restore).start()


def judge(request: RehearsalRequest, error: Exception | None) -> Rehearsal:
    """Compare the disturbed run with the undisturbed one; ``error`` ended it, if there was one."""
    folder = request.disturbed.folder
    expected, history = RunHistory.read(request.undisturbed.folder), RunHistory.read(folder)
    problems = [] if error is None else [f"the run did not end: {error}"]
    digests = [line["order_digest"] for line in expected.steps]
    if [line["order_digest"] for line in history.steps] != digests:
        problems.append("the order of windows is not that of the undisturbed run")
    nats = [np.array([line["nats"] for line in one.steps]) for one in (expected, history)]
    shared = min(map(len, nats))
    differences = np.abs(nats[0][:shared] - nats[1][:shared])
    difference = float(differences.max(initial=0.0))
    if difference > CLOSE:
        problems.append(f"a loss differs by {difference:.2g} nats from the undisturbed run's")
    same_split_steps = min([shared, *_changed_split_steps(expected, history)])
    left = folder.rglob(f"*{PARTIAL}")
    problems += [f"{leftover} is a partial file" for leftover in left]
    for checkpoint in checkpoints.committed(folder):
        problems += Checkpoint.read(checkpoint).problems()
    return Rehearsal(
        faults=request.faults,
        workers=request.workers,
        steps=request.disturbed.train.steps,
        restarts=recorded_restarts(history),
        warnings=[line["sentence"] for line in history.warnings],
        largest_difference=difference,
        same_split_steps=same_split_steps,
        same_split_difference=float(differences[:same_split_steps].max(initial=0.0)),
        problems=problems,
    )


def _changed_split_steps(expected: RunHistory, history: RunHistory) -> Iterator[int]:
    """Yield the first steps of starts with other workers or micro-batches than the undisturbed."""
    split = [(start["workers"], start["pieces"]) for start in expected.starts[:1]]
    for start in history.starts:
        if (start["workers"], start["pieces"]) not in split:
            yield start["step"]
