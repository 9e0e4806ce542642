"""The value of one key of the model that brings a run nearest to a number of parameters.

The count is :func:`model.accounting.parameters`, whether a value is allowed is for
:mod:`scaling.config.check` to say: this file knows of no kind of model and of no key what it does.
"""

import difflib
import re
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from decimal import Decimal
from functools import cache
from heapq import merge
from typing import Any

from model import accounting
from model.architecture import Shape
from scaling.config import check
from scaling.config.load import ConfigError
from scaling.config.run_config import RunConfig

SUFFIXES = {"": 1, "k": 10**3, "M": 10**6, "B": 10**9}
SCANNED = 2**13
"""Values that are all looked at: a count may fall there, as a longer kernel leaves fewer positions,
and those allowed may be far apart, as chunks are that divide a context."""
LARGEST = 2**40
"""Value up to which a count is looked for."""
WALKED = 2**14
"""Values beyond ``SCANNED`` that are looked at to either side of the wanted count."""
FURTHEST = 2
"""Times too many or too few parameters that still count as near."""


@dataclass(frozen=True)
class Match:
    """The value of ``key`` whose number of parameters is nearest to the ``wanted`` one.

    ``percent`` is by how much there are more than wanted; negative where there are fewer.
    """

    key: str
    value: int
    parameters: int
    wanted: int
    percent: float

    @property
    def override(self) -> str:
        """What to type."""
        return f"{self.key}={self.value}"

    @property
    def sentence(self) -> str:
        """What to type, the count it reaches, and how far off that is."""
        return (
            f"{self.override} has {self.parameters:,} parameters, {self.percent:+.3f} % off the "
            f"{self.wanted:,} that were asked for"
        )


def parse_count(text: str) -> int:
    """The number of parameters in a text such as 3140000, 3.14M or 300k; ConfigError if none."""
    found = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,15})?)([kMB]?)", text)
    number = round(Decimal(found[1]) * SUFFIXES[found[2]]) if found else 0
    if number < 1:
        raise ConfigError(
            [
                f"--parameters is {text[:40]!r}: write a number of 1 or more, with k, M or B after "
                "it if you like, such as 3140000, 3.14M or 300k"
            ]
        )
    return number


def nearest_value(config: RunConfig, key: str, wanted: int) -> Match:
    """The valid value of ``key`` whose parameter count is nearest to ``wanted``.

    Of two as near it is the smaller. ConfigError where the configuration is wrong as it stands, the
    key is no integer that changes the count, or no value comes within a factor of two.
    """
    if problems := check.problems(config, None):
        raise ConfigError(problems)
    if sentence := _key_problem(config.model, key):
        raise ConfigError([sentence])
    name = key.removeprefix("model.")

    @cache
    def counted(value: int) -> int:
        return _count(config.model, name, value)

    for value in _by_distance(counted, wanted):
        parameters = counted(value)
        if parameters > FURTHEST * wanted:
            # What follows is as far off or further: still more of them, or less than none.
            break
        model = _with(config.model, name, value)
        near = FURTHEST * parameters >= wanted
        if near and not check.problems(config.model_copy(update={"model": model}), None):
            return Match(key, value, parameters, wanted, 100 * (parameters / wanted - 1))
    as_it_is = getattr(config.model, name)
    raise ConfigError(
        [
            f"found no valid value of {key} with {wanted:,} parameters, nor within a factor of "
            f"{FURTHEST} of them; {key}={as_it_is} has {counted(as_it_is):,}: write --parameters "
            "nearer to that, or another key after --vary"
        ]
    )


def _by_distance(counted: Callable[[int], int], wanted: int) -> Iterator[int]:
    """The values to try, the nearest in its count to ``wanted`` first, of equals the smallest.

    Beyond the first ones a count only grows, so that the distances grow to either side of a place
    that bisection finds.
    """

    def distance(value: int) -> int:
        return abs(counted(value) - wanted)

    place = bisect_left(range(LARGEST), wanted, lo=SCANNED, key=counted)
    first = sorted(range(SCANNED), key=distance)
    below = range(place - 1, max(SCANNED, place - WALKED) - 1, -1)
    return merge(first, below, range(place, place + WALKED), key=distance)


def _key_problem(model: Shape, key: str) -> str | None:
    """Why the key is none that can be varied; None if it is one."""
    known = {f"model.{field.name}": field.type for field in fields(model)}
    if key.startswith("model.") and key not in known:
        (close,) = difflib.get_close_matches(key, known, n=1, cutoff=0)
        return (
            f"--vary {key} is not a key of a model of the kind {model.kind}: the nearest is {close}"
        )
    counts = [name for name, kind in known.items() if kind is int and _changes(model, name)]
    if key in counts:
        return None
    wrong = "does not change the parameter count"
    if key in known and known[key] is not int:
        value = getattr(model, key.removeprefix("model."))
        wrong = f"is not an integer ({value!r})"
    return f"--vary {key} {wrong}: write one of {', '.join(counts)}"


def _changes(model: Shape, key: str) -> bool:
    name = key.removeprefix("model.")
    return len({_count(model, name, 2**power) for power in range(LARGEST.bit_length())}) > 1


def _count(model: Shape, name: str, value: int) -> int:
    return sum(accounting.parameters(_with(model, name, value)).values())


def _with(model: Shape, name: str, value: int) -> Shape:
    values: dict[str, Any] = {name: value}
    return replace(model, **values)
