"""Damaged files for loaders, which may raise the documented error and write no file elsewhere.

Hypothesis draws the damage, so it shows the smallest damage that a loader answers wrongly. The
inputs are the same in every run.
"""

import contextlib
import copy
import math
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.internal.conjecture import providers

INPUTS = 10_000
"""Damaged inputs for each loader."""

# The phase that explains a failing input takes minutes.
every_input = settings(
    max_examples=INPUTS,
    derandomize=True,
    database=None,
    deadline=None,
    phases=(Phase.generate, Phase.shrink),
    suppress_health_check=list(HealthCheck),
)

LONGEST_LINE = 2_000
"""Characters of an error's line: an error must not repeat the whole file."""

WIDTHS = (1, 2, 4, 8)
EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1)
WAYS = ("flip", "write", "extreme", "cut", "drop", "repeat", "splice", "grow")
HEAD, TAIL = 256, 2_048
"""Bytes at the ends of a file, which have its headers and footers: half of all damage is there."""
LARGEST = 2**16

numbers = st.integers(0, LARGEST - 1)
damages = st.lists(
    st.tuples(st.sampled_from(WAYS), numbers, numbers, st.binary(max_size=6)),
    min_size=1,
    max_size=3,
)


def damaged(content: bytes, damage: list[tuple[str, int, int, bytes]], other: bytes = b"") -> bytes:
    """Return the damaged content; ``other`` is content for splices."""
    found = bytearray(content)
    for way, where, number, text in damage:
        place = _place(where, len(found))
        if way == "flip" and found:
            found[min(place, len(found) - 1)] ^= 1 << number % 8
        elif way == "write":
            found[place : place + len(text)] = text
        elif way == "extreme":
            width = WIDTHS[number % len(WIDTHS)]
            value = EXTREMES[number // 4 % len(EXTREMES)] % 256**width
            found[place : place + width] = value.to_bytes(width, "big" if number % 3 else "little")
        elif way == "cut":
            del found[place:]
        elif way == "drop":
            del found[place : place + number % 64]
        elif way == "repeat":
            found[place:place] = found[place : place + number % 512]
        elif way == "splice":
            found[place:] = (other or content)[_place(number, len(other or content)) :]
        elif way == "grow":
            found[place:place] = text * (number % 1_024)
    return bytes(found)


def _place(where: int, size: int) -> int:
    """Draw an offset in a file of ``size`` bytes: near its start, near its end, or anywhere."""
    if where % 4 == 0:
        return min(where // 4 % HEAD, size)
    if where % 4 == 1:
        return max(size - where // 4 % TAIL, 0)
    return where * 65_537 % max(size, 1)


# Values on which readers of numbers and names fail.
HOSTILE: tuple[Any, ...] = (
    *(None, True, False, -1, 0, 1, 2, 2**31, 2**63, 2**64, -(2**63) - 1, 10**400, 0.5, -0.0),
    *(1e-320, 1e308, math.nan, math.inf, -math.inf, "", " ", "a", "0", "1e5", "\0", "../../x"),
    *("/etc/passwd", "é\N{MUSICAL SYMBOL G CLEF}", "\ud800", "x" * 5_000, "s3://", "file:///"),
    *([], {}, [[]], [None], [{}], {"": None}, {"a": {"b": {}}}, [0] * 100, ["x", 1, None]),
)
CHANGES = ("replace", "remove", "rename", "twice", "swap", "add")
changes = st.lists(st.tuples(st.sampled_from(CHANGES), numbers, numbers), min_size=1, max_size=3)
# Tokens for a value in JSON that Python would not write.
TOKENS = ("[" * 200_000, '{"a":' * 200_000, "[" * 900 + "]" * 900, "9" * 5_000, "1e999", "-", "01")
TOKENS += ("NaN", "-Infinity", r'"\ud800"', r'"\u0000"', r'"\x"', '"', "nul", "0,", "]", "}", "")
tokens = st.tuples(numbers, numbers)
MARK = "here"


def changed(tree: Any, change: list[tuple[str, int, int]]) -> Any:
    """Return a copy of a tree of dictionaries and lists with the changes."""
    root = {"": copy.deepcopy(tree)}
    for way, where, number in change:
        nodes = list(_nodes(root))
        parent, key = nodes[where % len(nodes)]
        if way == "replace":
            parent[key] = copy.deepcopy(HOSTILE[number % len(HOSTILE)])
        elif way == "swap":
            other, place = nodes[number % len(nodes)]
            parent[key] = copy.deepcopy(other[place])
        elif isinstance(parent, list):
            _change_list(parent, key, way, number)
        elif parent is not root:
            _change_dictionary(parent, key, way, number)
    return root[""]


def with_token(tree: Any, token: tuple[int, int], write: Callable[[Any], str], known: Any) -> str:
    """Return the text of a tree with one of the ``known`` tokens in place of a value."""
    where, number = token
    root = {"": copy.deepcopy(tree)}
    nodes = list(_nodes(root))
    parent, key = nodes[where % len(nodes)]
    parent[key] = MARK
    return write(root[""]).replace(f'"{MARK}"', known[number % len(known)])


def _nodes(root: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every value of a tree as its container and its key."""
    waiting = [root]
    while waiting:
        parent = waiting.pop()
        for key in list(parent) if isinstance(parent, dict) else range(len(parent)):
            yield parent, key
            if isinstance(parent[key], dict | list):
                waiting.append(parent[key])


def _change_list(parent: list[Any], key: int, way: str, number: int) -> None:
    if way == "remove":
        del parent[key]
    elif way == "twice":
        parent.insert(key, copy.deepcopy(parent[key]))
    else:
        parent.append(copy.deepcopy(HOSTILE[number % len(HOSTILE)]))


def _change_dictionary(parent: dict[Any, Any], key: Any, way: str, number: int) -> None:
    if way == "remove":
        del parent[key]
    elif way == "rename":
        parent[f"{key}{number % 10}"] = parent.pop(key)
    else:
        parent[f"added{number % 10}"] = copy.deepcopy(HOSTILE[number % len(HOSTILE)])


WRITING = ("open", "os.rename", "os.mkdir", "os.symlink", "os.link", "os.remove", "os.rmdir")
WRITING += ("os.truncate", "os.chmod")
FOR_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class _Auditor:
    """Record of paths outside the folder ``inside`` that this process asks the system to change.

    Python cannot remove audit hooks, so one hook serves all and ignores events without a folder.
    """

    def __init__(self) -> None:
        self.inside: str | None = None
        self.elsewhere: list[str] = []
        self._added = False

    @contextlib.contextmanager
    def watching(self, folder: Path) -> Iterator[list[str]]:
        if not self._added:
            sys.addaudithook(self._hook)
            self._added = True
        self.inside, self.elsewhere = f"{folder}{os.sep}", []
        try:
            yield self.elsewhere
        finally:
            self.inside = None

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.inside is None or event not in WRITING:
            return
        if event == "open" and not (arguments[2] or 0) & FOR_WRITING:
            return
        for path in arguments[: 2 if event in ("os.rename", "os.link") else 1]:
            # An event without a name is of an open file, or of one in an open folder, as in the
            # removal of a tree, whose first folder is opened by its name.
            if isinstance(path, str | bytes | os.PathLike):
                text = os.fsdecode(path)
                if os.sep in text and not os.path.abspath(text).startswith(self.inside):
                    self.elsewhere.append(f"{event} {text}")


AUDITOR = _Auditor()


@dataclass
class Surface:
    """Loader under test, which gets damaged files in ``folder``.

    ``load`` returns if it accepts the input, and raises one of ``errors`` with a sentence if not.
    It writes nothing outside of ``folder``.
    """

    folder: Path
    errors: tuple[type[Exception], ...]
    taken: int = 0
    refused: int = 0
    _beside: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.folder.mkdir(exist_ok=True)
        self._beside = set(os.listdir(self.folder.parent))

    def give(self, load: Callable[[], object]) -> None:
        """Load one input; AssertionError for any outcome that is not allowed."""
        with AUDITOR.watching(self.folder) as elsewhere:
            try:
                load()
            except self.errors as error:
                self.refused += 1
                longest = max(str(error).splitlines(), key=len, default="")
                assert 0 < len(longest) < LONGEST_LINE, f"no sentence: {longest[:300]!r}"
            else:
                self.taken += 1
        assert not elsewhere, f"written outside of the folder: {elsewhere}"
        assert set(os.listdir(self.folder.parent)) == self._beside

    def fuzz(self, strategy: Any, body: Callable[[Any], None]) -> None:
        """Load all inputs of a strategy; the loader must accept some and refuse others."""
        # Hypothesis tries constants of loaded modules, which depend on the tests before this one.
        providers.CONSTANTS_CACHE.cache.clear()
        with mock.patch.object(providers, "_get_local_constants", providers.Constants):
            every_input(given(strategy)(body))()
        providers.CONSTANTS_CACHE.cache.clear()
        print(f"{self.taken} inputs were taken and {self.refused} refused")
        assert self.taken + self.refused >= INPUTS
        assert self.taken and self.refused
