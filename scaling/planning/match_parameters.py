"""Search for the value of one key of the model that is nearest to a number of parameters.

:func:`model.accounting.parameters` counts and :mod:`scaling.config.check` decides whether a value
is valid. So this file depends on no kind of model and on no key.
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
"""Number of values that are all tried: a count may fall there, since a longer kernel leaves fewer
positions, and valid values may be far apart, such as chunks that divide a context."""
LARGEST = 2**40  # value that is tried
WALKED = 2**14  # values beyond SCANNED that are tried on either side of the wanted count
FURTHEST = 2  # factor of too many or too few parameters that is still accepted


@dataclass(frozen=True)
class Match:
    """The value of ``key`` with the nearest number of parameters, ``percent`` above ``wanted``."""

    key: str
    value: int
    parameters: int
    wanted: int
    percent: float

    @property
    def override(self) -> str:
        """The override to type."""
        return f"{self.key}={self.value}"

    @property
    def sentence(self) -> str:
        """The override, its number of parameters, and the distance from the wanted number."""
        return (
            f"{self.override} has {self.parameters:,} parameters, {self.percent:+.3f} % off the "
            f"{self.wanted:,} that were asked for"
        )


def parse_count(text: str) -> int:
    """Parse a number of parameters such as 3140000, 3.14M or 300k; ConfigError if it is none."""
    match = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,15})?)([kMB]?)", text)
    number = round(Decimal(match[1]) * SUFFIXES[match[2]]) if match else 0
    if number < 1:
        raise ConfigError(
            f"--parameters is {text[:40]!r}: write a number of 1 or more, optionally with k, M "
            "or B after it, such as 3140000, 3.14M or 300k"
        )
    return number


def nearest_value(config: RunConfig, key: str, wanted: int) -> Match:
    """Return the valid value of ``key`` whose parameter count is nearest to ``wanted``.

    Of two equally near values it is the smaller. ConfigError if the configuration is wrong, the key
    is no integer that changes the count, or no value comes within a factor of two.
    """
    if problems := check.problems(config, None):
        raise ConfigError(problems)
    if sentence := _key_problem(config.model, key):
        raise ConfigError(sentence)
    name = key.removeprefix("model.")

    @cache
    def counted(value: int) -> int:
        return _count(config.model, name, value)

    for value in _by_distance(counted, wanted):
        parameters = counted(value)
        if parameters > FURTHEST * wanted:
            # All further values are as far off or further.
            break
        model = _with(config.model, name, value)
        near = FURTHEST * parameters >= wanted
        if near and not check.problems(config.model_copy(update={"model": model}), None):
            return Match(key, value, parameters, wanted, 100 * (parameters / wanted - 1))
    current = getattr(config.model, name)
    raise ConfigError(
        f"found no valid value of {key} with {wanted:,} parameters, nor within a factor of "
        f"{FURTHEST} of them; {key}={current} has {counted(current):,}: write --parameters "
        "nearer to that, or another key after --vary"
    )


def _by_distance(counted: Callable[[int], int], wanted: int) -> Iterator[int]:
    """Yield the values to try, nearest in count to ``wanted`` first, of equals the smallest.

    Beyond ``SCANNED`` the count never falls, so distances grow on both sides of a bisection's end.
    """

    def distance(value: int) -> int:
        return abs(counted(value) - wanted)

    nearest = bisect_left(range(LARGEST), wanted, lo=SCANNED, key=counted)
    first = sorted(range(SCANNED), key=distance)
    below = range(nearest - 1, max(SCANNED, nearest - WALKED) - 1, -1)
    return merge(first, below, range(nearest, nearest + WALKED), key=distance)


def _key_problem(model: Shape, key: str) -> str | None:
    """Return why the key cannot be varied, or None if it can."""
    types = {f"model.{field.name}": field.type for field in fields(model)}
    if key.startswith("model.") and key not in types:
        (close,) = difflib.get_close_matches(key, types, n=1, cutoff=0)
        return (
            f"--vary {key} is not a key of a model of the kind {model.kind}: the nearest is {close}"
        )
    counts = [name for name, kind in types.items() if kind is int and _changes(model, name)]
    if key in counts:
        return None
    problem = "does not change the parameter count"
    if key in types and types[key] is not int:
        value = getattr(model, key.removeprefix("model."))
        problem = f"is not an integer ({value!r})"
    return f"--vary {key} {problem}: write one of {', '.join(counts)}"


def _changes(model: Shape, key: str) -> bool:
    name = key.removeprefix("model.")
    return len({_count(model, name, 2**power) for power in range(LARGEST.bit_length())}) > 1


def _count(model: Shape, name: str, value: int) -> int:
    return sum(accounting.parameters(_with(model, name, value)).values())


def _with(model: Shape, name: str, value: int) -> Shape:
    values: dict[str, Any] = {name: value}
    return replace(model, **values)
