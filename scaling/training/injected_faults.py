"""Faults that a run injects into itself at a given step, for rehearsals."""

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from scaling.checkpoints import checkpoint as checkpoints
from scaling.runs.job import Fault

FOLDER = "faults"

PAUSE_SECONDS = 0.5


class InjectedError(RuntimeError):
    """The error of a fault of kind ``raise``."""


def inject_due_faults(faults: Sequence[Fault], run_folder: Path, step: int, rank: int) -> bool:
    """Inject the faults that are due. Return whether the loss of this step becomes NaN."""
    is_spoiled = False
    for fault in faults:
        if (fault.step, fault.rank) == (step, rank) and _due(fault, run_folder):
            is_spoiled |= fault.kind == "nan"
            _inject(fault, run_folder)
    return is_spoiled


def _due(fault: Fault, run_folder: Path) -> bool:
    folder = run_folder / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    mark = folder / f"{fault.kind}-{fault.step}-{fault.rank}"
    struck = mark.exists()
    mark.write_text(str(time.time()))
    return not (struck and fault.once)


def _inject(fault: Fault, run_folder: Path) -> None:
    if fault.kind == "damage":
        _damage(checkpoints.committed(run_folder)[0])
        os.kill(os.getpid(), signal.SIGKILL)
    signals = {"kill": signal.SIGKILL, "terminate": signal.SIGTERM, "freeze": signal.SIGSTOP}
    if fault.kind in signals:
        os.kill(os.getpid(), signals[fault.kind])
    elif fault.kind == "stall":
        while True:
            time.sleep(1)
    elif fault.kind == "pause":
        time.sleep(PAUSE_SECONDS)
    elif fault.kind == "memory":
        raise MemoryError(f"out of memory: injected into rank {fault.rank} at step {fault.step}")
    elif fault.kind == "raise":
        raise InjectedError(f"error injected into rank {fault.rank} at step {fault.step}")


def _damage(checkpoint: Path) -> None:
    path = sorted(checkpoint.glob("*.safetensors"))[-1]
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
