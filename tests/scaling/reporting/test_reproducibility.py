"""Reproducibility of runs: repeated steps and targets are counted, the command trains again."""

import json
import shlex

import pytest
import yaml

from scaling.config import load
from scaling.config.run_config import RunConfig
from scaling.reporting.report import write_report
from scaling.reporting.reproducibility import (
    SHORT,
    reproducibility_content,
    run_reproducibility,
)
from scaling.runs.log import LOG_NAME, RunLog
from scaling.runs.record import Restart
from scaling.runs.study import CONFIG_NAME
from tests.helpers.known_laws import BASE
from tests.helpers.records import TARGETS_PER_STEP, run

STEPS = 6


def disturbed(**changes):
    """A run of six steps that lost two of them at one of its restarts."""
    why = "worker 1 died: its process or its node is gone"
    restarts = [
        Restart(step=2, workers=2, why=why, lost_steps=2, seconds=9.0),
        Restart(step=4, workers=1, why=why, lost_steps=0, seconds=9.0),
        Restart(step=5, workers=2, why=None, lost_steps=0, seconds=9.0),
    ]
    plain = run({"seed": 0}, 3.3)
    targets = plain.targets.model_copy(
        update={"steps": STEPS, "seen": STEPS * TARGETS_PER_STEP, "order_digest": "d6", **changes}
    )
    return plain.model_copy(update={"targets": targets, "restarts": restarts})


def write(folder, steps):
    folder.mkdir(parents=True, exist_ok=True)
    lines = [{"kind": "step", "step": step, "order_digest": f"d{step}"} for step in steps]
    (folder / LOG_NAME).write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_restarts_are_counted_by_their_reason_with_the_steps_done_again(tmp_path):
    write(tmp_path, range(1, STEPS + 1))
    found = run_reproducibility(tmp_path, disturbed())
    assert found.restarts == 3 and found.steps_again == 2
    assert found.reasons == {
        "worker 1 died: its process or its node is gone": 2,
        "unknown reason": 1,
    }
    assert found.log_problem is None


def test_a_long_reason_is_cut(tmp_path):
    restart = Restart(step=2, workers=1, why="x" * 500, lost_steps=0, seconds=None)
    record = disturbed().model_copy(update={"restarts": [restart]})
    (reason,) = run_reproducibility(tmp_path, record).reasons
    assert len(reason) == SHORT and reason.endswith("...")


def test_steps_that_were_lost_and_done_again_count_once(tmp_path):
    """The log is written as in training, with a resume from step 2."""
    for start, end in ((0, 4), (2, STEPS)):
        log = RunLog(tmp_path, start)
        for step in range(start + 1, end + 1):
            log.write("step", step=step, order_digest=f"d{step}")
    found = run_reproducibility(tmp_path, disturbed())
    assert found.targets_twice == 0 and found.log_problem is None


def test_targets_of_a_step_that_the_log_has_twice_count_twice(tmp_path):
    write(tmp_path, [1, 2, 3, 4, 3, 4, 5, 6])
    assert run_reproducibility(tmp_path, disturbed()).targets_twice == 2 * TARGETS_PER_STEP


@pytest.mark.parametrize(
    ("steps", "problem"),
    [
        ([], "no log"),
        ([1, 2, 5, 6], "2 steps are missing from the log"),
        ([1, 2, 3, 4, 6, 5], "the log ends with another order of data than the record"),
    ],
)
def test_a_log_that_disagrees_with_the_record_is_reported(tmp_path, steps, problem):
    write(tmp_path, steps)
    found = reproducibility_content([run_reproducibility(tmp_path, disturbed())])
    (one,) = found["runs"]
    assert one["log_problem"] == problem and (one["targets_twice"] is None) == (not steps)
    assert "with every step of their record: 0 of 1." in found["sentence"]


def test_the_share_of_repeated_data_counts_targets_seen_before(tmp_path):
    assert run_reproducibility(tmp_path, disturbed(unique=STEPS * TARGETS_PER_STEP)).repeated == 0.0
    again = run_reproducibility(tmp_path, disturbed(unique=STEPS * TARGETS_PER_STEP // 4))
    assert again.repeated == pytest.approx(0.75)


def test_the_weights_that_a_run_kept_are_of_its_last_step_or_its_best(tmp_path):
    last = disturbed()
    validation = last.validation.model_copy(update={"step": 4})
    best = last.model_copy(update={"id": "patient", "validation": validation})
    assert run_reproducibility(tmp_path, last).weights_of == STEPS
    assert run_reproducibility(tmp_path, best).weights_of == 4
    paths = write_report([last, best], tmp_path, study="demo")
    rows = (tmp_path / "report.md").read_text().splitlines()
    column = ["weights of step" in row for row in rows].index(True)
    place = rows[column].split("|").index(" weights of step ")
    kept = {row.split("|")[1].strip(): row.split("|")[place] for row in rows[column + 2 :][:2]}
    assert kept == {last.id: f" {STEPS} ", "patient": " 4 "}
    assert "weights<br>of step" in paths.html.read_text()


def test_the_command_trains_the_same_run_into_another_folder(tmp_path):
    config = RunConfig.model_validate(BASE)
    assert run_reproducibility(tmp_path, disturbed()).command is None
    path = tmp_path / "a folder" / CONFIG_NAME
    path.parent.mkdir()
    path.write_text(yaml.safe_dump(config.resolved(), sort_keys=False))
    *verb, written, override = shlex.split(run_reproducibility(path.parent, disturbed()).command)
    assert verb == ["python", "-m", "scaling", "train"]
    again = load.run(type(path)(written), [override])
    assert again.id == config.id and again.study_folder != config.study_folder


def test_the_report_has_a_row_for_each_run(tmp_path):
    record = disturbed(unique=STEPS * TARGETS_PER_STEP // 2)
    write(tmp_path / record.id, range(1, STEPS + 1))
    paths = write_report([record], tmp_path, study="demo")
    (one,) = json.loads(paths.json.read_text())["origins"]["runs"]
    page, words = paths.html.read_text(), (tmp_path / "report.md").read_text()
    assert one["run"] == record.id and one["targets_twice"] == 0
    assert "T7. Reproducibility of each run" in page
    assert "2 &times; worker 1 died" in page and "50.0%" in page
    assert f"| {record.id} | 3; 2 x worker 1 died" in words
    assert "3 restarts; 2 steps lost and repeated; 0 targets counted twice" in words
