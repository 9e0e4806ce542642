"""Faults that a run does to itself at a given step, for rehearsals; each strikes once."""

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
    """Do the faults that are due; whether the loss of this step is to be no number."""
    spoiled = False
    for fault in faults:
        if (fault.step, fault.rank) == (step, rank) and _due(fault, run_folder):
            spoiled |= fault.kind == "nan"
            _do(fault, run_folder)
    return spoiled


def _due(fault: Fault, run_folder: Path) -> bool:
    folder = run_folder / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    mark = folder / f"{fault.kind}-{fault.step}-{fault.rank}"
    struck = mark.exists()
    mark.write_text(str(time.time()))
    return not (struck and fault.once)


def _do(fault: Fault, run_folder: Path) -> None:
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
        raise MemoryError(f"out of memory: rank {fault.rank} was told so at step {fault.step}")
    elif fault.kind == "raise":
        raise InjectedError(f"rank {fault.rank} was told to fail at step {fault.step}")


def _damage(checkpoint: Path) -> None:
    path = sorted(checkpoint.glob("*.safetensors"))[-1]
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
