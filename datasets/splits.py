"""Which split owns which samples: by file order, by time, or by a hash of the recording's name.

``order`` is the published rule of the audio corpora (Goel et al. 2022, "It's Raw!", released code):
of n natural-sorted files, train is [0, int(0.88 n)), validation [int(0.88 n), int(0.94 n)), test
the rest. ``hash`` never moves a recording when others are added. ``time`` cuts every recording, for
corpora of one or few: contexts of held-out targets then reach back over the cut.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

Kind = Literal["order", "time", "hash"]
KINDS: tuple[str, ...] = get_args(Kind)
SPLITS = ("train", "validation", "test")


class SplitError(ValueError):
    """A split rule that makes no sense, with what is allowed."""


@dataclass(frozen=True)
class Rule:
    """A kind of split and the fractions of train, validation and test, which sum to 1."""

    kind: str
    fractions: tuple[float, float, float] = (0.88, 0.06, 0.06)

    def __post_init__(self) -> None:
        """Raise SplitError where the kind is unknown or the fractions are not a partition."""
        if self.kind not in KINDS:
            raise SplitError(f"Split rule {self.kind!r} is unknown: write {', '.join(KINDS)}.")
        if min(self.fractions) < 0 or abs(sum(self.fractions) - 1) > 1e-9:
            raise SplitError(
                f"Split fractions {self.fractions} must be three numbers of 0 or more "
                "that sum to 1: write, for example, 0.88, 0.06, 0.06."
            )

    def __str__(self) -> str:
        """The rule as a report prints it: ``time 0.70/0.15/0.15``."""
        return f"{self.kind} {'/'.join(map(_at_least_two_places, self.fractions))}"

    @property
    def cuts(self) -> tuple[float, float]:
        """Where train and validation end, as fractions; 0.88 + 0.06 is 0.94, not 0.9399..."""
        return self.fractions[0], round(self.fractions[0] + self.fractions[1], 12)


def assign(
    rule: Rule, names: Sequence[str], samples: Sequence[int]
) -> list[dict[str, tuple[int, int]]]:
    """For each recording, in natural order, the sample range [begin, end) that each split owns.

    Every sample is owned once; a split that owns nothing of a recording is absent.
    """
    if rule.kind == "time":
        return [_cut(rule, length) for length in samples]
    if rule.kind == "order":
        first, second = (int(cut * len(names)) for cut in rule.cuts)
        places = [(i >= first) + (i >= second) for i in range(len(names))]
    else:
        places = [sum(_fraction(name) >= cut for cut in rule.cuts) for name in names]
    return [{SPLITS[place]: (0, n)} for place, n in zip(places, samples, strict=True)]


def _cut(rule: Rule, samples: int) -> dict[str, tuple[int, int]]:
    first, second = (int(cut * samples) for cut in rule.cuts)
    ranges = zip(SPLITS, ((0, first), (first, second), (second, samples)), strict=True)
    return {split: (begin, end) for split, (begin, end) in ranges if begin < end}


def _fraction(name: str) -> float:
    """A recording's fixed place in [0, 1): the first 8 bytes of its name's SHA-256."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") / 2**64


def _at_least_two_places(fraction: float) -> str:
    return max(f"{fraction:.2f}", str(fraction), key=len)
