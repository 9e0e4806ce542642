"""Description of a corpus in figures, from its manifest alone: no shard is read."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from datasets.manifest import Corpus, Recording, Rejected

CONTEXTS = (16_000, 128_000, 512_000, 1_024_000)
"""Contexts (samples) for which a description gives windows and reach."""
QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
"""Quantiles of the recordings that a description gives."""
QUIETEST = 1e-6
"""Lowest amplitude that is distinguished (-120 dBFS)."""
NAMED = 3
"""Number of left-out files of one kind that are named."""
KIND_WORDS = 4
"""Reasons are of one kind if so many first words agree, apart from numbers."""
IDENTITY = (
    "name fingerprint licence rate codec levels scaling chunk split_rule contexts_cross_splits "
    "augmentation differences versions"
).split()
"""Fields of the manifest that a description repeats."""


@dataclass(frozen=True)
class Measures:
    """Samples, level (dBFS) and shares of silent and clipped samples of each recording, (n,).

    0 dBFS is an amplitude of 1, so a sine of full scale has a root mean square of -3 dBFS.
    Augmented copies are left out.
    """

    samples: np.ndarray
    rms_dbfs: np.ndarray
    peak_dbfs: np.ndarray
    silent: np.ndarray
    clipped: np.ndarray

    @classmethod
    def of(cls, corpus: Corpus) -> Self:
        """Return the measures of a corpus."""
        recordings = _originals(corpus)
        levels = [entry.level for entry in recordings]
        samples = np.array([entry.samples for entry in recordings])
        return cls(
            samples,
            _decibels([level.rms for level in levels]),
            _decibels([level.peak for level in levels]),
            np.array([level.silent for level in levels]) / samples,
            np.array([level.clipped for level in levels]) / samples,
        )


@dataclass(frozen=True)
class SplitFigures:
    """A split: its size, its references in bits a sample, and its use for each context.

    ``recordings`` and ``hours`` include ``copies``, the augmented ones. ``codes`` is the number of
    non-empty bins of the ``histogram``. By context (CONTEXTS): ``windowless`` is the number of
    recordings without a window, ``reached`` the share of samples that follow a full context.
    """

    recordings: int
    copies: int
    hours: float
    histogram_bits: float
    pair_bits: float | None
    linear_bits: float
    codes: int
    histogram: tuple[int, ...]
    windowless: dict[int, int]
    reached: dict[int, float]


@dataclass(frozen=True)
class Format:
    """Audio files of one rate, in Hz, and number of channels."""

    rate: int
    channels: int
    files: int


@dataclass(frozen=True)
class LeftOut:
    """Files left out for one kind of reason: their number, first names and first reason."""

    files: int
    names: tuple[str, ...]
    reason: str


@dataclass(frozen=True)
class Description:
    """A corpus in figures; those of its ``recordings`` leave augmented copies out.

    ``quantiles`` (QUANTILES) are of seconds and of the :class:`Measures`, by name. ``silent`` and
    ``clipped`` are shares of all samples, ``clipping`` is the number of recordings with a clipped
    sample, ``copies`` the number of augmented copies of each training recording.
    """

    corpus: dict[str, Any]
    folder: str
    shards: int
    bytes: int
    recordings: int
    copies: int
    splits: dict[str, SplitFigures]
    quantiles: dict[str, tuple[float, ...]]
    silent: float
    clipped: float
    clipping: int
    formats: tuple[Format, ...]
    left_out: tuple[LeftOut, ...]


def describe(corpus: Corpus) -> Description:
    """Describe a corpus in figures."""
    measures = Measures.of(corpus)
    measured = {"seconds": measures.samples / corpus.rate, **vars(measures)}
    del measured["samples"]
    parts = [part for entry in _originals(corpus) for part in entry.parts]
    formats = Counter((part.rate, part.channels) for part in parts).most_common()
    return Description(
        corpus={field: getattr(corpus, field) for field in IDENTITY},
        folder=str(corpus.folder),
        shards=len(corpus.shards),
        bytes=sum(shard.bytes for shard in corpus.shards.values()),
        recordings=len(measures.samples),
        copies=max(entry.epoch for entry in corpus.recordings),
        splits={split: _split(corpus, split) for split in corpus.splits},
        quantiles={
            name: tuple(np.quantile(values, QUANTILES).tolist())
            for name, values in measured.items()
        },
        silent=float(np.average(measures.silent, weights=measures.samples)),
        clipped=float(np.average(measures.clipped, weights=measures.samples)),
        clipping=int(np.count_nonzero(measures.clipped)),
        formats=tuple(Format(*kind, files) for kind, files in formats),
        left_out=_left_out(corpus.rejected),
    )


def reached(corpus: Corpus, split: str, contexts: Sequence[int] | np.ndarray) -> np.ndarray:
    """Return the samples of a split that follow a full context, for each of the contexts, (n,)."""
    begins, ends = _ranges(corpus, split).T
    firsts = np.maximum(begins, np.asarray(contexts)[:, None])
    return np.asarray(np.maximum(ends - firsts, 0).sum(1))


def _split(corpus: Corpus, split: str) -> SplitFigures:
    summary = corpus.splits[split]
    ends = _ranges(corpus, split)[:, 1]
    shares = reached(corpus, split, CONTEXTS) / summary.samples
    return SplitFigures(
        recordings=summary.recordings,
        copies=sum(entry.epoch > 0 and split in entry.ranges for entry in corpus.recordings),
        hours=summary.seconds / 3600,
        histogram_bits=summary.histogram_bits,
        pair_bits=summary.pair_bits,
        linear_bits=summary.linear_bits,
        codes=int(np.count_nonzero(summary.histogram)),
        histogram=summary.histogram,
        windowless={context: int((ends <= context).sum()) for context in CONTEXTS},
        reached=dict(zip(CONTEXTS, shares.tolist(), strict=True)),
    )


def _ranges(corpus: Corpus, split: str) -> np.ndarray:
    """Return the range [begin, end) of each recording in a split, (recordings, 2)."""
    return np.array([entry.ranges[split] for entry in corpus.recordings if split in entry.ranges])


def _originals(corpus: Corpus) -> list[Recording]:
    return [entry for entry in corpus.recordings if not entry.epoch]


def _decibels(amplitudes: Sequence[float]) -> np.ndarray:
    return np.asarray(20 * np.log10(np.maximum(amplitudes, QUIETEST)))


def _left_out(rejected: Iterable[Rejected]) -> tuple[LeftOut, ...]:
    kinds: dict[tuple[str, ...], list[Rejected]] = {}
    for entry in rejected:
        words = re.sub(r"\d+", "N", entry.reason).split()
        kinds.setdefault(tuple(words[:KIND_WORDS]), []).append(entry)
    return tuple(
        LeftOut(len(kind), tuple(entry.name for entry in kind[:NAMED]), kind[0].reason)
        for kind in sorted(kinds.values(), key=len, reverse=True)
    )
