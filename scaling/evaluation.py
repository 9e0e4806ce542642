"""The exact loss of a trained model on a split: at every sample, or on a random subset.

Every target is predicted from its full context of L samples, whatever the run was trained on.
"""

import dataclasses
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from datasets import shards
from datasets.files import replacing
from datasets.manifest import Corpus
from datasets.references import linear_nats
from datasets.windows import Windows, every_target_hash, order, targets_hash
from model.dense import dense_nats
from model.targets import Targets
from scaling.record import bits
from scaling.trained import Trained
from scaling.validation import clustered_mean

SHARED = 64
"""Targets a chunk apart that a window of a random subset holds: they share all but one chunk."""

BLOCK = 2**16
Progress = Callable[[int, int], None]


class EvaluationError(ValueError):
    """What cannot be scored, with what to do."""


@dataclass(frozen=True)
class Evaluation:
    """A loss in nats a sample, its clustered standard error, and what it was measured on.

    ``left_out`` samples of the split have no full context before them. ``linear`` is the AR(32)
    predictor on the same targets, and ``margin`` the paired difference to it, with its error.
    ``targets_hash`` identifies the list of (recording, offset); ``clusters`` are seconds.
    """

    run: str
    corpus_fingerprint: str
    split: str
    positions: str
    context: int
    targets: int
    left_out: int
    targets_hash: str
    nats: float
    standard_error: float
    clusters: int
    linear: float
    margin: float
    margin_standard_error: float

    def as_json(self) -> dict[str, Any]:
        """The values as plain JSON types, losses in nats and in bits."""
        losses = ("nats", "standard_error", "linear", "margin", "margin_standard_error")
        values = dataclasses.asdict(self)
        in_bits = {name: bits(values[name]) for name in losses}
        return values | {
            "bits": in_bits.pop("nats"),
            **{f"{k}_bits": v for k, v in in_bits.items()},
        }

    @property
    def sentence(self) -> str:
        """The loss in words."""
        side = "below" if self.margin < 0 else "above"
        return (
            f"{self.run} on {self.split}: {bits(self.nats):.4f} bits ({self.nats:.4f} nats) a "
            f"sample, standard error {bits(self.standard_error):.4f} bits, over {self.targets:,} "
            f"targets in {self.clusters:,} clusters of one second, each from {self.context:,} "
            f"samples of context ({self.left_out:,} samples of the split have none); "
            f"{bits(abs(self.margin)):.4f} bits {side} a linear AR(32) predictor on the same "
            f"targets (standard error {bits(self.margin_standard_error):.4f} bits)."
        )

    def write(self, folder: Path) -> Path:
        """Write ``evaluation-SPLIT-POSITIONS.json`` into the run's folder, whole or not at all."""
        path = folder / f"evaluation-{self.split}-{self.positions}.json"
        with replacing(path) as partial:
            partial.write_text(json.dumps(self.as_json(), indent=1) + "\n")
        return path


def evaluate(
    run: Trained, corpus: Corpus, split: str, positions: int | None, progress: Progress
) -> Evaluation:
    """Score a split at every sample, or at ``positions`` random ones, rounded up to whole windows.

    ``progress`` is called with targets done and targets in all. EvaluationError where the corpus is
    not the run's, WindowError and ManifestError where the split holds no target.
    """
    if corpus.fingerprint != run.record.corpus.fingerprint:
        raise EvaluationError(
            f"{corpus.folder} has the fingerprint {corpus.fingerprint[:12]}, and the run was "
            f"trained on {run.record.corpus.fingerprint[:12]}: prepare the run's corpus again"
        )
    every = Windows.of(corpus, split, run.config.model.context)
    if positions is None:
        scored, total = _every_target(run, corpus, every), len(every)
        digest = every_target_hash(every)
    else:
        windows = _subset(run, corpus, split)
        number = min(-(-positions // windows.targets), len(windows))
        chosen = order(np.arange(number), len(windows), run.config.seed)
        scored, total = _chosen_targets(run, corpus, windows, chosen), number * windows.targets
        digest = targets_hash(windows, chosen)
    seconds: dict[tuple[str, int], np.ndarray] = {}
    done = 0
    for recording, offsets, run_T, linear_T in scored:
        own, member = np.unique(offsets // corpus.rate, return_inverse=True)
        columns = [np.bincount(member, weights=w) for w in (np.ones_like(run_T), run_T, linear_T)]
        for second, row in zip(own.tolist(), np.stack(columns, 1), strict=True):
            key = (recording, second)
            seconds[key] = seconds.get(key, 0) + row
        done += len(offsets)
        progress(done, total)
    counts, of_run, of_linear = np.array(list(seconds.values())).T
    nats, error = clustered_mean(of_run, counts)
    margin, margin_error = clustered_mean(of_run - of_linear, counts)
    return Evaluation(
        run=run.record.id,
        corpus_fingerprint=corpus.fingerprint,
        split=split,
        positions="all" if positions is None else str(positions),
        context=run.config.model.context,
        targets=int(counts.sum()),
        left_out=sum(end - begin for begin, end in every.ranges) - len(every),
        targets_hash=digest,
        nats=nats,
        standard_error=error,
        clusters=len(counts),
        linear=float(of_linear.sum() / counts.sum()),
        margin=margin,
        margin_standard_error=margin_error,
    )


Scored = tuple[str, np.ndarray, np.ndarray, np.ndarray]


def _every_target(run: Trained, corpus: Corpus, every: Windows) -> Iterator[Scored]:
    """Each recording's targets in order, block by block: offsets, nats, the reference's nats."""
    context, past = every.context, corpus.linear.order
    for recording, (begin, end) in zip(every.recordings, every.ranges, strict=True):
        place = recording.place
        start = max(begin - context, 0)
        blocks = (
            torch.from_numpy(
                shards.read(corpus.folder, place, first, min(BLOCK, end - first)).copy()
            )
            for first in range(start, end, BLOCK)
        )
        offset = start + context
        for nats in dense_nats(run.network, blocks):
            known = shards.read(corpus.folder, place, offset - past, len(nats) + past)
            linear = linear_nats(
                np.lib.stride_tricks.sliding_window_view(known, past + 1),
                corpus.linear,
                corpus.levels,
            )
            offsets = np.arange(offset, offset + len(nats))
            yield recording.name, offsets, nats.double().cpu().numpy(), linear
            offset += len(nats)


def _subset(run: Trained, corpus: Corpus, split: str) -> Windows:
    """The split's windows of up to ``SHARED`` targets: every target is in exactly one of them."""
    model = run.config.model
    begin, end = corpus.longest(split).ranges[split]
    room = (end - max(begin, model.context)) // model.chunk
    return Windows.of(corpus, split, model.context, model.chunk, max(1, min(SHARED, room)))


def _chosen_targets(
    run: Trained, corpus: Corpus, windows: Windows, chosen: np.ndarray
) -> Iterator[Scored]:
    """The targets of the chosen windows, window by window."""
    targets, past = Targets("last", run.config.model.chunk), corpus.linear.order
    device = next(run.network.parameters()).device
    for number, offsets in zip(*windows.offsets(chosen), strict=True):
        recording = windows.recordings[number]
        first = int(offsets[0]) - windows.context
        codes = shards.read(corpus.folder, recording.place, first, windows.length).copy()
        with torch.no_grad():
            _, nats = run.network(torch.from_numpy(codes)[None].to(device), targets)
        runs = codes[(offsets - first)[:, None] + np.arange(-past, 1)]
        linear = linear_nats(runs, corpus.linear, corpus.levels)
        yield recording.name, offsets, nats.flatten().double().cpu().numpy(), linear
