"""A sweep's run, shrunk to this machine, under faults done on purpose: what it survives, and how.

The faults strike one run one after the other. It has to end with the losses of an undisturbed one,
in the same order of windows, and to leave nothing half-written.
"""

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import ray
from ray.cluster_utils import Cluster
from ray.util import placement_group_table

from datasets.files import PARTIAL
from scaling import checkpoints
from scaling.config import RunConfig
from scaling.faults import Fault, Kind
from scaling.log import RunHistory
from scaling.outcome import restarts
from scaling.record import Restart
from scaling.shrink import CPUS, shrunk
from scaling.train import make_job, train

Name = Literal["error", "nan", "worker", "freeze", "preempt", "damage", "node", "disk"]
INSIDE: dict[str, Kind] = {
    "error": "raise",
    "nan": "nan",
    "worker": "kill",
    "freeze": "freeze",
    "preempt": "terminate",
    "damage": "damage",
}
"""The faults that a worker does to itself, at an exact step."""
SENTENCES: dict[str, str] = {
    "error": "a worker raises an exception",
    "nan": "the loss of one step is no number",
    "worker": "a worker is killed (SIGKILL)",
    "freeze": "a worker stops without ending (SIGSTOP)",
    "preempt": "a worker is told to end (SIGTERM)",
    "damage": "one bit of the newest checkpoint changes, and a worker is killed",
    "node": "a node is lost, and another one comes when the run has gone on without it",
    "disk": "the storage refuses checkpoints for a while",
}
EVERY = 5
"""Steps between checkpoints."""
APART = 2 * EVERY
NODE_STEPS = 60
"""Steps that a run needs for the loss of a node: it goes on without it, and takes another one."""
READING_CPUS = 1
CLOSE = 2e-3
"""Nats by which losses may differ where the number of workers changed on the way."""


@dataclass(frozen=True)
class Rehearsal:
    """What became of the run: its restarts, and every way in which it is not as it should be."""

    faults: tuple[Name, ...]
    workers: int
    steps: int
    restarts: list[Restart]
    warnings: list[str]
    largest_difference: float
    problems: list[str]


@dataclass(frozen=True)
class Event:
    """Something that is done from outside when the run has reached a step."""

    step: int
    do: Callable[[], None]


class Bed:
    """A cluster of this machine: a head that reads, and nodes with room for one worker each."""

    def __init__(self, nodes: int) -> None:
        self._cluster = Cluster(
            initialize_head=True, head_node_args={"num_cpus": READING_CPUS, **_node_settings()}
        )
        self._nodes = [self._node() for _ in range(nodes)]
        self._cluster.wait_for_nodes()

    @property
    def address(self) -> str:
        """What ``RAY_ADDRESS`` is to say."""
        return str(self._cluster.address)

    def lose_a_node(self) -> None:
        """Kill a node that has a worker, as a machine that is switched off."""
        used = {
            node
            for group in placement_group_table().values()
            if group["state"] == "CREATED"
            for node in group["bundles_to_node_id"].values()
        }
        lost = next(node for node in self._nodes if node.node_id in used)
        self._nodes.remove(lost)
        self._cluster.remove_node(lost, allow_graceful=False)

    def gain_a_node(self) -> None:
        """Start another node."""
        self._nodes.append(self._node())

    def close(self) -> None:
        """End every process of the cluster."""
        self._cluster.shutdown()

    def _node(self) -> Any:
        return self._cluster.add_node(num_cpus=CPUS, **_node_settings())


def _node_settings() -> dict[str, Any]:
    return {"object_store_memory": 100 * 2**20, "include_dashboard": False}


@contextmanager
def bed(nodes: int) -> Iterator[Bed]:
    """A bed that this process is connected to while the block runs."""
    made = Bed(nodes)
    before = os.environ.get("RAY_ADDRESS")
    os.environ["RAY_ADDRESS"] = made.address
    try:
        yield made
    finally:
        ray.shutdown()
        made.close()
        os.environ.pop("RAY_ADDRESS")
        if before is not None:
            os.environ["RAY_ADDRESS"] = before


def rehearse(
    config: RunConfig,
    faults: Sequence[Name],
    workers: int,
    storage: Path,
    made: Bed,
    refused_seconds: float,
) -> Rehearsal:
    """Train the shrunk run once undisturbed and once with the faults, on the connected bed.

    Must be called in the main thread, which alone may start nodes. The storage refuses checkpoints
    for ``refused_seconds``.
    """
    steps = APART * (len(faults) + 1) + (NODE_STEPS if "node" in faults else 0)
    plain = shrunk(config, storage / "undisturbed", workers, steps, EVERY)
    train(make_job(plain, {}))
    disturbed = shrunk(config, storage / "disturbed", workers, steps, EVERY)
    inside, events = _planned(disturbed, faults, made, refused_seconds)
    error = _train_under(disturbed, inside, events)
    return _judged(plain, disturbed, tuple(faults), error)


def _planned(
    config: RunConfig, faults: Sequence[Name], made: Bed, refused_seconds: float
) -> tuple[tuple[Fault, ...], list[Event]]:
    """The faults at their steps: each two steps after a checkpoint, and the node's the last."""
    inside, events = [], []
    last_rank = config.cluster.workers - 1
    order = sorted(faults, key=lambda name: (name == "disk", name == "node"))
    for number, name in enumerate(order):
        step = APART * (number + 1) + 3
        if name in INSIDE:
            inside.append(Fault(INSIDE[name], step, last_rank))
        elif name == "node":
            events.append(Event(step, lambda: _lose_and_gain(config, made)))
        else:
            events.append(Event(step, lambda: _refuse(config.folder, refused_seconds)))
    return tuple(inside), events


def _train_under(
    config: RunConfig, inside: tuple[Fault, ...], events: list[Event]
) -> BaseException | None:
    errors: list[BaseException] = []

    def body() -> None:
        try:
            train(make_job(config, {}, inside))
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=body, daemon=True)
    thread.start()
    waiting = list(events)
    while thread.is_alive():
        if waiting and _reached(config) >= waiting[0].step:
            waiting.pop(0).do()
        time.sleep(0.05)
    return errors[0] if errors else None


def _reached(config: RunConfig) -> int:
    steps = RunHistory.read(config.folder).steps
    return int(steps[-1]["step"]) if steps else 0


def _lose_and_gain(config: RunConfig, made: Bed) -> None:
    """Lose a node; when the run has begun to go on without it, give it another one."""
    starts = len(RunHistory.read(config.folder).starts)
    made.lose_a_node()
    over = time.monotonic() + 120
    while len(RunHistory.read(config.folder).starts) == starts and time.monotonic() < over:
        time.sleep(0.05)
    made.gain_a_node()


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


def _judged(
    plain: RunConfig, disturbed: RunConfig, faults: tuple[Name, ...], error: BaseException | None
) -> Rehearsal:
    expected, history = (RunHistory.read(run.folder) for run in (plain, disturbed))
    problems = [] if error is None else [f"the run did not end: {error}"]
    digests = [line["order_digest"] for line in expected.steps]
    if [line["order_digest"] for line in history.steps] != digests:
        problems.append("the order of windows is not that of the undisturbed run")
    nats = [np.array([line["nats"] for line in one.steps]) for one in (expected, history)]
    shared = min(map(len, nats))
    difference = float(np.abs(nats[0][:shared] - nats[1][:shared]).max()) if shared else 0.0
    if difference > CLOSE:
        problems.append(f"a loss differs by {difference:.2g} nats from the undisturbed run's")
    for leftover in disturbed.folder.rglob(f"*{PARTIAL}"):
        problems.append(f"{leftover} was left half-written")
    for folder in checkpoints.committed(disturbed.folder):
        with contextlib.suppress(checkpoints.CheckpointError):
            problems += checkpoints.Checkpoint.read(folder).problems()
    return Rehearsal(
        faults=faults,
        workers=disturbed.cluster.workers,
        steps=disturbed.train.steps,
        restarts=restarts(history),
        warnings=[line["sentence"] for line in history.warnings],
        largest_difference=difference,
        problems=problems,
    )
