"""Sweeps through the command line: what is done is not done again, what failed is."""

import json

import pytest
import yaml

from scaling import load, sweep
from scaling.record import FILE_NAME
from tests.runs import small_run
from tests.test_cli import scaling


def sweep_file(corpus, storage, path, **section):
    content = small_run(corpus, storage, train__steps=2).resolved()
    path.write_text(yaml.safe_dump({**content, "sweep": section}))
    return path


def test_as_many_runs_train_at_once_as_the_cluster_has_room_for(embedded_corpus, tmp_path):
    path = sweep_file(embedded_corpus, tmp_path, tmp_path / "s.yaml", grid={"seed": [0, 1]})
    two_each = load.sweep(path, ["cluster.workers=2"])
    assert sweep.concurrent(two_each, {"CPU": 7, "GPU": 0}) == 3
    assert sweep.concurrent(two_each, {"CPU": 1, "GPU": 0}) == 1
    assert sweep.concurrent(load.sweep(path, ["sweep.concurrent=2"]), {"CPU": 7, "GPU": 0}) == 2
    with_gpus = load.sweep(path, ["cluster.gpu=true"])
    assert sweep.concurrent(with_gpus, {"CPU": 64, "GPU": 8}) == 8


@pytest.mark.slow
def test_a_second_call_repeats_no_finished_run_and_tries_failed_ones_again(
    embedded_corpus, tmp_path
):
    path = sweep_file(
        embedded_corpus,
        tmp_path,
        tmp_path / "sweep.yaml",
        grid={"train.learning_rate": [1e-3, 1e30]},
    )
    first = scaling("sweep", "--config", path)
    assert first.returncode == 1, first.stdout + first.stderr
    assert "lower train.learning_rate" in first.stdout
    states = json.loads(scaling("status", tmp_path / "small", "--json").stdout)
    assert [state["state"] for state in states] == ["finished", "failed"]
    record = tmp_path / "small" / states[0]["id"] / FILE_NAME
    before = record.stat().st_mtime_ns
    second = scaling("sweep", "--config", path)
    assert second.returncode == 1
    assert "1 of 2 runs have ended, 1 of them before" in second.stdout
    assert record.stat().st_mtime_ns == before
    report = scaling("report", tmp_path / "small")
    assert report.returncode == 0, report.stderr
    assert "bits" in report.stdout
    path = sweep_file(embedded_corpus, tmp_path, path, grid={"train.learning_rate": [1e-3]})
    third = scaling("sweep", "--config", path)
    assert third.returncode == 0
    assert "1 of 1 runs have ended, 1 of them before" in third.stdout
