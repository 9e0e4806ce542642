import dataclasses
import io
import json

import pytest
from rich.console import Console

from scaling.benchmarks import worker_bench
from scaling.benchmarks.worker_bench import RESUMED, Case, StageCounts, combine_workers


def found(seconds, given, saved):
    return {
        "parameters": 10,
        "given": given,
        "held": 70,
        "held_reducing": 110,
        "saved": saved,
        "save_seconds": seconds,
    }


def test_the_slowest_worker_of_each_save_counts_and_the_first_workers_bytes():
    given = {"all_reduced": 40, "gathered": 8, "broadcast_": 3}
    workers = [found([1.0, 5.0], given, 70), found([2.0, 4.0], {"all_reduced": 1}, 30)]
    counted = combine_workers(Case(1, "float32"), workers)
    assert isinstance(counted, StageCounts)
    assert dataclasses.asdict(counted.volume) == {
        "all_reduced": 40.0,
        "scattered": 0.0,
        "gathered": 8.0,
    }
    assert counted.other == 3
    assert counted.saved == [70, 30]
    assert (counted.save_seconds.lowest, counted.save_seconds.highest) == (2.0, 5.0)


@pytest.mark.slow
def test_everything_is_measured_shown_and_kept(monkeypatch):
    monkeypatch.setattr(worker_bench, "WORKERS", 2)
    monkeypatch.setattr(worker_bench, "CASES", (RESUMED,))
    monkeypatch.setattr(worker_bench, "SAVES", 2)
    monkeypatch.setattr(worker_bench, "RESTARTS", 1)
    done = []
    bench = worker_bench.measure(lambda *progress: done.append(progress))
    assert done == [(1, 2), (2, 2)]
    (counted,) = bench.counted
    assert bench.restart.read == sum(counted.saved) > max(counted.saved) > 0
    assert 0 < bench.restart.read_seconds.median < bench.restart.seconds.median
    text = io.StringIO()
    Console(file=text, width=200).print(bench.table())
    assert "2 worker processes" in text.getvalue() and "float32" in text.getvalue()
    content = json.loads(json.dumps(dataclasses.asdict(bench)))
    assert content["counted"][0]["volume"]["all_reduced"] == counted.volume.all_reduced
