"""Plans of shipped configurations, and their notes and problems."""

from dataclasses import replace

import pytest

from datasets.storage import Folder
from scaling.config import load
from scaling.planning import plan
from tests.helpers.clone import CLONE
from tests.helpers.runs import small_run

SHIPPED = sorted(
    path for folder in ("runs", "sweeps") for path in (CLONE / "configs" / folder).glob("*.yaml")
)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_run_and_sweep_is_planned(path, monkeypatch):
    monkeypatch.chdir(CLONE)
    planned = plan.make_plan(load.sweep(path).runs)
    assert planned.problems == []
    assert planned.runs


@pytest.mark.parametrize("path", sorted((CLONE / "configs/corpora").glob("*.yaml")))
def test_every_shipped_corpus_is_read(path):
    assert load.corpus(path).files


def test_a_plan_compares_its_targets_with_those_of_the_corpus(embedded_corpus, tmp_path):
    run = small_run(embedded_corpus, tmp_path, train__steps=200_000)
    planned = plan.make_plan([({}, run)])
    (only,) = planned.runs
    assert only.targets == 200_000 * 4 * 3
    assert only.epoch < only.targets
    assert "sees each" in planned.notes[0]
    assert only.window_bytes == 4_000 + 2 * 500 + 1


def test_sharing_chunks_costs_less_than_one_window_a_target(embedded_corpus, tmp_path):
    (only,) = plan.make_plan([({}, small_run(embedded_corpus, tmp_path))]).runs
    assert only.operations_per_target < only.naive_operations_per_target


def test_an_unprepared_corpus_is_a_note_with_the_command_to_type(tmp_path, embedded_corpus):
    run = small_run(replace(embedded_corpus, folder=Folder.of(tmp_path / "nothing")), tmp_path)
    planned = plan.make_plan([({}, run)])
    assert planned.problems == []
    assert "scaling prepare" in planned.notes[0]
    assert planned.runs[0].epoch is None


def test_runs_with_problems_are_reported_and_left_out(embedded_corpus, tmp_path):
    good = small_run(embedded_corpus, tmp_path)
    bad = small_run(embedded_corpus, tmp_path, model__width=7)
    planned = plan.make_plan([({}, good), ({}, bad)])
    assert len(planned.runs) == 1
    assert len(planned.problems) == 1
