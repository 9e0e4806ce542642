"""Supervision of one start: end stuck workers, request more room, watch the cost."""

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
from scaling.training.heartbeat import HeartbeatMonitor, StopReason, WorkerStatus

LOOK_SECONDS = 0.5
CAP_SECONDS = 10.0


class Supervision:
    """Supervision of one start, in threads of the driver.

    Workers send their heartbeats to the actor ``monitor``. ``blame`` names the stuck worker, if
    there was one.
    """

    def __init__(self, job: Job, start: WorkerStart) -> None:
        self._job, self._start = job, start
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        self.monitor: Any = (
            ray.remote(num_cpus=0)(HeartbeatMonitor).options(scheduling_strategy=here).remote()
        )
        self.blame: str | None = None
        self._over = threading.Event()

    @contextmanager
    def supervised(self) -> Iterator[None]:
        """Supervise while the block runs."""
        thread = threading.Thread(target=self._watch, daemon=True)
        thread.start()
        try:
            cap = self._job.cap
            with (
                polling_every(partial(self._check_cost, cap), CAP_SECONDS) if cap else nullcontext()
            ):
                yield
        finally:
            self._over.set()
            thread.join()
            ray.kill(self.monitor)

    def _watch(self) -> None:
        request: PlacementGroup | None = None
        try:
            while not self._over.wait(LOOK_SECONDS):
                with contextlib.suppress(RayError, TimeoutError):
                    statuses = ray.get(self.monitor.seen.remote(), timeout=10)
                    if stuck := heartbeat.stuck_workers(statuses):
                        self.blame = heartbeat.stuck_sentence(stuck)
                        _kill_workers(stuck)
                    if request is None and self._all_step(statuses):
                        request = self._request_more_room()
                    if request is not None and request.wait(0):
                        ray.get(self.monitor.ask.remote(StopReason.MORE_ROOM), timeout=10)
        finally:
            if request is not None:
                remove_placement_group(request)

    def _check_cost(self, cap: CostCap) -> None:
        """Ask the workers to stop with a checkpoint if the budget is spent."""
        # A storage that refuses for a while is handled where checkpoints are written.
        with contextlib.suppress(RayError, TimeoutError, OSError):
            if cap.reached(self._job.run_folder.parent):
                ray.get(self.monitor.ask.remote(StopReason.BUDGET_SPENT), timeout=10)

    def _all_step(self, statuses: list[WorkerStatus]) -> bool:
        """Return whether all workers train. Earlier, a request could take the room of one."""
        return len(statuses) == self._start.workers and all(s.beat.step for s in statuses)

    def _request_more_room(self) -> PlacementGroup | None:
        """Request the room that the next larger number of workers lacks.

        While the request waits, Ray's autoscaler starts nodes for it.
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


def _kill_workers(stuck: list[WorkerStatus]) -> None:
    """Kill the processes of these workers, on their nodes."""
    for status in stuck:
        there = NodeAffinitySchedulingStrategy(status.beat.node, soft=False)
        kill = _kill.options(scheduling_strategy=there)
        with contextlib.suppress(RayError, TimeoutError):
            ray.get(kill.remote(status.beat.process), timeout=10)


@ray.remote(num_cpus=0)
def _kill(process: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)
