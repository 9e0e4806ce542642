"""Small runs for tests of the whole system, and the plain loop that they must equal."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from datasets.manifest import Corpus
from model.build import Model
from scaling.checkpoints.train_state import TrainState
from scaling.config.load import with_values
from scaling.config.run_config import RunConfig
from scaling.fault_injection.downscale import BASELINES
from scaling.runs.log import RunHistory
from scaling.training.data import training_stream
from scaling.training.engine import (
    build_network,
    learning_rate,
    optimizer_groups,
    set_learning_rate,
    step_seed,
)
from tests.helpers.architectures import SMALL

CONTENT: dict[str, Any] = {
    "study": "small",
    "model": {**SMALL, "context": 4_000, "recent": 64},
    "windows": {"per_window": 3},
    "train": {
        "batch": 4,
        "steps": 8,
        "learning_rate": 2e-3,
        "second_learning_rate": 1e-3,
        "checkpoint_every": 3,
    },
    "validation": {"windows": 5, "per_window": 4, "spacing": 1_000, "every": 4},
    "cluster": {"max_failures": 2},
}


def small_run(corpus: Corpus, storage: Path, **changes: Any) -> RunConfig:
    """Return a run of seconds on ``corpus``; ``changes`` by dotted keys, with ``__`` for a dot."""
    return _run_of(CONTENT, corpus, storage, changes)


def baseline_run(corpus: Corpus, storage: Path, kind: str, **changes: Any) -> RunConfig:
    """Return a small run of a baseline with a short context and sequences of 400 samples."""
    model = {"kind": kind, "context": 200, **BASELINES[kind]}
    windows = {"targets": "sequence", "per_window": 400}
    return _run_of({**CONTENT, "model": model, "windows": windows}, corpus, storage, changes)


def _run_of(
    content: dict[str, Any], corpus: Corpus, storage: Path, changes: dict[str, Any]
) -> RunConfig:
    content = with_values(content, {"corpus": str(corpus.folder), "cluster.storage": str(storage)})
    dotted = {name.replace("__", "."): value for name, value in changes.items()}
    return RunConfig.model_validate(with_values(content, dotted))


def plain_losses(config: RunConfig, corpus: Corpus) -> list[float]:
    """Return the loss of every step of a plain loop: one process, no Ray, no DeepSpeed."""
    return [loss for loss, _ in plain_steps(config, corpus)]


def plain_steps(config: RunConfig, corpus: Corpus) -> Iterator[tuple[float, Model]]:
    """Yield the loss of every step and the network after it."""
    network = build_network(config, corpus)
    optimizer = torch.optim.Adam(optimizer_groups(network))
    stream = training_stream(config, corpus)
    for step in range(config.train.steps):
        positions = np.arange(step * config.train.batch, (step + 1) * config.train.batch)
        windows = torch.from_numpy(stream.read(positions))
        padding = None
        if config.padded:
            padding = torch.from_numpy(stream.windows.padding(stream.indexes(positions)))
        torch.manual_seed(step_seed(config, step, 0))
        loss, _ = network(windows, config.targets, padding)
        set_learning_rate(optimizer, learning_rate(config.train, TrainState(step)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        yield loss.item(), network


def losses(config):
    return [line["nats"] for line in RunHistory.read(config.folder).steps]


def expected_digests(config, corpus):
    """Return the digest after every step, from the order that the configuration determines."""
    stream, place, digests = training_stream(config, corpus), TrainState(), []
    for step in range(config.train.steps):
        positions = np.arange(step * config.train.batch, (step + 1) * config.train.batch)
        place = place.advanced(stream.indexes(positions).tolist(), 0.0)
        digests.append(place.order_digest)
    return digests


def digests(config):
    """Return the digests of a run's log after a check that it has every step once, in order."""
    steps = RunHistory.read(config.folder).steps
    assert [line["step"] for line in steps] == list(range(1, config.train.steps + 1))
    return [line["order_digest"] for line in steps]


def wait_for_steps(config, count):
    """Wait until the run's log has this many steps, or fail after a time limit."""
    deadline = time.monotonic() + 240
    while len(RunHistory.read(config.folder).steps) < count:
        assert time.monotonic() < deadline, f"no {count} steps in {config.folder}"
        time.sleep(0.05)
