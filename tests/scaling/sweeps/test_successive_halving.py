"""Choice of runs at the rungs of a cell: a function of losses alone, read from the folders."""

import itertools
import json

import pytest

from scaling.runs import study
from scaling.runs.log import RunLog
from scaling.sweeps import successive_halving
from scaling.sweeps.successive_halving import RungTask
from tests.helpers.runs import small_run

RUNGS = (0.25, 0.5)


@pytest.fixture
def candidates(embedded_corpus, tmp_path, monkeypatch):
    """Return five candidates of one cell; those in ``ended`` count as finished."""
    runs = [small_run(embedded_corpus, tmp_path, seed=seed) for seed in range(5)]
    ended = set()
    monkeypatch.setattr(
        successive_halving, "finished_record", lambda config: config.id in ended or None
    )
    return runs, ended


def reach(run, share, nats):
    log = RunLog(run.folder, step=int(100 * share))
    log.write("step", step=int(100 * share), nats=nats, seconds=0.1, data_wait_seconds=0.0)
    log.write("rung", step=int(100 * share), share=share, nats=nats)


def state_of(run):
    study.register(run.study_folder, [({}, run)])
    return next(it for it in study.read_states(run.study_folder) if it.id == run.id)


def ids(tasks):
    return [(task.run.seed, task.until) for task in tasks]


def test_the_better_half_continues_and_from_the_last_rung_only_the_best(candidates):
    made, ended = candidates
    assert ids(successive_halving.next_tasks([made], RUNGS, set())) == [
        (seed, 0.25) for seed in range(5)
    ]
    for run, nats in zip(made, [5.0, 3.0, 4.0, 2.0, 6.0], strict=True):
        reach(run, 0.25, nats)
    assert ids(successive_halving.next_tasks([made], RUNGS, set())) == [
        (3, 0.5),
        (1, 0.5),
        (2, 0.5),
    ]
    for seed, nats in ((3, 2.5), (1, 1.5), (2, 1.6)):
        reach(made[seed], 0.5, nats)
    assert ids(successive_halving.next_tasks([made], RUNGS, set())) == [(1, None)]
    ended.add(made[1].id)
    assert successive_halving.next_tasks([made], RUNGS, set()) == []


def test_no_candidate_continues_before_all_reached_the_rung_in_any_order(candidates):
    made, _ = candidates
    three = made[:3]
    for run, nats in zip(three[:2], [3.0, 2.0], strict=True):
        reach(run, 0.25, nats)
    for order in itertools.permutations(three):
        assert ids(successive_halving.next_tasks([order], RUNGS, set())) == [(2, 0.25)]
    reach(three[2], 0.25, 1.0)
    for order in itertools.permutations(three):
        assert ids(successive_halving.next_tasks([order], RUNGS, set())) == [(2, 0.5), (1, 0.5)]


def test_the_next_best_continues_in_place_of_a_failed_one(candidates):
    made, _ = candidates
    for run, nats in zip(made, [5.0, 3.0, 4.0, 2.0, 6.0], strict=True):
        reach(run, 0.25, nats)
    failed = {made[3].id}
    assert ids(successive_halving.next_tasks([made], RUNGS, failed)) == [
        (1, 0.5),
        (2, 0.5),
        (0, 0.5),
    ]
    assert successive_halving.next_tasks([made], RUNGS, {run.id for run in made}) == []


def test_cells_do_not_wait_for_each_other(candidates):
    made, _ = candidates
    for run in made[:2]:
        reach(run, 0.25, 3.0)
    reach(made[0], 0.5, 2.0)
    reach(made[2], 0.25, 9.0)
    assert ids(successive_halving.next_tasks([made[:1], made[1:2], made[2:4]], RUNGS, set())) == [
        (0, None),
        (1, 0.5),
        (3, 0.25),
    ]


def test_without_rungs_every_run_of_every_cell_trains_to_its_end(candidates):
    made, ended = candidates
    ended.add(made[0].id)
    cells = [[run] for run in made[:3]]
    failed = {made[1].id}
    assert ids(successive_halving.next_tasks(cells, (), failed)) == [(2, None)]
    assert successive_halving.next_tasks(cells, (), set())[0] == RungTask(made[1], None)


def test_pruned_candidates_name_the_winner_once_the_cell_has_its_run(
    candidates,
):
    made, ended = candidates
    for run, nats in zip(made[:2], [3.0, 2.0], strict=True):
        reach(run, 0.25, nats)
    successive_halving.note_pruned([made[:2]])
    assert state_of(made[0]).state == "paused"
    ended.add(made[1].id)
    successive_halving.note_pruned([made[:2]])
    assert state_of(made[0]).state == "pruned"
    assert state_of(made[0]).problem == (
        f"outdone by {made[1].id} at 25% of the schedule: 3.0000 nats against 2.0000"
    )
    assert json.loads((made[0].folder / "pruned.json").read_text())
    assert not (made[1].folder / "pruned.json").exists()
