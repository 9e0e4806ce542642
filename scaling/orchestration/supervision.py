"""What the driver does while workers train: ends the stuck, asks for more, minds the cost."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.placement_group import PlacementGroup, remove_placement_group
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from scaling.common.polling import polling_every
from scaling.orchestration import worker_count
from scaling.runs.cost_cap import CostCap
from scaling.runs.job import Job, WorkerStart
from scaling.training import heartbeat
from scaling.training.heartbeat import HeartbeatMonitor, WorkerStatus

LOOK_SECONDS = 0.5
CAP_SECONDS = 10.0


class Supervision:
    """One start's watch: ``handle`` is what workers send their beats to.

    ``blame`` says which worker was stuck, once one was.
    """

    def __init__(self, job: Job, start: WorkerStart) -> None:
        self._job, self._start = job, start
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        self.handle: Any = (
            ray.remote(num_cpus=0)(HeartbeatMonitor).options(scheduling_strategy=here).remote()
        )
        self.blame: str | None = None
        self._over = threading.Event()

    @contextmanager
    def supervised(self) -> Iterator[None]:
        """Supervise while the block runs."""
        thread = threading.Thread(target=self._look, daemon=True)
        thread.start()
        try:
            cap = self._job.cap
            with polling_every(partial(self._mind, cap), CAP_SECONDS) if cap else nullcontext():
                yield
        finally:
            self._over.set()
            thread.join()
            ray.kill(self.handle)

    def _look(self) -> None:
        request: PlacementGroup | None = None
        try:
            while not self._over.wait(LOOK_SECONDS):
                with contextlib.suppress(RayError, TimeoutError):
                    seen = ray.get(self.handle.seen.remote(), timeout=10)
                    if found := heartbeat.stuck_workers(seen):
                        self.blame = heartbeat.stuck_sentence(found)
                        _end(found)
                    if request is None and self._all_step(seen):
                        request = self._more_room()
                    if request is not None and request.wait(0):
                        ray.get(self.handle.ask.remote(heartbeat.ROOM), timeout=10)
        finally:
            if request is not None:
                remove_placement_group(request)

    def _mind(self, cap: CostCap) -> None:
        """Ask the workers to stop in a checkpoint where the call has cost as much as it may."""
        # A storage that is away for a while is met where checkpoints are written.
        with contextlib.suppress(RayError, TimeoutError, OSError):
            if cap.reached(self._job.run_folder.parent):
                ray.get(self.handle.ask.remote(heartbeat.SPENT), timeout=10)

    def _all_step(self, seen: list[WorkerStatus]) -> bool:
        """Whether all workers are at work: before, room for more could be taken from them."""
        return len(seen) == self._start.workers and all(one.beat.step for one in seen)

    def _more_room(self) -> PlacementGroup | None:
        """A request for the room that is missing to the next larger number of workers.

        While it waits, it is also what Ray's autoscaler buys nodes for.
        """
        config = self._job.config
        larger = [
            size
            for size in worker_count.allowed_worker_counts(config)
            if size > self._start.workers
        ]
        if not larger:
            return None
        return worker_count.placement_request(config.cluster, larger[-1] - self._start.workers)


def _end(found: list[WorkerStatus]) -> None:
    """End these workers' processes, on their nodes, whatever they do."""
    for one in found:
        there = NodeAffinitySchedulingStrategy(one.beat.node, soft=False)
        with contextlib.suppress(RayError, TimeoutError):
            ray.get(_kill.options(scheduling_strategy=there).remote(one.beat.process), timeout=10)


@ray.remote(num_cpus=0)
def _kill(process: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)
