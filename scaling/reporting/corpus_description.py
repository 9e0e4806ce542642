"""What is in a corpus, in figures: all from its manifest, no shard is read."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from datasets.manifest import Corpus, Recording, Rejected

CONTEXTS = (16_000, 128_000, 512_000, 1_024_000)
"""Samples of context for which it is said what a corpus offers."""
QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
"""Shares of the recordings at which their figures are given."""
QUIETEST = 1e-6
"""Amplitude (-120 dBFS) that stands for all below it."""
NAMED = 3
"""Left-out files of a kind that are named."""
KIND_WORDS = 4
"""Reasons whose first words agree, whatever numbers are among them, are of a kind."""
IDENTITY = (
    "name fingerprint licence rate codec levels scaling chunk split_rule contexts_cross_splits "
    "augmentation differences versions"
).split()
"""What a description repeats of the manifest."""


@dataclass(frozen=True)
class Measures:
    """Of each recording (n,): samples, level in dBFS, and shares of silent and clipped samples.

    0 dBFS is an amplitude of 1, so that a sine of full scale has a root mean square of -3 dBFS.
    Changed copies are left out.
    """

    samples: np.ndarray
    rms_dbfs: np.ndarray
    peak_dbfs: np.ndarray
    silent: np.ndarray
    clipped: np.ndarray

    @classmethod
    def of(cls, corpus: Corpus) -> Self:
        """Those of a corpus's recordings."""
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
    """A split: its size, its references in bits a sample, and what it offers to each context.

    ``recordings`` and ``hours`` include ``copies``, the changed ones. ``codes`` is the number of
    bins of the ``histogram`` that hold any. By context (CONTEXTS): ``windowless`` recordings give
    no window, and ``reached`` is the share of samples with that much of their recording before
    them.
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
    """Files that were left out for one kind of reason: the first names, and the first's reason."""

    files: int
    names: tuple[str, ...]
    reason: str


@dataclass(frozen=True)
class Description:
    """A corpus in figures; what is said of its ``recordings`` leaves changed copies out.

    ``quantiles`` of the recordings (QUANTILES): seconds, and the :class:`Measures` by their names.
    ``silent`` and ``clipped`` are shares of all samples, ``clipping`` recordings with a clipped
    one. ``copies`` were made of each training recording.
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
    """The figures of a corpus."""
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
    """The samples [n] of a split that have each of these contexts [n] of their recording before."""
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
    """The range [begin, end) of each recording in a split, [recordings, 2]."""
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
