"""Log of a run: one JSON line a step in ``metrics.jsonl``, and the reason of a failure.

A ``start`` line has the number of workers, their first step and the reason. A ``warning`` line has
a problem. A ``rung`` line has the held-out loss with which the run waits for others of its cell.

Only rank 0 writes. A run that continues from a checkpoint first removes the lines of the steps that
it repeats. So the file reads as one undisturbed run with its starts marked.
"""

import contextlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from datasets.files import write_whole

LOG_NAME = "metrics.jsonl"
FAILURE_NAME = "failure.json"
PRUNED_NAME = "pruned.json"
STAYING = ("start", "warning")
"""Kinds of lines that stay when a run returns to a checkpoint."""


@dataclass(frozen=True)
class RunHistory:
    """Lines of a log by kind, oldest first."""

    steps: list[dict[str, Any]] = field(default_factory=list)
    validations: list[dict[str, Any]] = field(default_factory=list)
    starts: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[dict[str, Any]] = field(default_factory=list)
    rungs: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Return the log in a run folder; empty if there is none."""
        history = cls()
        for line in _lines(folder / LOG_NAME):
            history.add(line)
        return history

    def add(self, line: dict[str, Any]) -> None:
        """Append one line of the log to those of its kind."""
        lines: list[dict[str, Any]] = getattr(self, f"{line['kind']}s")
        lines.append({name: line[name] for name in line if name != "kind"})


class RunLog:
    """Appender to the log of one run from ``step`` on.

    ``reached`` is the newest step that an earlier start wrote, None without one. ``began`` is the
    time of the first start (seconds since 1970). ``history`` has all lines of the log. Lines that
    the storage refuses wait for the next one: a full disk does not stop a run.
    """

    def __init__(self, folder: Path, step: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / LOG_NAME
        lines = list(_lines(path))
        steps = [line for line in lines if line["kind"] == "step"]
        self.reached = steps[-1] if steps else None
        self.began: float = next((it["time"] for it in lines if it["kind"] == "start"), time.time())
        kept = [line for line in lines if line["kind"] in STAYING or line["step"] <= step]
        write_whole(path, "".join(json.dumps(line) + "\n" for line in kept))
        self.history = RunHistory()
        for line in kept:
            self.history.add(line)
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND)
        self._waiting = b""

    def write(self, kind: str, **values: Any) -> None:
        """Append one line with its time, now or with a later line if the storage refuses it."""
        line = {"kind": kind, "time": time.time(), **values}
        self.history.add(line)
        self._waiting += json.dumps(line).encode() + b"\n"
        with contextlib.suppress(OSError):
            self.flush()

    def flush(self) -> None:
        """Write the waiting lines; OSError if the storage refuses them."""
        while self._waiting:
            self._waiting = self._waiting[os.write(self._file, self._waiting) :]


def note_failure(folder: Path, problem: str, *, diverged: bool) -> None:
    """Write the reason of a failure into the run folder; ``diverged`` if the loss was NaN."""
    content = {"problem": problem, "diverged": diverged}
    write_whole(folder / FAILURE_NAME, json.dumps(content) + "\n")


def read_failure(folder: Path) -> str | None:
    """Return the reason why the run in ``folder`` failed, or None."""
    path = folder / FAILURE_NAME
    return str(json.loads(path.read_text())["problem"]) if path.exists() else None


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    if not path.exists():
        return
    with path.open() as file:
        for line in file:
            # A killed writer leaves an unfinished last line. A live one may finish that line now:
            # reading on would return its rest.
            if not line.endswith("\n"):
                return
            yield json.loads(line)
