"""Stuck workers, as opposed to those that wait for them."""

import pytest

from scaling.training.heartbeat import (
    START_SECONDS,
    WAITING,
    Heartbeat,
    HeartbeatMonitor,
    StopReason,
    WorkerStatus,
    stuck_sentence,
    stuck_workers,
)


def seen(rank, doing, idle, silent=0.1, limit=20.0):
    beat = Heartbeat(rank, 100 + rank, "node", doing=doing, step=7, ticks=30, limit=limit)
    return WorkerStatus(beat, silent_seconds=silent, idle_seconds=idle)


def test_nobody_is_stuck_within_the_limit():
    assert stuck_workers([]) == []
    assert stuck_workers([seen(0, WAITING, 19), seen(1, "computing", 19)]) == []
    assert stuck_workers([seen(0, "starting", 500, limit=START_SECONDS)]) == []


@pytest.mark.fault(
    "Processes",
    "a worker is stuck before a collective, with its process alive",
    "the stuck worker is named and killed",
)
def test_the_worker_that_does_not_wait_is_named():
    found = stuck_workers([seen(0, WAITING, 25), seen(1, "computing", 25), seen(2, WAITING, 25)])
    assert [one.beat.rank for one in found] == [1]
    assert (
        stuck_sentence(found) == "worker 1 (process 101) was stuck computing for 25 s after step 7"
    )


@pytest.mark.fault(
    "Processes",
    "a worker blocks Python's lock, so that it sends no heartbeat",
    "it is named as silent and killed",
)
def test_a_silent_worker_is_named_for_any_last_activity():
    found = stuck_workers([seen(0, WAITING, 25), seen(1, WAITING, 25, silent=24)])
    assert stuck_sentence(found) == "worker 1 (process 101) was silent for 25 s after step 7"


@pytest.mark.fault("Processes", "all workers wait for each other", "all are named and killed")
def test_all_workers_are_named_if_all_wait():
    found = stuck_workers([seen(0, WAITING, 25), seen(1, WAITING, 26)])
    assert [one.beat.rank for one in found] == [0, 1]


def test_the_watch_counts_the_time_since_progress_and_not_since_the_beat(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("scaling.training.heartbeat.time.monotonic", lambda: now[0])
    monitor = HeartbeatMonitor()
    for ticks, moment in ((1, 100.0), (2, 103.0), (2, 110.0)):
        now[0] = moment
        assert monitor.beat(Heartbeat(0, 1, "node", ticks=ticks)) == StopReason.NONE
    now[0] = 111.0
    (one,) = monitor.seen()
    assert (one.silent_seconds, one.idle_seconds) == (1.0, 8.0)
    monitor.ask(StopReason.BUDGET_SPENT)
    monitor.ask(StopReason.MORE_ROOM)
    assert monitor.beat(Heartbeat(0, 1, "node", ticks=3)) == StopReason.BUDGET_SPENT
