"""A study that an earlier version wrote is read, scored and resumed by this one.

tests/data/earlier_version has a corpus of tones and two runs of it, written by commit 60f5305: one
is finished, one stopped at a checkpoint after 4 of its 8 steps.
"""

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from scaling.cli.main import app
from scaling.config import load
from scaling.evaluation.scores import Evaluation
from scaling.orchestration.train import make_job, train
from scaling.runs.log import RunHistory
from scaling.runs.record import RunRecord, bits
from tests.helpers.clone import CLONE

FINISHED, STOPPED = "b7dfcf04c285", "038be1f765aa"
STUDY = Path("runs/earlier")


@pytest.fixture
def earlier(tmp_path, monkeypatch):
    """The working folder of the earlier study: its configurations name paths relative to it."""
    folder = tmp_path / "earlier"
    shutil.copytree(CLONE / "tests/data/earlier_version", folder)
    monkeypatch.chdir(folder)
    return folder


def run_verb(*words: str) -> str:
    """Run a verb in this process and return what it prints."""
    result = CliRunner().invoke(app, list(words), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_the_states_of_an_earlier_study_are_read(earlier):
    output = run_verb("status", str(STUDY), "--json")
    assert FINISHED in output and STOPPED in output
    assert '"finished"' in output and '"paused"' in output


def test_an_earlier_study_is_reported_with_the_loss_of_its_record(earlier):
    nats = RunRecord.read(STUDY / FINISHED / "record.json").validation.nats
    run_verb("report", str(STUDY))
    assert FINISHED in (STUDY / "runs.csv").read_text()
    assert f"{bits(nats):.3f}" in (STUDY / "report.html").read_text()


def test_an_earlier_run_is_evaluated_to_the_loss_that_the_earlier_version_found(earlier):
    path = STUDY / FINISHED / "evaluation-test-full-context-200-4000-4000.json"
    before = Evaluation.read(path)
    path.unlink()
    run_verb("evaluate", str(STUDY / FINISHED), "--split", "test", "--positions", "200")
    after = Evaluation.read(path)
    assert after.targets_hash == before.targets_hash
    assert after.loss.nats == pytest.approx(before.loss.nats, abs=1e-5)


def test_an_earlier_run_is_resumed_from_its_checkpoint_under_the_same_id(ray_session, earlier):
    config = load.run(STUDY / STOPPED / "config.yaml", [])
    assert config.id == STOPPED
    before = (STUDY / STOPPED / "metrics.jsonl").read_text()
    train(make_job(config, {"seed": 1}))
    assert (STUDY / STOPPED / "metrics.jsonl").read_text().startswith(before)
    assert RunHistory.read(STUDY / STOPPED).steps[-1]["step"] == 8
    assert (STUDY / STOPPED / "record.json").exists()
