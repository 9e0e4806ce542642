import json

import pytest
from pydantic import ValidationError

from scaling.config import RunConfig, TrainConfig

MINIMAL = {"study": "s", "corpus": "c"}


def test_the_defaults_are_the_papers_recipe():
    run = RunConfig.model_validate(MINIMAL)
    assert (run.model.context, run.model.chunk, run.model.recent) == (128_000, 2_000, 0)
    assert (run.train.batch, run.train.steps * run.targets_per_step) == (40, 20_000_000)
    assert (run.train.learning_rate, run.train.second_learning_rate) == (1e-4, 0.5e-5)


def test_a_configuration_cannot_be_changed():
    with pytest.raises(ValidationError):
        TrainConfig().steps = 3


def test_a_resolved_configuration_is_json_and_reads_back_as_the_same_run():
    run = RunConfig.model_validate({**MINIMAL, "seed": 4, "model": {"layers": 2}})
    again = RunConfig.model_validate(json.loads(json.dumps(run.resolved())))
    assert again == run
    assert again.id == run.id


@pytest.mark.parametrize(
    ("windows", "positions", "phases"),
    [
        ({}, 1, 1),
        ({"per_window": 5}, 5, 1),
        ({"targets": "chunks"}, 64, 1),
        ({"targets": "chunks", "per_window": 128}, 128, 1),
        ({"targets": "samples"}, 64, 2_000),
        ({"targets": "samples", "phases": 20}, 64, 20),
    ],
)
def test_the_targets_of_a_window_follow_from_its_mode(windows, positions, phases):
    run = RunConfig.model_validate({**MINIMAL, "windows": windows})
    assert (run.positions, run.targets.phases) == (positions, phases)
    assert run.targets.spacing == 2_000
    assert run.targets_per_window == positions * phases


def test_history_is_the_context_unless_it_is_written():
    assert RunConfig.model_validate(MINIMAL).history == 128_000
    longer = RunConfig.model_validate({**MINIMAL, "windows": {"history": 256_000}})
    assert longer.history == 256_000
