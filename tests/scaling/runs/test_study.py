import json
import os
import shutil
import time

import pytest

from scaling.runs import study
from scaling.runs.log import LOG_NAME, RunLog
from scaling.runs.study import StudyError
from tests.helpers.records import CORPUS
from tests.helpers.records import run as record_of
from tests.helpers.runs import small_run


@pytest.fixture
def runs(embedded_corpus, tmp_path):
    return [({"seed": seed}, small_run(embedded_corpus, tmp_path, seed=seed)) for seed in range(5)]


def started(folder, steps):
    log = RunLog(folder, 0)
    for step in range(1, steps + 1):
        log.write("step", step=step, nats=3.0, seconds=0.5, data_wait_seconds=0.05)


def test_every_state_is_read_from_the_folder_alone(runs):
    folder = runs[0][1].study_folder
    study.register(folder, runs)
    running, stopped, failed, finished = (run.folder for _, run in runs[1:])
    for each in (running, stopped, failed, finished):
        started(each, 4)
    old = time.time() - 2 * study.SILENT_SECONDS
    os.utime(stopped / LOG_NAME, (old, old))
    (failed / "failure.json").write_text(json.dumps({"problem": "it broke"}))
    record_of({"seed": 4}, 3.3).write(finished)
    states = study.read_states(folder)
    assert [state.state for state in states] == [
        "waiting",
        "running",
        "stopped",
        "failed",
        "finished",
    ]
    assert states[3].problem == "it broke"
    assert states[1].axes == {"seed": 1}
    assert (states[1].step, states[1].steps, states[1].nats) == (4, 8, 3.0)
    assert states[1].targets_per_second == pytest.approx(12 / 0.5)
    assert states[1].data_wait_share == pytest.approx(0.1)
    assert states[1].seconds_left == pytest.approx(4 * 0.5)


def test_runs_are_added_to_a_study_and_none_is_lost(runs):
    folder = runs[0][1].study_folder
    study.register(folder, runs[:2])
    study.register(folder, runs[1:4])
    assert [state.id for state in study.read_states(folder)] == [run.id for _, run in runs[:4]]


def test_a_folder_without_a_study_is_refused_with_the_command_to_type(tmp_path):
    with pytest.raises(StudyError, match="scaling sweep"):
        study.read_states(tmp_path)


@pytest.mark.fault(
    "Corpora",
    "the corpus changes between runs of a study",
    "it is refused with both fingerprints",
)
def test_a_run_that_ended_on_another_corpus_is_not_taken_for_this_one(runs, embedded_corpus):
    _, run = runs[0]
    assert study.finished_record(run) is None
    run.folder.mkdir(parents=True)
    record_of({"seed": 4}, 3.3).write(run.folder)
    with pytest.raises(StudyError, match="give the study another name"):
        study.finished_record(run)


def test_the_corpus_is_hashed_once_for_all_runs_and_again_if_it_changes(
    embedded_corpus, monkeypatch, tmp_path
):
    shutil.copy(embedded_corpus.folder.local / "corpus.json", tmp_path)
    manifest = tmp_path / "corpus.json"
    load = study.Corpus.load
    run = small_run(load(tmp_path), tmp_path / "runs")
    run.folder.mkdir(parents=True)
    facts = CORPUS.model_copy(update={"fingerprint": embedded_corpus.fingerprint})
    record_of({"seed": 4}, 3.3, corpus=facts).write(run.folder)
    loads = []
    monkeypatch.setattr(study.Corpus, "load", lambda folder: loads.append(folder) or load(folder))
    assert study.finished_record(run) == study.finished_record(run) is not None
    assert len(loads) == 1
    manifest.write_text(manifest.read_text() + "\n")
    with pytest.raises(StudyError, match="give the study another name"):
        study.finished_record(run)
    assert len(loads) == 2
