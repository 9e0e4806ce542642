"""Description of a run, and of one start of its workers, that each worker receives."""

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
    """Fault that is injected into one rank before its step ``step`` (from 1).

    ``kill``, ``terminate`` and ``freeze`` send SIGKILL, SIGTERM and SIGSTOP. ``stall`` blocks for
    ever, ``pause`` for half a second. ``raise`` raises an error, ``memory`` an out-of-memory error.
    ``nan`` makes the loss NaN. ``damage`` changes a bit of the newest checkpoint and kills the
    process. A fault happens ``once``, or at each start.
    """

    kind: FaultKind
    step: int
    rank: int = 0
    once: bool = True


@dataclass(frozen=True)
class Job:
    """A run to train, with absolute folders and the values that its sweep varies, by dotted key.

    At the share ``until`` of the schedule it waits in a checkpoint; None trains to its end.
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
    """One start of a run's workers, from the committed ``checkpoint`` of ``step``; None at step 0.

    Attributes:
        id: id of this start.
        micro_batches: number of micro-batches into which each worker divides its share of a batch.
        step: step from which it continues.
        checkpoint: folder of the committed checkpoint of that step; None at step 0.
        why: reason why the previous start ended.
        warnings: sentences about problems since then.
        suspect: step whose loss was NaN or infinite in the previous start.
    """

    id: str
    workers: int
    micro_batches: int
    step: int = 0
    checkpoint: Path | None = None
    why: str | None = None
    warnings: tuple[str, ...] = ()
    suspect: int | None = None


class StartOutcome(TypedDict):
    """End of a start in which no worker failed: at the run's end, at a rung, or early.

    ``step`` is the step whose loss was NaN or infinite.
    """

    kind: Literal["ended", "waiting", "stopped", "no number"]
    why: str
    step: int
