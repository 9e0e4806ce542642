"""Checkpoints written while the run goes on: copied at the end of a step, put to disk beside it."""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from scaling import state
from scaling.checkpoints import CheckpointError, Writer
from scaling.place import Place

POLL_SECONDS = 0.02


class Saver:
    """One rank's checkpoints, at most one on its way to the disk."""

    def __init__(self, run_folder: Path, start: str, rank: int, workers: int) -> None:
        self._writer = Writer(run_folder, start, rank, workers)
        self._rank, self._workers = rank, workers
        self._thread = ThreadPoolExecutor(1)
        self._written: Future[None] | None = None

    def save(self, engine: Any, place: Place, tick: Callable[[], None]) -> None:
        """Begin a checkpoint; every rank must call it after the same step, and have none begun."""
        tensors = state.gathered(engine, self._rank, self._workers, tick)
        self._writer.abandoned.clear()
        self._written = self._thread.submit(self._writer.write, tensors, place)

    @property
    def failed(self) -> bool:
        """Whether this rank could not write its part of the one on its way."""
        written = self._written
        return written is not None and written.done() and written.exception() is not None

    def give_up(self) -> None:
        """Another rank failed: do not wait for its part."""
        self._writer.abandoned.set()

    def settle(self, sums: Callable[[list[float]], list[float]], tick: Callable[[], None]) -> None:
        """Return when the checkpoint on its way is committed; every rank must call it.

        ``sums`` adds up values of all ranks. OSError or CheckpointError where it cannot be written.
        """
        while self._written is not None:
            tick()
            waiting, failed = sums([float(not self._written.done()), float(self.failed)])
            if failed:
                self.give_up()
            if not waiting:
                break
            time.sleep(POLL_SECONDS)
        written, self._written = self._written, None
        if written is not None:
            written.result()
            if failed:
                raise CheckpointError("another worker could not write its part")
