"""Checks of a report: each passes on a sound study and warns on its own fault."""

import pytest

from scaling.analysis.checklist import checklist
from tests.helpers.records import run, study


def verdict(name, records, noise=0.1, lost=0):
    (found,) = [one for one in checklist(records, None, noise, lost) if one.name == name]
    assert found.text
    return found.verdict


def changed(part, **values):
    """Return a sound study with one part of the first run changed."""
    first, *others = study()
    inner = getattr(first, part).model_copy(update=values)
    return [first.model_copy(update={part: inner}), *others]


@pytest.mark.parametrize(
    ("name", "records"),
    [
        ("All runs have the same targets per step", changed("targets", per_step=512)),
        ("Data is repeated little or not at all", changed("targets", unique=1_000)),
        (
            "Runs ended without warnings",
            [study()[0].model_copy(update={"warnings": ["a worker was lost"]}), *study()[1:]],
        ),
    ],
)
def test_a_fault_of_the_runs_warns_and_a_sound_study_passes(name, records):
    assert verdict(name, study()) == "pass"
    assert verdict(name, records) == "warn"


def test_lost_runs_missing_seeds_and_a_coarse_validation_warn():
    assert verdict("Every run is accounted for", study()) == "pass"
    assert verdict("Every run is accounted for", study(), lost=1) == "warn"
    assert verdict("A configuration was run with several seeds", study(), noise=None) == "warn"
    assert verdict("The validation has enough targets", study(), noise=0.2) == "pass"
    assert verdict("The validation has enough targets", study(), noise=0.05) == "warn"


def test_a_tuned_learning_rate_passes_and_one_for_all_warns():
    name = "The learning rate is tuned at each size"
    tuned = [
        run(
            {"train.learning_rate": rate}, 3.3, config={"train": {"learning_rate": rate}, "seed": 0}
        )
        for rate in (1e-3, 2e-3)
    ]
    assert verdict(name, study()) == "warn"
    assert verdict(name, tuned) == "pass"


def test_a_missing_law_is_reported_once():
    names = [one.name for one in checklist(study(), None, 0.1, 0)]
    assert names.count("A law of the whole study") == 1
    assert len(set(names)) == len(names)
