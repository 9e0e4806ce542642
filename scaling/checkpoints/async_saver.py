"""Checkpoints written while the run goes on: copied at the end of a step, put to disk beside it."""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from torch import Tensor

from scaling.checkpoints import engine_state
from scaling.checkpoints.checkpoint import CheckpointError, Writer
from scaling.checkpoints.train_state import TrainState
from scaling.runs.job import WorkerStart

POLL_SECONDS = 0.02
STORAGE_SECONDS = 120
"""How long what a run ends with may wait for a storage that refuses it."""


class AsyncSaver:
    """One rank's checkpoints, at most one on its way to the disk.

    ``sums`` adds up values of all ranks, ``tick`` tells the driver what is being done, and ``warn``
    takes the sentence of a checkpoint that could not be written: the run goes on without it.
    ``best`` are the weights that this rank keeps beside the newest ones, if it keeps any.
    """

    def __init__(
        self,
        run_folder: Path,
        start: WorkerStart,
        rank: int,
        sums: Callable[[list[float]], list[float]],
        tick: Callable[[str], None],
        warn: Callable[[str], None],
    ) -> None:
        self._writer = Writer(run_folder, start.id, rank, start.workers)
        self._rank, self._workers = rank, start.workers
        self._sums, self._tick, self._warn = sums, tick, warn
        self._thread = ThreadPoolExecutor(1)
        self._written: Future[None] | None = None
        self._begun = start.step
        self.best: dict[str, Tensor] | None = None

    def begin(self, engine: Any, place: TrainState) -> None:
        """Begin a checkpoint of ``place``, if it is a new one; every rank must call it.

        The one before is waited for.
        """
        try:
            self.wait_until_written()
        except (OSError, CheckpointError) as error:
            self._warn(f"the checkpoint of step {self._begun} was not written: {error}")
        if place.step > self._begun:
            tensors = engine_state.gather_tensors(
                engine, self._rank, self._workers, lambda: self._tick("copying its state")
            )
            if self.best is not None:
                tensors |= {engine_state.BEST + name: whole for name, whole in self.best.items()}
            self._writer.abandoned.clear()
            self._written = self._thread.submit(self._writer.write, tensors, place)
            self._begun = place.step

    def finish(self, engine: Any, place: TrainState) -> None:
        """Write a checkpoint, again and again for a while where that fails; every rank must."""
        before = self._begun
        for attempt in range(STORAGE_SECONDS):
            self.begin(engine, place)
            try:
                self.wait_until_written()
                return
            except (OSError, CheckpointError):
                # Every rank raises here, or none.
                if attempt + 1 == STORAGE_SECONDS:
                    raise
            self._begun = before
            time.sleep(1)

    @property
    def failed(self) -> bool:
        """Whether this rank could not write its part of the one on its way."""
        written = self._written
        return written is not None and written.done() and written.exception() is not None

    def give_up(self) -> None:
        """Another rank failed: do not wait for its part."""
        self._writer.abandoned.set()

    def wait_until_written(self) -> None:
        """Return when the checkpoint on its way is committed; every rank must call it.

        OSError or CheckpointError where it cannot be written, on every rank.
        """
        if self._written is None:
            return
        waiting, failed = 1.0, 0.0
        while waiting:
            self._tick("writing a checkpoint")
            waiting, failed = self._sums([float(not self._written.done()), float(self.failed)])
            if failed:
                self.give_up()
            time.sleep(POLL_SECONDS)
        written, self._written = self._written, None
        written.result()
        if failed:
            raise CheckpointError("another worker could not write its part")


def retry_storage(work: Callable[[], object], tick: Callable[[], None]) -> None:
    """Do ``work``, again and again for a while where the storage refuses it."""
    for _ in range(STORAGE_SECONDS):
        tick()
        try:
            work()
            return
        except OSError:
            time.sleep(1)
    work()
