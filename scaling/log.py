"""The run's log: one JSON line a step in ``metrics.jsonl``, and why it failed, if it did.

Only rank 0 writes. A run that goes on from a checkpoint first drops the lines of the steps that it
will do again, so that the file always reads as one undisturbed run with its starts marked.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from datasets.files import replacing

LOG_NAME = "metrics.jsonl"
FAILURE_NAME = "failure.json"


@dataclass(frozen=True)
class RunHistory:
    """A log as read: the training steps, the validations and the starts, oldest first."""

    steps: list[dict[str, Any]] = field(default_factory=list)
    validations: list[dict[str, Any]] = field(default_factory=list)
    starts: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def read(cls, folder: Path) -> Self:
        """The log in a run folder; empty where there is none."""
        history = cls()
        kinds = {
            "step": history.steps,
            "validation": history.validations,
            "start": history.starts,
        }
        for line in _lines(folder / LOG_NAME):
            kinds[line.pop("kind")].append(line)
        return history


class RunLog:
    """Appends to the log of one run from ``step`` on."""

    def __init__(self, folder: Path, step: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / LOG_NAME
        kept = [line for line in _lines(path) if line["kind"] == "start" or line["step"] <= step]
        with replacing(path) as partial:
            partial.write_text("".join(json.dumps(line) + "\n" for line in kept))
        self._file = path.open("a")

    def write(self, kind: str, **values: Any) -> None:
        """Append one line; it is on its way to the disk when this returns."""
        self._file.write(json.dumps({"kind": kind, **values}) + "\n")
        self._file.flush()


def note_failure(folder: Path, problem: str) -> None:
    """Leave in the run folder why the run failed."""
    with replacing(folder / FAILURE_NAME) as partial:
        partial.write_text(json.dumps({"problem": problem}) + "\n")


def read_failure(folder: Path) -> str | None:
    """Why the run in ``folder`` failed; None where it did not."""
    path = folder / FAILURE_NAME
    return str(json.loads(path.read_text())["problem"]) if path.exists() else None


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    if not path.exists():
        return
    with path.open() as file:
        for line in file:
            # A killed writer leaves at most a last line without its end.
            if line.endswith("\n"):
                yield json.loads(line)
