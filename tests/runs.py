"""Small runs that the whole-system tests share, and the plain loop that they are held against."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from datasets.manifest import Corpus
from model.build import Model
from scaling.config import RunConfig
from scaling.engine import learning_rate, optimizer_groups, set_learning_rate
from scaling.feeds import training_stream
from scaling.initial import build, step_seed
from scaling.load import with_values
from scaling.place import Place
from scaling.shrink import BASELINES
from tests.architectures import SMALL

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
    """A run of seconds on ``corpus``; ``changes`` by dotted keys, with ``__`` for a dot."""
    return _run_of(CONTENT, corpus, storage, changes)


def baseline_run(corpus: Corpus, storage: Path, kind: str, **changes: Any) -> RunConfig:
    """The same of a baseline, which sees few samples and trains sequences of 400."""
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
    """The loss of every step of a plain loop: one process, no Ray, no DeepSpeed, whole batches."""
    return [loss for loss, _ in plain_steps(config, corpus)]


def plain_steps(config: RunConfig, corpus: Corpus) -> Iterator[tuple[float, Model]]:
    """The same one by one, each with the network as it is after the step."""
    network = build(config, corpus)
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
        set_learning_rate(optimizer, learning_rate(config.train, Place(step)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        yield loss.item(), network
