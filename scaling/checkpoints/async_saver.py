"""Checkpoints that are copied at the end of a step and written while the next steps run."""

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
"""Longest wait of a run's last files for a storage that refuses them."""


class AsyncSaver:
    """Background writer of one rank's checkpoints, one at a time.

    Args:
        run_folder: folder of the run.
        start: the start of the workers.
        rank: of this worker.
        all_reduce_sum: sums values over all ranks.
        tick: notes an activity in the heartbeat.
        warn: logs the sentence of a checkpoint that could not be written; the run continues.

    ``best`` are the weights of the lowest held-out loss, if this rank saves them too.
    """

    def __init__(
        self,
        run_folder: Path,
        start: WorkerStart,
        rank: int,
        all_reduce_sum: Callable[[list[float]], list[float]],
        tick: Callable[[str], None],
        warn: Callable[[str], None],
    ) -> None:
        self._writer = Writer(run_folder, start.id, rank, start.workers)
        self._rank, self._workers = rank, start.workers
        self._all_reduce_sum, self._tick, self._warn = all_reduce_sum, tick, warn
        self._thread = ThreadPoolExecutor(1)
        self._written: Future[None] | None = None
        self._begun = start.step
        self.best: dict[str, Tensor] | None = None

    def begin(self, engine: Any, state: TrainState) -> None:
        """Begin a checkpoint, unless the step has one. Every rank must call this.

        It waits for the checkpoint before.
        """
        try:
            self.wait_until_written()
        except (OSError, CheckpointError) as error:
            self._warn(f"the checkpoint of step {self._begun} was not written: {error}")
        if state.step > self._begun:
            tensors = engine_state.gather_tensors(
                engine, self._rank, self._workers, lambda: self._tick("copying its state")
            )
            if self.best is not None:
                tensors |= {engine_state.BEST + name: whole for name, whole in self.best.items()}
            self._writer.abandoned.clear()
            self._written = self._thread.submit(self._writer.write, tensors, state)
            self._begun = state.step

    def finish(self, engine: Any, state: TrainState) -> None:
        """Write a checkpoint, with retries while the storage refuses. Every rank must call this."""
        before = self._begun
        for attempt in range(STORAGE_SECONDS):
            self.begin(engine, state)
            try:
                self.wait_until_written()
                return
            except (OSError, CheckpointError):
                # Either every rank raises here or none.
                if attempt + 1 == STORAGE_SECONDS:
                    raise
            self._begun = before
            time.sleep(1)

    @property
    def failed(self) -> bool:
        """Return whether this rank failed to write its part of the current checkpoint."""
        written = self._written
        return written is not None and written.done() and written.exception() is not None

    def give_up(self) -> None:
        """Abandon the current checkpoint, since another rank failed to write its part."""
        self._writer.abandoned.set()

    def wait_until_written(self) -> None:
        """Wait until the current checkpoint is committed. Every rank must call this.

        Raises:
            OSError, CheckpointError: on every rank, if it cannot be written.
        """
        if self._written is None:
            return
        waiting, failed = 1.0, 0.0
        while waiting:
            self._tick("writing a checkpoint")
            waiting, failed = self._all_reduce_sum(
                [float(not self._written.done()), float(self.failed)]
            )
            if failed:
                self.give_up()
            time.sleep(POLL_SECONDS)
        written, self._written = self._written, None
        written.result()
        if failed:
            raise CheckpointError("another worker could not write its part")


def retry_storage(work: Callable[[], object], tick: Callable[[], None]) -> None:
    """Do ``work``, with retries while the storage refuses it."""
    for _ in range(STORAGE_SECONDS):
        tick()
        try:
            work()
            return
        except OSError:
            time.sleep(1)
    work()
