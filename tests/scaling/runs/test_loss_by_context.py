import numpy as np
import pytest
import torch

from scaling.config.run_config import RunConfig
from scaling.runs import loss_by_context
from scaling.runs.log import RunHistory
from tests.helpers.architectures import SMALL

CAUSAL = {**SMALL, "attention": "causal", "context": 3_000}


def config_of(targets="chunks", **windows):
    return RunConfig.model_validate(
        {
            "study": "small",
            "corpus": "data/none",
            "model": CAUSAL,
            "windows": {"targets": targets, **windows},
        }
    )


@pytest.mark.parametrize("latents", [1, 2, 5, 64, 100])
def test_octaves_have_every_context_once(latents):
    held = [k for first, last in loss_by_context.octaves(latents) for k in range(first, last + 1)]
    assert held == list(range(1, latents + 1))


def test_octaves_are_doublings_of_the_chunk():
    assert loss_by_context.octaves(8) == [(1, 1), (2, 2), (3, 4), (5, 8)]
    assert loss_by_context.octaves(6) == [(1, 1), (2, 2), (3, 4), (5, 6)]


def test_a_run_is_scored_at_the_contexts_that_it_trained():
    assert loss_by_context.trained_contexts(config_of()) == [500, 1_000, 2_000]
    assert loss_by_context.trained_contexts(config_of("last")) == []


def test_means_are_those_of_each_octave_of_context():
    config = config_of(per_window=12)
    # Two windows of two sequences of 6 chunks, at 3 phases.
    nats = torch.arange(2 * 12 * 3, dtype=torch.float64).view(2, 12, 3)
    found = loss_by_context.means_by_context(nats.mean(), nats, config)
    by_context = nats.numpy().reshape(2, 2, 6, 3)
    expected = [
        by_context.mean(),
        by_context[:, :, 0].mean(),
        by_context[:, :, 1].mean(),
        by_context[:, :, 2:4].mean(),
        by_context[:, :, 4:].mean(),
    ]
    np.testing.assert_allclose(found, expected)
    assert loss_by_context.means_by_context(nats.mean(), nats, config_of("last")).tolist() == [
        nats.mean().item()
    ]


def test_training_losses_are_those_of_the_last_quarter_of_the_steps():
    generator = np.random.default_rng(0)
    losses = generator.normal(size=(40, 4))
    history = RunHistory(steps=[{"nats_by_context": row.tolist()} for row in losses])
    found = loss_by_context.training_losses(config_of(), history)
    assert [(part.shortest, part.longest) for part in found] == [
        (500, 500),
        (1_000, 1_000),
        (1_500, 2_000),
        (2_500, 3_000),
    ]
    np.testing.assert_allclose([part.nats for part in found], losses[30:].mean(0))
    expected = losses[30:].std(0, ddof=1) / np.sqrt(10)
    np.testing.assert_allclose([part.standard_error for part in found], expected)
    above = losses[30:] - losses[30:, 3:]
    np.testing.assert_allclose([part.excess for part in found], above.mean(0))
    expected = above.std(0, ddof=1) / np.sqrt(10)
    np.testing.assert_allclose([part.excess_standard_error for part in found], expected)


def test_one_step_has_no_standard_error():
    history = RunHistory(steps=[{"nats_by_context": [1.0, 2.0, 3.0, 4.0]}])
    found = loss_by_context.training_losses(config_of(), history)
    assert {part.standard_error for part in found} == {None}
    assert [part.excess for part in found] == [-3.0, -2.0, -1.0, 0.0]
