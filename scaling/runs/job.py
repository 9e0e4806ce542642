"""What a worker is told about the run that it is part of, and about this start of its workers."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypedDict

from datasets.storage import Folder
from scaling.config.run_config import RunConfig
from scaling.runs.cost_cap import CostCap

FaultKind = Literal[
    "kill", "terminate", "freeze", "stall", "pause", "raise", "memory", "nan", "damage"
]


@dataclass(frozen=True)
class Fault:
    """What happens to one rank before its step ``step`` (from 1).

    ``kill``, ``terminate`` and ``freeze`` are the signals SIGKILL, SIGTERM and SIGSTOP; a ``stall``
    never comes back, with the process alive; a ``pause`` lasts half a second; ``raise`` is an
    exception, ``memory`` that of an allocation that was refused; ``nan`` makes the loss no number;
    ``damage`` changes a bit of the newest checkpoint and kills the process. A fault strikes
    ``once``, or at each attempt.
    """

    kind: FaultKind
    step: int
    rank: int = 0
    once: bool = True


@dataclass(frozen=True)
class Job:
    """The run, what its sweep varied, and where things are (absolute paths).

    ``faults`` are done to the run on purpose, in a rehearsal. The run waits, in a checkpoint, where
    it has come to the share ``until`` of its schedule; None trains it to its end. ``cap`` is what
    the command that trains it may cost.
    """

    config: RunConfig
    axes: dict[str, Any]
    corpus_folder: Folder
    run_folder: Path
    code_version: str
    faults: tuple[Fault, ...] = ()
    until: float | None = None
    cap: CostCap | None = None


@dataclass(frozen=True)
class WorkerStart:
    """One start of a run's workers: how many, from where, and why it is needed.

    ``id`` is the start's own. Each worker takes its share of a batch in ``pieces``. ``step`` and
    ``checkpoint`` (a committed checkpoint's folder) are where it begins; None at step 0. ``why``
    says what ended the start before, if there was one, and ``warnings`` what was found on the way.
    ``suspect`` is the step whose loss was no number then.
    """

    id: str
    workers: int
    pieces: int
    step: int = 0
    checkpoint: Path | None = None
    why: str | None = None
    warnings: tuple[str, ...] = ()
    suspect: int | None = None


class StartOutcome(TypedDict):
    """How a start of the workers ended, where none failed: at the run's end, a rung, or why not.

    ``step`` is the one whose loss was no number.
    """

    kind: Literal["ended", "waiting", "stopped", "no number"]
    why: str
    step: int
