"""Sweeps through the command line: finished runs are skipped, failed ones start again."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import yaml

from scaling.cli.arguments import INTERRUPTED
from scaling.config import load
from scaling.config.run_config import RunConfig
from scaling.runs.log import RunHistory
from scaling.runs.record import FILE_NAME, RunRecord
from scaling.sweeps import sweep
from tests.helpers.clone import CLONE
from tests.helpers.command import scaling
from tests.helpers.runs import (
    digests,
    expected_digests,
    losses,
    plain_losses,
    small_run,
    wait_for_steps,
)


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


def test_a_reason_common_to_many_failed_runs_is_printed_once():
    said = sweep.failures({"a": "no room", "b": "too dear", "c": "no room"})
    assert [*map(str, said)] == ["runs a, c failed: no room", "run b failed: too dear"]


@pytest.mark.fault(
    "Sweeps and records",
    "a run of a sweep fails finally",
    "the others continue; the next call retries it, and repeats no finished run",
)
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
    assert [state["state"] for state in states] == ["finished", "diverged"]
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


@pytest.mark.fault(
    "Sweeps and records",
    "a sweep's driver is killed",
    "no finished run is repeated, and the final records are the same",
)
@pytest.mark.slow
def test_a_sweep_whose_driver_was_killed_repeats_no_finished_run_and_ends_with_the_same_records(
    embedded_corpus, tmp_path
):
    """Train two runs one after the other, and kill the driver in the second one."""
    axes = {"seed": [0, 1]}
    path = sweep_file(embedded_corpus, tmp_path, tmp_path / "s.yaml", grid=axes, concurrent=1)
    words = ("sweep", "--config", str(path), "train.steps=40", f"cluster.storage={tmp_path}")
    nothing = scaling(*words, "--resume")
    assert nothing.returncode == 1
    assert "has no study.json" in nothing.stderr
    first, second = (run for _, run in load.sweep(path, words[3:]).runs)
    driver = subprocess.Popen(
        [sys.executable, "-m", "scaling", *words], cwd=CLONE, start_new_session=True
    )
    wait_for_steps(second, 10)
    os.killpg(driver.pid, signal.SIGKILL)
    driver.wait()
    before = (first.folder / FILE_NAME).stat().st_mtime_ns
    resumed = scaling(*words, "--resume")
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    assert "2 of 2 runs have ended, 1 of them before" in resumed.stdout
    assert (first.folder / FILE_NAME).stat().st_mtime_ns == before
    for run in (first, second):
        assert digests(run) == expected_digests(run, embedded_corpus)
        np.testing.assert_allclose(losses(run), plain_losses(run, embedded_corpus), atol=2e-3)


@pytest.mark.fault(
    "Sweeps and records",
    "a run or a sweep is interrupted (Ctrl-C)",
    "it prints how to resume, and its exit code is not 0",
)
@pytest.mark.slow
@pytest.mark.parametrize("verb", ["train", "sweep"])
def test_an_interrupted_command_prints_how_to_resume_and_fails(embedded_corpus, tmp_path, verb):
    config = small_run(embedded_corpus, tmp_path, train__steps=4_000)
    content = config.resolved() | ({"sweep": {"grid": {"seed": [0]}}} if verb == "sweep" else {})
    path = tmp_path / "given.yaml"
    path.write_text(yaml.safe_dump(content))
    words = [sys.executable, "-m", "scaling", verb, str(path)]
    driver = subprocess.Popen(words, cwd=CLONE, stdout=subprocess.PIPE, text=True)
    wait_for_steps(config, 2)
    driver.send_signal(signal.SIGINT)
    said, _ = driver.communicate(timeout=120)
    assert driver.returncode == INTERRUPTED
    assert "interrupted: run the same command to resume from the newest checkpoints" in said
    assert "ended" not in said


@pytest.mark.slow
def test_the_best_candidate_of_a_cell_alone_trains_to_its_end_as_if_it_had_been_alone(
    embedded_corpus, tmp_path
):
    path = sweep_file(
        embedded_corpus,
        tmp_path,
        tmp_path / "s.yaml",
        search={"train.learning_rate": [1e-6, 3e-3, 1e30]},
        rungs=[0.25],
    )
    done = scaling("sweep", "--config", path, "train.steps=16")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "1 of 3 runs have ended" in done.stdout
    states = json.loads(scaling("status", tmp_path / "small", "--json").stdout)
    by_fate = {state["state"]: state for state in states}
    assert set(by_fate) == {"finished", "pruned", "diverged"}
    won, lost = (rung_of(tmp_path / "small" / by_fate[it]["id"]) for it in FATES)
    assert won["step"] == lost["step"] == 4
    assert won["nats"] < lost["nats"]
    assert f"{lost['nats']:.4f} nats against {won['nats']:.4f}" in by_fate["pruned"]["problem"]
    record = RunRecord.read(tmp_path / "small" / by_fate["finished"]["id"] / FILE_NAME)
    assert record.axes == {}
    run = RunConfig.model_validate(record.config)
    assert digests(run) == expected_digests(run, embedded_corpus)
    np.testing.assert_allclose(losses(run), plain_losses(run, embedded_corpus), atol=2e-3)


FATES = ("finished", "pruned")


def rung_of(folder):
    (line,) = RunHistory.read(folder).rungs
    return line
