"""The next step of a newcomer, from an empty clone to a report."""

import json
import os

from scaling.cli.main import next_step
from scaling.runs.record import FILE_NAME
from scaling.runs.study import STUDY_NAME
from tests.helpers.command import scaling_in_new_process


def test_each_next_step_is_named_after_the_previous_one(tmp_path):
    assert "`python -m scaling prepare configs/corpora/embedded.yaml`" in next_step(tmp_path)
    (tmp_path / "data/embedded").mkdir(parents=True)
    (tmp_path / "data/embedded/corpus.json").touch()
    assert "`python -m scaling plan configs/sweeps/demo.yaml`" in next_step(tmp_path)
    run = tmp_path / "runs/demo/1f"
    run.mkdir(parents=True)
    states = {"runs": {"1f": {"axes": {}, "steps": 4, "seconds": None}}}
    (run.parent / STUDY_NAME).write_text(json.dumps(states))
    assert "Run `python -m scaling status runs/demo`" in next_step(tmp_path)
    (run / FILE_NAME).touch()
    assert "Run `python -m scaling report runs/demo`" in next_step(tmp_path)
    page = run.parent / "report.html"
    page.touch()
    assert "open runs/demo/report.html" in next_step(tmp_path)
    # The page does not include a newer record.
    os.utime(page, (1, 1))
    assert "Run `python -m scaling report runs/demo`" in next_step(tmp_path)


def test_the_program_without_a_verb_prints_the_verbs_and_the_next_command():
    done = scaling_in_new_process()
    assert done.returncode == 0
    assert "prepare" in done.stdout
    assert "`python -m scaling " in done.stdout.splitlines()[-1]
