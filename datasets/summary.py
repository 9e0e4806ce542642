"""Compute the statistics of each split's codes: histogram, entropies and the linear reference.

The first pass over the shards counts codes and pairs of codes and, in train, sums the products for
the least squares. The second pass scores the linear reference. All samples are counted. The
reference is fitted and scored on all samples or, in a long split, on an even choice of blocks.
"""

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from datasets import jobs, quantise, references, shards
from datasets.jobs import Progress
from datasets.manifest import Recording, Reference, SplitSummary
from datasets.shards import ShardLocation
from datasets.splits import SPLITS
from datasets.storage import Folder

MAX_SCORED_SAMPLES = 2**24  # of a split, to fit and to score the linear reference on
MAX_FITTED_SAMPLES = 2**22  # of train, to fit its scale to
TASK_PARTS, TASK_SAMPLES = 1_024, 2**26
HISTOGRAM_BINS = 256  # of a manifest: with more levels, several codes share a bin


class SummaryError(ValueError):
    """A split in which nothing can be scored, with what to change."""


@dataclass(frozen=True)
class SplitRange:
    """The samples [begin, end) of a recording, which belong to ``split``.

    ``blocks_before`` is the number of scorable blocks in the earlier ranges of this split.
    """

    location: ShardLocation
    split: str
    begin: int
    end: int
    blocks_before: int

    @property
    def samples(self) -> int:
        """Number of samples."""
        return self.end - self.begin

    @property
    def scorable(self) -> range:
        """The first samples of the blocks that have the linear reference's history."""
        return range(max(self.begin, references.ORDER), self.end, references.BLOCK)


@dataclass
class CodeCounts:
    """Counts of codes [levels], of pairs [levels, levels] (or none), and least-squares sums."""

    codes: np.ndarray
    pairs: np.ndarray
    gram: np.ndarray

    @classmethod
    def zeros(cls, levels: int) -> "CodeCounts":
        """Return counts of nothing."""
        width = levels if levels == quantise.LEVELS else 0
        order = references.ORDER + 2
        return cls(
            np.zeros(levels, np.int64), np.zeros((width, width), np.int64), np.zeros((order, order))
        )

    def add(self, other: "CodeCounts") -> None:
        """Add the counts of another part."""
        self.codes += other.codes
        self.pairs += other.pairs
        self.gram += other.gram


def summarise(
    recordings: Iterable[Recording], folder: Folder, rate: int, levels: int, progress: Progress
) -> tuple[Reference, dict[str, SplitSummary]]:
    """Return the linear reference and each split's summary; SummaryError if one has no score."""
    parts = _parts(recordings)
    samples = {s: sum(part.samples for part in parts if part.split == s) for s in SPLITS}
    shares = {split: _share(MAX_SCORED_SAMPLES, count) for split, count in samples.items()}
    groups = jobs.fill_groups(parts, lambda part: part.samples, TASK_SAMPLES, TASK_PARTS)
    totals = {split: CodeCounts.zeros(levels) for split in SPLITS}
    for counted in _map_groups("count", groups, partial(_count, folder, levels, shares), progress):
        for split, counts in counted.items():
            totals[split].add(counts)
    train = [part for part in parts if part.split == "train"]
    share = _share(MAX_FITTED_SAMPLES, samples["train"])
    linear = _fit_linear(totals["train"].gram, train, folder, levels, share)
    scored = _map_groups("score", groups, partial(_score, folder, linear, levels, shares), progress)
    summaries = {}
    for split in SPLITS:
        if not samples[split]:
            continue
        scores = [score[split] for score in scored if split in score]
        if not (count := sum(number for _, number in scores)):
            raise SummaryError(_too_short(split, samples[split]))
        codes, pairs = totals[split].codes, totals[split].pairs
        summaries[split] = SplitSummary(
            recordings=sum(part.split == split for part in parts),
            samples=samples[split],
            seconds=samples[split] / rate,
            histogram=tuple(codes.reshape(HISTOGRAM_BINS, -1).sum(1).tolist()),
            histogram_bits=references.histogram_bits(codes),
            pair_bits=references.pair_bits(pairs) if pairs.size else None,
            linear_bits=math.fsum(nats for nats, _ in scores) / count / math.log(2),
            linear_samples=count,
        )
    return linear, summaries


def _parts(recordings: Iterable[Recording]) -> list[SplitRange]:
    blocks = dict.fromkeys(SPLITS, 0)
    parts = []
    for entry in recordings:
        for split, (begin, end) in entry.ranges.items():
            parts.append(SplitRange(entry.location, split, begin, end, blocks[split]))
            blocks[split] += len(parts[-1].scorable)
    return parts


def _map_groups(
    step: str,
    groups: list[list[SplitRange]],
    work: Callable[[list[SplitRange]], Any],
    progress: Progress,
) -> list[Any]:
    """Return the result of ``work`` for each group, in order, so that sums are reproducible."""
    total = sum(map(len, groups))
    results, done = {}, 0
    for group, result in jobs.run_tasks(groups, work):
        results[id(group)] = result
        done += len(group)
        progress(step, done, total)
    return [results[id(group)] for group in groups]


def _count(
    folder: Folder, levels: int, shares: dict[str, float], parts: list[SplitRange]
) -> dict[str, CodeCounts]:
    """Return the counts of these parts by split, with the least squares' sums in train only."""
    counted: dict[str, CodeCounts] = {}
    for part in parts:
        counts = counted.setdefault(part.split, CodeCounts.zeros(levels))
        for begin in range(part.begin, part.end, references.BLOCK):
            # The first code of a block forms a pair with the last code of the block before.
            first, end = max(part.begin, begin - 1), min(begin + references.BLOCK, part.end)
            codes = shards.read(folder, part.location, first, end - first)
            counts.codes += np.bincount(codes[begin - first :], minlength=levels)
            if counts.pairs.size:
                counts.pairs += references.count_pairs(codes)
        if part.split == "train":
            for codes in _chosen(folder, part, shares[part.split]):
                counts.gram += references.gram_matrix(codes, levels)
    return counted


def _score(
    folder: Folder,
    linear: Reference,
    levels: int,
    shares: dict[str, float],
    parts: list[SplitRange],
) -> dict[str, tuple[float, int]]:
    """Return by split the linear reference's sum of nats on these parts, and its samples."""
    scores: dict[str, list[tuple[float, int]]] = {}
    for part in parts:
        for codes in _chosen(folder, part, shares[part.split]):
            targets = codes[linear.order :]
            nats = references.discretised_logistic_nats(
                targets, references.predict_centres(codes, linear), linear.scale, levels
            )
            scores.setdefault(part.split, []).append((math.fsum(nats), len(targets)))
    return {
        split: (math.fsum(nats for nats, _ in found), sum(count for _, count in found))
        for split, found in scores.items()
    }


def _chosen(folder: Folder, part: SplitRange, share: float) -> Iterator[np.ndarray]:
    """Yield an even choice of blocks [order + n]: a ``share`` of all, each after its history."""
    for number, begin in enumerate(part.scorable, part.blocks_before):
        if math.floor((number + 1) * share) > math.floor(number * share):
            first, end = begin - references.ORDER, min(begin + references.BLOCK, part.end)
            yield shards.read(folder, part.location, first, end - first)


def _fit_linear(
    gram: np.ndarray, train: list[SplitRange], folder: Folder, levels: int, share: float
) -> Reference:
    """Return the linear reference from train's sums, its scale fitted on a share of its blocks."""
    if not gram[references.ORDER, references.ORDER]:
        raise SummaryError(_too_short("train", sum(part.samples for part in train)))
    linear = references.fit_linear(gram, levels)
    blocks = [codes for part in train for codes in _chosen(folder, part, share)]
    centres = np.concatenate([references.predict_centres(codes, linear) for codes in blocks])
    codes = np.concatenate([codes[references.ORDER :] for codes in blocks])
    return dataclasses.replace(linear, scale=references.fit_scale(codes, centres, levels))


def _share(most: int, samples: int) -> float:
    return min(1.0, most / max(1, samples))


def _too_short(split: str, samples: int) -> str:
    return (
        f"None of the {samples} samples of split {split!r} has {references.ORDER} samples before "
        "it in its recording: change the split's fractions or add recordings."
    )
