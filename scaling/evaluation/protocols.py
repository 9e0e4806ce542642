"""The two protocols that score a trained model, and their targets (docs/evaluation.md).

``full-context``  Each target has the model's full context before it.
``from-silence``  Recordings are cut into chunks of 131,072 samples that begin with silence. Every
                  sample of a chunk is a target (Goel et al. 2022, "It's Raw!", arXiv 2202.09729).
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
from scaling.evaluation.scores import EvaluationError
from scaling.runs.trained_model import TrainedModel

SHARED = 64
"""Most targets in a window of a random subset."""
SPACING = 4_000
"""Samples between two targets of a window: the losses of nearby targets are nearly equal."""
ORDER_SEED = 0
"""Seed of the random subset: the same for every model, so that all share the targets."""
BLOCK = 2**16
"""Samples that are read at once."""


def check_own_corpus(run: TrainedModel, corpus: Corpus) -> None:
    """Raise EvaluationError if ``corpus`` is not the one that the run was trained on."""
    own = run.record.corpus.fingerprint
    if corpus.fingerprint != own:
        raise EvaluationError(
            f"{corpus.folder} has the fingerprint {corpus.fingerprint[:12]}, but {run.folder} was "
            f"trained on {own[:12]}: prepare the run's corpus again, or name its folder by --corpus"
        )


class Piece(NamedTuple):
    """Targets of one recording: offsets (n,), and the nats (n,) of the run and the references."""

    recording: str
    offsets: np.ndarray
    run: np.ndarray
    linear: np.ndarray
    histogram: np.ndarray


@dataclass(frozen=True)
class Scoring:
    """List of targets, identified by ``targets_hash``, with their scores piece by piece.

    ``left_out`` samples of the split have too little history, or are in no whole chunk.
    """

    targets: int
    left_out: int
    targets_hash: str
    pieces: Iterator[Piece]


def full_context(
    run: TrainedModel, corpus: Corpus, split: str, positions: int | None, history: int | None
) -> Scoring:
    """Score the samples of a split that have ``history`` samples before them.

    With ``positions``, a random subset of about so many is scored. ``history`` is the model's
    context by default; a longer one lets models of several contexts share their targets.
    """
    context = run.config.model.context
    history = context if history is None else history
    eligible = Windows.of(corpus, split, context, history=history)
    left_out = sum(end - begin for begin, end in eligible.ranges) - len(eligible)
    if positions is None:
        pieces = _all_targets(run, corpus, eligible)
        return Scoring(len(eligible), left_out, hash_every_target(eligible), pieces)
    windows = subset(corpus, split, context, history)
    number = min(-(-positions // windows.targets), len(windows))
    chosen = order_windows(np.arange(number), len(windows), ORDER_SEED)
    subset_pieces = _sequence_subset if isinstance(run.network, SequenceModel) else _latent_subset
    pieces = subset_pieces(run, corpus, windows, chosen)
    return Scoring(number * windows.targets, left_out, hash_targets(windows, chosen), pieces)


def from_silence(run: TrainedModel, corpus: Corpus, split: str) -> Scoring:
    """Score every sample of a split's chunks of 131,072; a shorter file is one chunk."""
    # Raises ManifestError if the split has no recording.
    corpus.longest_recording(split)
    recordings = [recording for recording in corpus.recordings if split in recording.ranges]
    chunks = [(one, begin, end) for one in recordings for begin, end in silent_chunks(one, split)]
    targets = sum(end - begin for _, begin, end in chunks)
    total = sum(end - begin for begin, end in (one.ranges[split] for one in recordings))
    named_chunks = sorted([recording.name, begin, end] for recording, begin, end in chunks)
    digest = hashlib.sha256(json.dumps(["from-silence", named_chunks]).encode()).hexdigest()
    pieces = (_silent_chunk(run, corpus, *chunk) for chunk in chunks)
    return Scoring(targets, total - targets, digest, pieces)


def silent_chunks(recording: Recording, split: str) -> Iterator[tuple[int, int]]:
    """Yield the chunks [begin, end) of a split's range in a recording, file by file.

    The rest at a file's end is left out, as in the published protocol.
    """
    first, last = recording.ranges[split]
    bounds = [part.begin for part in recording.parts] + [recording.samples]
    for begin, end in pairwise(bounds):
        begin, end = max(begin, first), min(end, last)
        size = min(PUBLISHED_CONTEXT, end - begin)
        if size > 0:
            yield from ((start, start + size) for start in range(begin, end - size + 1, size))


def _silent_chunk(
    run: TrainedModel, corpus: Corpus, recording: Recording, begin: int, end: int
) -> Piece:
    codes = shards.read(corpus.folder, recording.location, begin, end - begin)
    device = next(run.network.parameters()).device
    nats = nats_from_silence(run.network, codes_tensor(codes).to(device))
    silence = np.full(corpus.linear.order, corpus.levels // 2, codes.dtype)
    return _consecutive(corpus, recording, begin, nats, np.concatenate([silence, codes]))


def _all_targets(run: TrainedModel, corpus: Corpus, windows: Windows) -> Iterator[Piece]:
    """Yield each recording's targets in order, block by block."""
    past = corpus.linear.order
    for recording, (begin, end) in zip(windows.recordings, windows.ranges, strict=True):
        first = max(begin, windows.history)
        start = first - windows.context
        blocks = (
            codes_tensor(shards.read(corpus.folder, recording.location, at, min(BLOCK, end - at)))
            for at in range(start, end, BLOCK)
        )
        for nats in dense_nats(run.network, blocks):
            codes = shards.read(corpus.folder, recording.location, first - past, len(nats) + past)
            yield _consecutive(corpus, recording, first, nats, codes)
            first += len(nats)


def _consecutive(
    corpus: Corpus, recording: Recording, first: int, nats: torch.Tensor, codes: np.ndarray
) -> Piece:
    """Score targets from ``first`` on; ``codes`` are theirs after those that AR(32) reads."""
    runs = np.lib.stride_tricks.sliding_window_view(codes, corpus.linear.order + 1)
    return _piece(corpus, recording, np.arange(first, first + len(nats)), nats, runs)


def _piece(
    corpus: Corpus, recording: Recording, offsets: np.ndarray, nats: torch.Tensor, runs: np.ndarray
) -> Piece:
    """Add the references' scores; ``runs`` (n, 33) are each target's code after its AR past."""
    return Piece(
        recording.name,
        offsets,
        nats.double().cpu().numpy(),
        linear_nats(runs, corpus.linear, corpus.levels),
        _histogram_nats(corpus)[runs[:, -1]],
    )


def _sequence_subset(
    run: TrainedModel, corpus: Corpus, windows: Windows, chosen: np.ndarray
) -> Iterator[Piece]:
    """Yield the targets of the chosen windows for a baseline, each in a segment of its context.

    The segments, and therefore the scores, are the same as if all targets were scored.
    """
    number, offsets = windows.offsets(chosen)
    context = windows.context
    owners = zip(windows.recordings, windows.ranges, strict=True)
    for index, (recording, (begin, end)) in enumerate(owners):
        first = max(begin, windows.history)
        wanted = np.sort(offsets[number == index].ravel())
        for segment in np.unique((wanted - first) // context):
            start = first + int(segment) * context
            last = min(start + context, end)
            codes = shards.read(
                corpus.folder, recording.location, start - context, last - start + context
            )
            (nats,) = dense_nats(run.network, [codes_tensor(codes)])
            codes = codes[context - corpus.linear.order :]
            piece = _consecutive(corpus, recording, start, nats, codes)
            is_wanted = np.isin(piece.offsets, wanted)
            yield Piece(recording.name, *(values[is_wanted] for values in piece[1:]))


def subset(corpus: Corpus, split: str, context: int, history: int) -> Windows:
    """Return windows of up to ``SHARED`` targets, each in one window, whatever the model is."""
    begin, end = corpus.longest_recording(split).ranges[split]
    targets = max(1, min(SHARED, (end - max(begin, history)) // SPACING))
    # A window of one target needs no room for a second one.
    spacing = SPACING if targets > 1 else 1
    return Windows.of(corpus, split, context, spacing, targets, history)


def _latent_subset(
    run: TrainedModel, corpus: Corpus, windows: Windows, chosen: np.ndarray
) -> Iterator[Piece]:
    """Yield the targets of the chosen windows for a latent Transformer, window by window.

    If the spacing is a multiple of the chunk, the targets of a window share encoded chunks.
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
        single = window_1T.unfold(1, windows.context + 1, windows.spacing)[0]
        with torch.no_grad():
            parts = [window_1T] if shared else single.split(1)
            nats = torch.cat([run.network(part, targets)[1].flatten() for part in parts])
        runs = codes[(offsets - first)[:, None] + np.arange(-past, 1)]
        yield _piece(corpus, recording, offsets, nats, runs)


def _histogram_nats(corpus: Corpus) -> np.ndarray:
    """Return the nats (levels,) of each code by the training split's histogram, Laplace-smoothed.

    Codes that share a bin of the histogram are taken as equally frequent.
    """
    bins = np.array(corpus.splits["train"].histogram)
    width = corpus.levels // len(bins)
    counts = bins.repeat(width) / width + 1.0
    return np.asarray(np.log(counts.sum()) - np.log(counts))
