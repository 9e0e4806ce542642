"""Assign samples to splits: by file order, by time, by a hash, or as the corpus states.

``order`` is the published rule of the audio corpora (Goel et al. 2022, "It's Raw!", released code):
of n natural-sorted files, train is [0, int(0.88 n)), validation [int(0.88 n), int(0.94 n)), test
the rest. ``hash`` uses the file's name alone. ``time`` cuts every recording, for corpora of one or
few: contexts of held-out targets then reach back over the cut. ``table`` and ``lists`` are splits
that come with a corpus: a CSV with a row per file, or a list of names each for validation and test.

A file never moves: one that an earlier preparation assigned keeps its split, and under ``order``
later files are assigned by the hash of their names.
"""

import csv
import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

SplitKind = Literal["order", "time", "hash", "table", "lists"]
KINDS: tuple[str, ...] = get_args(SplitKind)
SPLITS = ("train", "validation", "test")


class SplitError(ValueError):
    """An impossible split rule, with what is allowed."""


@dataclass(frozen=True)
class SplitRule:
    """A kind of split, with the fractions of train, validation and test, which sum to 1.

    ``files`` are patterns, below the root or in an archive: of one table, whose ``columns`` are the
    file's name and its split, or of the lists for validation and for test.
    """

    kind: str
    fractions: tuple[float, float, float] = (0.88, 0.06, 0.06)
    files: tuple[str, ...] = ()
    columns: tuple[str, str] = ("name", "split")

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise SplitError(f"Split rule {self.kind!r} is unknown: write {', '.join(KINDS)}.")
        if min(self.fractions) < 0 or abs(sum(self.fractions) - 1) > 1e-9:
            raise SplitError(
                f"Split fractions {self.fractions} must be three numbers of 0 or more "
                "that sum to 1: write, for example, 0.88, 0.06, 0.06."
            )
        needed = {"table": 1, "lists": 2}.get(self.kind, 0)
        if len(self.files) != needed:
            raise SplitError(
                f"Split rule {self.kind!r} has {len(self.files)} files {list(self.files)}: write "
                f"{needed} (one table, two lists for validation and test, none for other rules)."
            )

    def __str__(self) -> str:
        """Return the rule as reports print it: ``time 0.70/0.15/0.15``."""
        if self.files:
            return f"{self.kind} {' '.join(self.files)}"
        return f"{self.kind} {'/'.join(map(_at_least_two_places, self.fractions))}"

    @property
    def boundaries(self) -> tuple[float, float]:
        """The ends of train and validation as fractions; 0.88 + 0.06 is 0.94, not 0.9399..."""
        return self.fractions[0], round(self.fractions[0] + self.fractions[1], 12)


def assign_splits(
    rule: SplitRule, names: Sequence[str], earlier: Mapping[str, str], own: Mapping[str, str]
) -> dict[str, str]:
    """Return the split of each file in natural order, except of files that a ``table`` omits.

    ``earlier`` are the splits of an earlier preparation, which stay; ``own`` are those that the
    corpus states. Under ``time`` files have no split: :func:`cut_by_time` divides the recordings.
    """
    if rule.kind == "time":
        return {}
    if rule.kind == "table":
        return {name: own[name] for name in names if name in own}
    if rule.kind == "lists":
        return {name: own.get(name, "train") for name in names}
    assigned = {name: earlier[name] for name in names if name in earlier}
    if rule.kind == "order" and not earlier:
        first, second = (int(cut * len(names)) for cut in rule.boundaries)
        return {name: SPLITS[(i >= first) + (i >= second)] for i, name in enumerate(names)}
    for name in names:
        number = sum(_hash_fraction(name) >= cut for cut in rule.boundaries)
        assigned.setdefault(name, SPLITS[number])
    return assigned


def cut_by_time(rule: SplitRule, samples: int) -> dict[str, tuple[int, int]]:
    """Return the range [begin, end) of each split that is not empty, of a recording's samples."""
    first, second = (int(cut * samples) for cut in rule.boundaries)
    ranges = zip(SPLITS, ((0, first), (first, second), (second, samples)), strict=True)
    return {split: (begin, end) for split, (begin, end) in ranges if begin < end}


def read_split_table(rule: SplitRule, text: str) -> dict[str, str]:
    """Return the split of each name in a CSV; SplitError for a missing column or unknown split."""
    rows = csv.DictReader(io.StringIO(text, newline=""))
    if missing := [name for name in rule.columns if name not in (rows.fieldnames or ())]:
        raise SplitError(
            f"The split table {rule.files[0]} has no column {missing[0]!r}; it has "
            f"{', '.join(rows.fieldnames or ['none'])}: write `columns` as [NAMES, SPLITS]."
        )
    name, split = rule.columns
    found = {row[name] or "": row[split] or "" for row in rows}  # None if a row ends early
    if unknown := sorted(set(found.values()) - set(SPLITS)):
        raise SplitError(
            f"The split table {rule.files[0]} has the splits {unknown} in column {split!r}: "
            f"only {', '.join(SPLITS)} are known."
        )
    return found


def _hash_fraction(name: str) -> float:
    """Map a name to a fixed number in [0, 1): the first 8 bytes of its SHA-256."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") / 2**64


def _at_least_two_places(fraction: float) -> str:
    return max(f"{fraction:.2f}", str(fraction), key=len)
