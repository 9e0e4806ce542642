"""Windows: the targets of a split, enumerated by index and ordered by a seed.

In a recording the eligible targets are the offsets [max(history, begin), end) of the split's range.
They are cut into blocks of ``targets * spacing`` offsets. The window (block, group) has the targets
``block begin + group * run + k * spacing + j``, k in [0, targets) and j in [0, run). Every covered
offset is the target of exactly one window. The covered offsets depend on the history, not on the
context: runs with other contexts train and are scored on the same ones.
"""

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np

from datasets.manifest import Corpus, Recording
from datasets.permutation import derive_key, permute

HASH_BLOCK = 2**20  # targets


class WindowError(ValueError):
    """Windows that a corpus cannot give, with what to change."""


@dataclass(frozen=True)
class Windows:
    """The windows of one split, in the order of recordings, blocks and groups, stored as sums.

    All lengths are in samples. A window has ``targets`` places, ``spacing`` apart, with ``run``
    consecutive targets each (``run`` divides ``spacing``). ``history`` is kept before the first
    target of a recording: at least ``context``, or less if windows may be ``padded``, that is,
    begin before their recording does.
    """

    recordings: tuple[Recording, ...]
    ranges: tuple[tuple[int, int], ...]
    context: int
    spacing: int
    targets: int
    history: int
    run: int = 1
    padded: bool = False

    @classmethod
    def of(
        cls,
        corpus: Corpus,
        split: str,
        context: int,
        spacing: int = 1,
        targets: int = 1,
        history: int | None = None,
        run: int = 1,
        padded: bool = False,
    ) -> Self:
        """Return the windows of ``split``; ``history`` defaults to the context.

        ManifestError if the split is empty, WindowError if no window fits or a number is invalid.
        """
        history = context if history is None else history
        if context < 0 or spacing < 1 or targets < 1:
            raise WindowError(
                f"Context {context} must be 0 or more, and spacing {spacing} and targets {targets} "
                "1 or more."
            )
        if run < 1 or spacing % run:
            raise WindowError(f"A run of {run} targets does not divide the spacing {spacing}.")
        if history < context and not padded:
            raise WindowError(
                f"History {history} is shorter than the context {context}: "
                "write a history of the longest context of the study."
            )
        longest = corpus.longest_recording(split)
        owners = tuple(recording for recording in corpus.recordings if split in recording.ranges)
        ranges = tuple(recording.ranges[split] for recording in owners)
        windows = cls(owners, ranges, context, spacing, targets, history, run, padded)
        if len(windows) == 0:
            begin, end = longest.ranges[split]
            raise WindowError(
                f"No window of {targets} targets, {spacing} apart, after a history of {history} "
                f"samples fits split {split!r}: it needs {targets * spacing} targets in a row, and "
                f"in the longest recording ({longest.name}, samples {begin}..{end - 1}) "
                f"{max(0, end - max(begin, history))} are left. "
                "Take a shorter history, fewer targets, a smaller spacing or longer recordings."
            )
        return windows

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    @property
    def length(self) -> int:
        """Samples in one window: the first target's context up to the last target itself."""
        return self.context + (self.targets - 1) * self.spacing + self.run

    @property
    def targets_in_epoch(self) -> int:
        """Number of targets of all windows together, each counted once."""
        return len(self) * self.targets * self.run

    @property
    def left_out(self) -> int:
        """Number of eligible targets in no window: the remainders at the ends of the ranges."""
        return int(self._eligible.sum()) - self.targets_in_epoch

    def locate(self, indexes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Map indexes [n] to (recording number [n], offset of the first target [n]), both int64.

        The window's samples are [offset - context, offset - context + length). IndexError if an
        index is outside ``range(len(self))``.
        """
        indexes = np.asarray(indexes, dtype=np.int64)
        if indexes.size and (indexes.min() < 0 or indexes.max() >= len(self)):
            raise IndexError(
                f"Windows {indexes.min()}..{indexes.max()} are not all in 0..{len(self) - 1}."
            )
        recording = np.searchsorted(self._ends, indexes, side="right")
        within = indexes - (self._ends - self._counts)[recording]
        block, group = np.divmod(within, self.spacing // self.run)
        first = self._firsts[recording] + block * self.targets * self.spacing + group * self.run
        return recording, np.asarray(first)

    def padding(self, indexes: np.ndarray) -> np.ndarray:
        """Return the samples [n] (int64) of each window before its recording's first sample."""
        return np.asarray(np.maximum(self.context - self.locate(indexes)[1], 0))

    @property
    def padded_windows(self) -> int:
        """Number of windows that begin before their recording does."""
        block = self.targets * self.spacing
        # The first targets only grow within a recording, so its padded windows come first.
        short = np.maximum(self.context - self._firsts, 0)
        blocks, rest = np.divmod(short, block)
        groups = np.minimum(-(-rest // self.run), self.spacing // self.run)
        return int(np.minimum(blocks * (self.spacing // self.run) + groups, self._counts).sum())

    def offsets(self, indexes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Map indexes [n] to (recording number [n], target offsets [n, targets * run]), int64."""
        recording, first = self.locate(indexes)
        places = np.arange(self.targets)[:, None] * self.spacing + np.arange(self.run)
        return recording, np.asarray(first[:, None] + places.ravel())

    @cached_property
    def _firsts(self) -> np.ndarray:
        """The first eligible target of each recording [recordings]."""
        begins = np.array([begin for begin, _ in self.ranges], dtype=np.int64)
        return np.maximum(begins, self.history)

    @cached_property
    def _eligible(self) -> np.ndarray:
        """The number of eligible targets of each recording [recordings]."""
        ends = np.array([end for _, end in self.ranges], dtype=np.int64)
        return np.asarray(np.maximum(ends - self._firsts, 0))

    @cached_property
    def _counts(self) -> np.ndarray:
        """The number of windows of each recording [recordings]."""
        return self._eligible // (self.targets * self.spacing) * (self.spacing // self.run)

    @cached_property
    def _ends(self) -> np.ndarray:
        """The running sum of the number of windows [recordings]."""
        return np.cumsum(self._counts)


def order_windows(positions: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Map positions [n] of the endless global sequence to window indexes [n] in ``range(count)``.

    Position p is in epoch ``p // count``. Each epoch is its own permutation of all windows, keyed
    by (seed, epoch), so an epoch is without replacement and can be entered anywhere.
    """
    epochs, within = np.divmod(np.asarray(positions, dtype=np.int64), count)
    indexes = np.empty_like(within)
    for epoch in np.unique(epochs):
        chosen = epochs == epoch
        indexes[chosen] = permute(within[chosen], count, derive_key("order", seed, int(epoch)))
    return indexes


def hash_targets(windows: Windows, indexes: np.ndarray) -> str:
    """Return the SHA-256 (hex) of the sorted (recording name, offset) pairs of the windows.

    It identifies a set of targets, whatever the context, the grouping into windows and the order.
    """
    recording, offsets = windows.offsets(indexes)
    owner = np.repeat(recording, offsets.shape[1])
    names = [entry.name for entry in windows.recordings]
    digest = hashlib.sha256()
    for number in sorted(np.unique(owner), key=names.__getitem__):
        chosen = np.sort(offsets.ravel()[owner == number])
        digest.update(_heading(names[number], len(chosen)))
        digest.update(chosen.astype("<i8").tobytes())
    return digest.hexdigest()


def hash_every_target(windows: Windows) -> str:
    """Return the :func:`hash_targets` of all windows of single targets, computed in blocks."""
    digest = hashlib.sha256()
    targets = zip(windows.recordings, windows.ranges, strict=True)
    for recording, (begin, end) in sorted(targets, key=lambda pair: pair[0].name):
        first = max(begin, windows.history)
        if first >= end:
            continue
        digest.update(_heading(recording.name, end - first))
        for start in range(first, end, HASH_BLOCK):
            block = np.arange(start, min(start + HASH_BLOCK, end), dtype="<i8")
            digest.update(block.tobytes())
    return digest.hexdigest()


def _heading(name: str, targets: int) -> bytes:
    return json.dumps([name, targets]).encode() + b"\n"
