"""The two ways in which a trained model is scored, and the targets of each (docs/evaluation.md).

``full-context``  each target has all of the model's context before it.
``from-silence``  recordings are cut into chunks of 131,072 samples that begin with silence, and
                  every sample of a chunk is a target: the protocol of Goel et al. 2022.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch

from datasets import shards
from datasets.manifest import Corpus, Recording
from datasets.references import linear_nats
from datasets.windows import Windows, hash_every_target, hash_targets, order_windows
from model.baselines.sequence import SequenceModel
from model.baselines.shapes import PUBLISHED_CONTEXT
from model.codes import codes_tensor
from model.inference.dense import dense_nats, nats_from_silence
from model.targets import Targets
from scaling.runs.trained_model import TrainedModel

SHARED = 64
"""Targets a spacing apart that a window of a random subset holds."""
SPACING = 4_000
"""Samples between them at least: neighbours say nearly the same."""
ORDER_SEED = 0
"""The seed of the random subset: the same for every model, so that all are scored on it."""
BLOCK = 2**16


class Piece(NamedTuple):
    """Targets of one recording: offsets (n,), and the nats (n,) of run and plain references."""

    recording: str
    offsets: np.ndarray
    run: np.ndarray
    linear: np.ndarray
    histogram: np.ndarray


@dataclass(frozen=True)
class Scoring:
    """A list of targets and their scores, piece by piece.

    ``targets_hash`` identifies the list; ``left_out`` samples of the split cannot be in it: they
    have too little before them, or are in no whole chunk.
    """

    targets: int
    left_out: int
    targets_hash: str
    pieces: Iterator[Piece]


def full_context(
    run: TrainedModel, corpus: Corpus, split: str, positions: int | None, history: int | None
) -> Scoring:
    """Every sample of a split that has ``history`` samples before it, or some of them at random.

    ``history`` is the model's context unless it is given: then models of several contexts are
    scored on the same targets. WindowError and ManifestError where the split holds no target.
    """
    context = run.config.model.context
    history = context if history is None else history
    every = Windows.of(corpus, split, context, history=history)
    left_out = sum(end - begin for begin, end in every.ranges) - len(every)
    if positions is None:
        pieces = _every_target(run, corpus, every)
        return Scoring(len(every), left_out, hash_every_target(every), pieces)
    windows = subset(corpus, split, context, history)
    number = min(-(-positions // windows.targets), len(windows))
    chosen = order_windows(np.arange(number), len(windows), ORDER_SEED)
    choose = _picked if isinstance(run.network, SequenceModel) else _chosen_targets
    pieces = choose(run, corpus, windows, chosen)
    return Scoring(number * windows.targets, left_out, hash_targets(windows, chosen), pieces)


def from_silence(run: TrainedModel, corpus: Corpus, split: str) -> Scoring:
    """Every sample of a split's chunks of 131,072; a shorter file is a chunk of its own."""
    corpus.longest_recording(split)
    chunks = [
        (recording, begin, end)
        for recording in corpus.recordings
        if split in recording.ranges
        for begin, end in silent_chunks(recording, split)
    ]
    targets = sum(end - begin for _, begin, end in chunks)
    total = sum(
        r.ranges[split][1] - r.ranges[split][0] for r in corpus.recordings if split in r.ranges
    )
    named = sorted([recording.name, begin, end] for recording, begin, end in chunks)
    digest = hashlib.sha256(json.dumps(["from-silence", named]).encode()).hexdigest()
    pieces = (_from_silence(run, corpus, *chunk) for chunk in chunks)
    return Scoring(targets, total - targets, digest, pieces)


def silent_chunks(recording: Recording, split: str) -> Iterator[tuple[int, int]]:
    """The chunks [begin, end) of what a split owns of a recording, file by file.

    The rest at a file's end is left out, as in the published protocol.
    """
    first, last = recording.ranges[split]
    bounds = [part.begin for part in recording.parts] + [recording.samples]
    for begin, end in pairwise(bounds):
        begin, end = max(begin, first), min(end, last)
        size = min(PUBLISHED_CONTEXT, end - begin)
        if size > 0:
            yield from ((start, start + size) for start in range(begin, end - size + 1, size))


def _from_silence(
    run: TrainedModel, corpus: Corpus, recording: Recording, begin: int, end: int
) -> Piece:
    codes = shards.read(corpus.folder, recording.location, begin, end - begin)
    device = next(run.network.parameters()).device
    nats = nats_from_silence(run.network, codes_tensor(codes).to(device))
    silence = np.full(corpus.linear.order, corpus.levels // 2, codes.dtype)
    known = np.concatenate([silence, codes])
    return _piece(corpus, recording, begin, nats, known)


def _every_target(run: TrainedModel, corpus: Corpus, every: Windows) -> Iterator[Piece]:
    """Each recording's targets in order, block by block."""
    past = corpus.linear.order
    for recording, (begin, end) in zip(every.recordings, every.ranges, strict=True):
        first = max(begin, every.history)
        start = first - every.context
        blocks = (
            codes_tensor(shards.read(corpus.folder, recording.location, at, min(BLOCK, end - at)))
            for at in range(start, end, BLOCK)
        )
        for nats in dense_nats(run.network, blocks):
            known = shards.read(corpus.folder, recording.location, first - past, len(nats) + past)
            yield _piece(corpus, recording, first, nats, known)
            first += len(nats)


def _piece(
    corpus: Corpus, recording: Recording, first: int, nats: torch.Tensor, known: np.ndarray
) -> Piece:
    """Consecutive targets from ``first`` on; ``known`` are they and what the AR(32) sees before."""
    runs = np.lib.stride_tricks.sliding_window_view(known, corpus.linear.order + 1)
    return Piece(
        recording.name,
        np.arange(first, first + len(nats)),
        nats.double().cpu().numpy(),
        linear_nats(runs, corpus.linear, corpus.levels),
        _histogram_nats(corpus)[known[corpus.linear.order :]],
    )


def _picked(
    run: TrainedModel, corpus: Corpus, windows: Windows, chosen: np.ndarray
) -> Iterator[Piece]:
    """The targets of the chosen windows, for a baseline: those in a run of L together.

    A target is read in the same run as if all were scored, so that its score does not depend on how
    many are.
    """
    number, offsets = windows.offsets(chosen)
    context = windows.context
    owners = zip(windows.recordings, windows.ranges, strict=True)
    for index, (recording, (begin, end)) in enumerate(owners):
        first = max(begin, windows.history)
        wanted = np.sort(offsets[number == index].ravel())
        for run_of in np.unique((wanted - first) // context):
            start = first + int(run_of) * context
            last = min(start + context, end)
            codes = shards.read(
                corpus.folder, recording.location, start - context, last - start + context
            )
            (nats,) = dense_nats(run.network, [codes_tensor(codes)])
            known = codes[context - corpus.linear.order :]
            piece = _piece(corpus, recording, start, nats, known)
            kept = np.isin(piece.offsets, wanted)
            yield Piece(recording.name, *(values[kept] for values in piece[1:]))


def subset(corpus: Corpus, split: str, context: int, history: int) -> Windows:
    """The split's windows of up to ``SHARED`` targets: every target is in exactly one of them.

    Like the targets, they do not depend on the model.
    """
    begin, end = corpus.longest_recording(split).ranges[split]
    room = (end - max(begin, history)) // SPACING
    targets = max(1, min(SHARED, room))
    # A window of one target needs no place for a second one.
    spacing = SPACING if targets > 1 else 1
    return Windows.of(corpus, split, context, spacing, targets, history)


def _chosen_targets(
    run: TrainedModel, corpus: Corpus, windows: Windows, chosen: np.ndarray
) -> Iterator[Piece]:
    """The targets of the chosen windows, window by window, for a latent Transformer.

    Those of a window share chunks where its spacing is a multiple of the chunk.
    """
    chunk, past = run.config.model.chunk, corpus.linear.order
    shared = windows.targets > 1 and windows.spacing % chunk == 0
    targets = Targets("last", windows.spacing if shared else chunk)
    device = next(run.network.parameters()).device
    for number, offsets in zip(*windows.offsets(chosen), strict=True):
        recording = windows.recordings[number]
        first = int(offsets[0]) - windows.context
        codes = shards.read(corpus.folder, recording.location, first, windows.length)
        window_1T = codes_tensor(codes)[None].to(device)
        alone = window_1T.unfold(1, windows.context + 1, windows.spacing)[0]
        with torch.no_grad():
            parts = [window_1T] if shared else alone.split(1)
            nats = torch.cat([run.network(part, targets)[1].flatten() for part in parts])
        runs = codes[(offsets - first)[:, None] + np.arange(-past, 1)]
        yield Piece(
            recording.name,
            offsets,
            nats.double().cpu().numpy(),
            linear_nats(runs, corpus.linear, corpus.levels),
            _histogram_nats(corpus)[runs[:, -1]],
        )


def _histogram_nats(corpus: Corpus) -> np.ndarray:
    """The nats (levels,) of each code by the training split's histogram, every code seen once more.

    Without the one more (Laplace), a code that training lacks would cost infinitely much. Codes
    that share a bin of the histogram are taken to be equally frequent.
    """
    bins = np.array(corpus.splits["train"].histogram)
    width = corpus.levels // len(bins)
    counts = bins.repeat(width) / width + 1.0
    return np.asarray(np.log(counts.sum()) - np.log(counts))
