"""Lease of a run: only the driver that has it writes to the run's folder.

The driver renews its lease. Another driver takes it over if its holder's process has ended, or if
it is not renewed for ``PATIENCE_SECONDS`` by the other driver's clock.
"""

import contextlib
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil

from datasets.files import write_whole
from scaling.common.polling import polling_every

FILE_NAME = "lease.json"
RENEW_SECONDS = 5.0
PATIENCE_SECONDS = 20.0


class LeaseError(RuntimeError):
    """A run that another process trains."""


@contextmanager
def hold_lease(run_folder: Path) -> Iterator[None]:
    """Keep the run's lease while the block runs; LeaseError if another driver has it."""
    path = run_folder / FILE_NAME
    _await(path)
    holder = {
        "holder": uuid4().hex,
        "host": socket.gethostname(),
        "process": os.getpid(),
        "process_started": psutil.Process().create_time(),
    }
    _write(path, holder, 0)
    if (found := _read(path)) and found["holder"] != holder["holder"]:
        raise _taken(run_folder, found)
    renewals = count(1)
    try:
        with polling_every(lambda: _renew(path, holder, next(renewals)), RENEW_SECONDS):
            yield
    finally:
        if (found := _read(path)) and found["holder"] == holder["holder"]:
            path.unlink(missing_ok=True)


def _await(path: Path) -> None:
    """Wait until the lease is free: gone, not renewed any more, or its holder dead."""
    began, first = time.monotonic(), _read(path)
    while (found := _read(path)) is not None and not _dead(found):
        if found != first:
            raise _taken(path.parent, found)
        if time.monotonic() - began > PATIENCE_SECONDS:
            return
        time.sleep(RENEW_SECONDS / 10)


def _dead(lease: dict[str, Any]) -> bool:
    """Return whether the holder was a process of this machine that has ended."""
    if lease["host"] != socket.gethostname():
        return False
    try:
        process = psutil.Process(lease["process"])
        if process.status() == psutil.STATUS_ZOMBIE:
            return True
        return bool(process.create_time() != lease["process_started"])
    except psutil.Error:
        return True


def _renew(path: Path, holder: dict[str, Any], renewals: int) -> None:
    # If the storage fails, the writer of checkpoints reports it.
    with contextlib.suppress(OSError):
        found = _read(path)
        if found is None or found["holder"] == holder["holder"]:
            _write(path, holder, renewals)


def _write(path: Path, holder: dict[str, Any], renewals: int) -> None:
    write_whole(path, json.dumps({**holder, "renewals": renewals}) + "\n")


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return None
    return found


def _taken(run_folder: Path, lease: dict[str, Any]) -> LeaseError:
    return LeaseError(
        f"{run_folder} is being trained by process {lease['process']} on {lease['host']}: wait "
        "until it ends, or stop it and run the command again"
    )
