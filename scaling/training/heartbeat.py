"""Heartbeats: each worker sends its activity to the driver twice a second.

The driver uses them to distinguish a stuck worker from those that wait for it. Its answer can ask
all workers to stop at the end of a step.
"""

import faulthandler
import os
import statistics
import threading
import time
from collections import deque
from dataclasses import dataclass, replace
from enum import IntEnum
from pathlib import Path
from typing import Any

import ray


class StopReason(IntEnum):
    """Reason to stop at the end of a step. Of several the highest counts."""

    NONE = 0
    TERMINATED = 1
    NODE_DRAINED = 2
    MORE_ROOM = 3
    BUDGET_SPENT = 4


STOP_SENTENCES = {
    StopReason.NONE: "",
    StopReason.TERMINATED: "a worker received SIGTERM",
    StopReason.NODE_DRAINED: "a node is being drained",
    StopReason.MORE_ROOM: "there is room for more workers",
    StopReason.BUDGET_SPENT: "the budget of cluster.max_dollars is spent",
}

BEAT_SECONDS = 0.5
STEPS_REMEMBERED = 20
SLOW = 5
"""A worker counts as stuck after this many times the median seconds of a step."""
START_SECONDS = 600.0
"""Limit of a worker's first step, which includes compilation and the first batch."""
SILENT_BEATS = 10
WAITING = "waiting for the other workers"


@dataclass(frozen=True)
class Heartbeat:
    """A worker's newest activity.

    ``ticks`` counts the activities so far. A worker counts as stuck if it begins no new one within
    ``limit`` seconds.
    """

    rank: int
    process: int
    node: str
    doing: str = "starting"
    step: int = 0
    ticks: int = 0
    limit: float = START_SECONDS


@dataclass(frozen=True)
class WorkerStatus:
    """A worker's newest heartbeat, with the seconds since it came and since its last new tick."""

    beat: Heartbeat
    silent_seconds: float
    idle_seconds: float


class HeartbeatMonitor:
    """Actor on the driver's node that receives the heartbeats."""

    def __init__(self) -> None:
        self._beats: dict[int, tuple[Heartbeat, float, float]] = {}
        self._requested = StopReason.NONE

    def beat(self, beat: Heartbeat) -> StopReason:
        """Store a heartbeat. Return the reason for which the workers are asked to stop."""
        now = time.monotonic()
        before = self._beats.get(beat.rank)
        progress = now if before is None or before[0].ticks != beat.ticks else before[2]
        self._beats[beat.rank] = (beat, now, progress)
        return self._requested

    def seen(self) -> list[WorkerStatus]:
        """Return the status of every worker that has sent a heartbeat."""
        now = time.monotonic()
        return [
            WorkerStatus(beat, now - received, now - progress)
            for beat, received, progress in self._beats.values()
        ]

    def ask(self, reason: StopReason) -> None:
        """Ask the workers to stop at the end of their step."""
        self._requested = max(self._requested, reason)


class HeartbeatSender:
    """A worker's thread that sends its heartbeats.

    If the worker begins no new activity for too long, Python writes the stacks of its threads to
    ``stacks``. That works even while a thread blocks Python's global lock.
    """

    def __init__(self, monitor: Any, rank: int, hang_seconds: float, stacks: Path) -> None:
        self._monitor = monitor
        self._least = hang_seconds
        self._seconds: deque[float] = deque(maxlen=STEPS_REMEMBERED)
        self._beat = Heartbeat(rank, os.getpid(), ray.get_runtime_context().get_node_id())
        stacks.parent.mkdir(parents=True, exist_ok=True)
        self._stacks = stacks.open("w")
        self._over = threading.Event()
        self.requested = StopReason.NONE
        self._thread = threading.Thread(target=self._send, daemon=True)
        self._thread.start()

    def tick(self, doing: str) -> None:
        """Note that the worker begins an activity."""
        beat = self._beat
        self._beat = replace(beat, doing=doing, ticks=beat.ticks + 1)
        faulthandler.dump_traceback_later(beat.limit, file=self._stacks)

    def note_step(self, step: int, seconds: float) -> None:
        """Note the end of a step and its duration."""
        self._seconds.append(seconds)
        limit = max(self._least, SLOW * statistics.median(self._seconds))
        self._beat = replace(self._beat, step=step, limit=limit)

    def close(self) -> None:
        """End the thread."""
        faulthandler.cancel_dump_traceback_later()
        self._over.set()
        self._thread.join()
        self._stacks.close()

    def _send(self) -> None:
        while not self._over.is_set():
            try:
                self.requested = ray.get(self._monitor.beat.remote(self._beat), timeout=10)
            except (ray.exceptions.RayError, TimeoutError):
                # The monitor ends with the driver, whose workers Ray ends.
                pass
            self._over.wait(BEAT_SECONDS)


def stuck_workers(statuses: list[WorkerStatus]) -> list[WorkerStatus]:
    """Return the workers that delay the others; none while there is progress.

    A worker that waits for others is not to blame, unless it is silent or all of them wait.
    """
    late = [status for status in statuses if status.idle_seconds > status.beat.limit]
    to_blame = [status for status in late if status.beat.doing != WAITING or _is_silent(status)]
    return to_blame or late


def stuck_sentence(stuck: list[WorkerStatus]) -> str:
    """Return the stuck workers and their activities as text."""
    return "; ".join(
        f"worker {status.beat.rank} (process {status.beat.process}) was "
        + ("silent" if _is_silent(status) else f"stuck {status.beat.doing}")
        + f" for {status.idle_seconds:.0f} s after step {status.beat.step}"
        for status in stuck
    )


def _is_silent(status: WorkerStatus) -> bool:
    return status.silent_seconds > SILENT_BEATS * BEAT_SECONDS
