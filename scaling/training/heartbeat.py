"""Signs of life: what every worker of a run does, told to its driver twice a second.

The driver can so tell the worker that is stuck from those that wait for it, and ask all of them to
stop at the end of a step.
"""

import faulthandler
import os
import statistics
import threading
import time
from collections import deque
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray

NONE, ENDING, DRAINING, ROOM, SPENT = range(5)
SENTENCES = (
    "",
    "a worker was told to end (SIGTERM)",
    "a node is being taken away",
    "there is room for more workers",
    "what cluster.max_dollars allows is spent",
)
"""What each number means; where several are given, the highest counts."""


BEAT_SECONDS = 0.5
STEPS_REMEMBERED = 20
SLOW = 5
"""So many median steps without progress are too many."""
START_SECONDS = 600.0
"""The most that a worker may take for its first step: compilation, the first batch."""
SILENT_BEATS = 10
WAITING = "waiting for the other workers"


@dataclass(frozen=True)
class Heartbeat:
    """What a worker does: ``ticks`` grows with each thing it begins, ``doing`` is the newest.

    ``limit`` are the seconds after which a worker that begins nothing new counts as stuck.
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
    """A worker's newest beat, and the seconds since it came and since it told of progress."""

    beat: Heartbeat
    silent_seconds: float
    idle_seconds: float


class HeartbeatMonitor:
    """The driver's end, an actor on its node: the newest beats, and what the workers are asked."""

    def __init__(self) -> None:
        self._beats: dict[int, tuple[Heartbeat, float, float]] = {}
        self._asked = NONE

    def beat(self, beat: Heartbeat) -> int:
        """Take a beat; why the workers are asked to stop, by number."""
        now = time.monotonic()
        before = self._beats.get(beat.rank)
        progress = now if before is None or before[0].ticks != beat.ticks else before[2]
        self._beats[beat.rank] = (beat, now, progress)
        return self._asked

    def seen(self) -> list[WorkerStatus]:
        """All workers that were ever seen."""
        now = time.monotonic()
        return [
            WorkerStatus(beat, now - came, now - told) for beat, came, told in self._beats.values()
        ]

    def ask(self, why: int) -> None:
        """Ask the workers to stop at the end of their step, for this reason or a graver one."""
        self._asked = max(self._asked, why)


class HeartbeatSender:
    """A worker's end: a thread that sends its beats.

    Where the worker begins nothing new for too long, the stacks of its threads are written to
    ``stacks``, even while one of them holds Python's lock.
    """

    def __init__(self, watch: Any, rank: int, hang_seconds: float, stacks: Path) -> None:
        self._watch = watch
        self._least = hang_seconds
        self._seconds: deque[float] = deque(maxlen=STEPS_REMEMBERED)
        self._beat = Heartbeat(rank, os.getpid(), ray.get_runtime_context().get_node_id())
        stacks.parent.mkdir(parents=True, exist_ok=True)
        self._stacks = stacks.open("w")
        self._over = threading.Event()
        self.asked = NONE
        self._thread = threading.Thread(target=self._send, daemon=True)
        self._thread.start()

    def tick(self, doing: str) -> None:
        """Say what the worker begins to do."""
        beat = self._beat
        self._beat = replace(beat, doing=doing, ticks=beat.ticks + 1)
        faulthandler.dump_traceback_later(beat.limit, file=self._stacks)

    def stepped(self, step: int, seconds: float) -> None:
        """Say that a step is done, and what it took."""
        self._seconds.append(seconds)
        limit = max(self._least, SLOW * statistics.median(self._seconds))
        self._beat = replace(self._beat, step=step, limit=limit)

    def close(self) -> None:
        """Send no more."""
        faulthandler.cancel_dump_traceback_later()
        self._over.set()
        self._thread.join()
        self._stacks.close()

    def _send(self) -> None:
        while not self._over.is_set():
            try:
                self.asked = ray.get(self._watch.beat.remote(self._beat), timeout=10)
            except (ray.exceptions.RayError, TimeoutError):
                # The driver's end is gone with the driver, whose workers Ray ends.
                pass
            self._over.wait(BEAT_SECONDS)


def stuck_workers(seen: list[WorkerStatus]) -> list[WorkerStatus]:
    """The workers that hold the others up; none while there is progress.

    Those that wait for others are not to blame, unless they are silent or all of them wait.
    """
    late = [one for one in seen if one.idle_seconds > one.beat.limit]
    to_blame = [one for one in late if one.beat.doing != WAITING or _silent(one)]
    return to_blame or late


def stuck_sentence(found: list[WorkerStatus]) -> str:
    """Who is stuck, and in what."""
    return "; ".join(
        f"worker {one.beat.rank} (process {one.beat.process}) was "
        + ("silent" if _silent(one) else f"stuck {one.beat.doing}")
        + f" for {one.idle_seconds:.0f} s after step {one.beat.step}"
        for one in found
    )


def _silent(one: WorkerStatus) -> bool:
    return one.silent_seconds > SILENT_BEATS * BEAT_SECONDS
