"""Early stopping, and runs that end with the weights of the lowest held-out loss."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from scaling.checkpoints.train_state import TrainState
from scaling.config import load
from scaling.config.load import ConfigError
from scaling.config.run_config import TrainConfig
from scaling.orchestration.train import make_job, train
from scaling.runs.job import Fault
from scaling.runs.log import RunHistory
from scaling.runs.trained_model import TrainedModel
from tests.helpers.runs import plain_steps, small_run

TRAIN = TrainConfig(steps=10, second_phase=0.5)


def after(*nats):
    """Return the train state after a validation at every step, with these losses."""
    state = TrainState()
    for loss in nats:
        state = state.advanced([0], 1.0).scored(loss, TRAIN)
    return state


def test_the_best_is_the_first_of_the_lowest():
    state = after(3.0, 2.0, 2.0, 2.5)
    assert (state.best, state.best_nats, state.validated) == (2, 2.0, 4)


def test_patience_counts_validations_without_gain_after_the_learning_rate_fell():
    assert after(1.0, 2.0, 2.0, 2.0).waited == 0
    assert after(1.0, 2.0, 2.0, 2.0, 2.0, 2.0).waited == 2
    assert after(1.0, 2.0, 2.0, 2.0, 2.0, 0.5).waited == 0


def test_steps_do_not_change_the_best_validation():
    state = after(3.0, 2.0)
    stepped = state.advanced([1], 1.0)
    assert (stepped.step, stepped.best, stepped.best_nats, stepped.validated) == (3, 2, 2.0, 2)


def test_a_search_that_compares_candidates_at_the_same_shares_refuses_runs_that_end_early(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text("study: s\ncorpus: c\nsweep: {search: {train.learning_rate: [0.1, 0.2]}}\n")
    assert len(load.sweep(path).runs) == 2
    with pytest.raises(ConfigError, match="write one of the two"):
        load.sweep(path, ["validation.patience=3"])


@pytest.mark.fault(
    "Processes",
    "a run at ZeRO 3 that keeps its best weights is killed after it found them, and gets "
    "SIGTERM at a validation",
    "each validation is done once, and the weights are those of an undisturbed run",
)
@pytest.mark.slow
def test_a_run_ends_early_with_the_weights_that_the_plain_loop_had_at_the_best_validation(
    embedded_corpus, tmp_path
):
    """A second learning rate of 0.3 spoils what the first one has learned."""
    config = small_run(
        embedded_corpus,
        tmp_path,
        train__zero=3,
        train__steps=40,
        train__second_phase=0.15,
        train__second_learning_rate=0.3,
        validation__every=2,
        validation__patience=2,
        cluster__workers=2,
    )
    faults = (Fault("terminate", 4, 1), Fault("kill", 8))
    record = train(replace(make_job(config, {}), faults=faults))
    history = RunHistory.read(config.folder)
    steps = [line["step"] for line in history.validations]
    nats = [line["nats"] for line in history.validations]
    assert steps == list(range(2, record.targets.steps + 1, 2))
    assert record.validation.step == steps[int(np.argmin(nats))] == 6
    assert record.targets.steps == 10
    assert record.validation.nats == pytest.approx(min(nats), abs=1e-6)
    losses = [line["nats"] for line in history.steps]
    kept = TrainedModel.load(config.folder).network.state_dict()
    for step, (loss, network) in enumerate(plain_steps(config, embedded_corpus), 1):
        assert losses[step - 1] == pytest.approx(loss, abs=1e-4)
        if step == record.validation.step:
            # The second rate amplifies rounding differences, so later steps are not compared.
            for name, tensor in network.state_dict().items():
                torch.testing.assert_close(kept[name], tensor, rtol=1e-3, atol=1e-4)
            break
    assert len(history.starts) == 1 + len(faults)
