import pytest
import torch

from model.inference.streams import Streams
from model.network import GROUPED_LATENTS
from tests.helpers.networks import (
    EVERY_MODEL,
    TINY,
    codes_of,
    naive_logits,
    network_of,
)


@pytest.fixture(autouse=True)
def several_groups(monkeypatch):
    """Read a few phases of a prompt at a time."""
    monkeypatch.setitem(GROUPED_LATENTS, "cpu", 20)


def check_against_naive(network, prompt, steps, tolerance=1e-10):
    """Compare the logits after the prompt and after each step."""
    streams = Streams(network, prompt)
    sequence = prompt[:, -network.architecture.context :]
    logits = streams.distribution_BO
    for code in codes_of(len(prompt), steps, seed=1).unbind(1):
        expected = naive_logits(network, sequence)
        torch.testing.assert_close(logits, expected, rtol=0, atol=tolerance)
        logits = streams.step(code)
        sequence = torch.cat([sequence, code[:, None]], 1)
    torch.testing.assert_close(logits, naive_logits(network, sequence), rtol=0, atol=tolerance)


@EVERY_MODEL
@pytest.mark.parametrize("recent", [0, 64])
@pytest.mark.parametrize("prompt", [80, 81, 159, 239, 240, 241, 500])
def test_each_step_gives_the_logits_of_the_whole_sequence(prompt, recent, model):
    network = network_of(recent=recent, **TINY | {"chunk": 80, "context": 240}, **model)
    check_against_naive(network, codes_of(2, prompt), 12)


@EVERY_MODEL
@pytest.mark.parametrize(("layers", "recent"), [(1, 64), (3, 0)])
def test_steps_continue_for_contexts_beyond_the_prompt(layers, recent, model):
    network = network_of(layers=layers, recent=recent, **TINY, **model)
    check_against_naive(network, codes_of(1, 67), 2 * 120 + 67)


@EVERY_MODEL
def test_the_papers_convolutions_and_a_single_latent_step_as_well(model):
    network = network_of(chunk=343, context=5 * 343, recent=64, **model)
    check_against_naive(network, codes_of(1, 5 * 343 - 20), 40)
    network = network_of(chunk=343, context=343, recent=64, **model)
    check_against_naive(network, codes_of(1, 343), 40)


@EVERY_MODEL
def test_float32_stays_within_1e_4_of_the_naive_way(model):
    network = network_of(torch.float32, recent=64, **TINY, **model)
    check_against_naive(network, codes_of(2, 75), 130, 1e-4)


@EVERY_MODEL
def test_of_a_long_prompt_the_newest_context_counts(model):
    network = network_of(recent=64, **TINY, **model)
    prompt = codes_of(1, 300)
    newest = Streams(network, prompt[:, -120:]).distribution_BO
    assert torch.equal(Streams(network, prompt).distribution_BO, newest)


@EVERY_MODEL
@pytest.mark.parametrize(("recent", "shortest"), [(0, 40), (64, 64)])
def test_a_prompt_of_the_shortest_length_is_read_and_a_shorter_one_refused(model, recent, shortest):
    network = network_of(recent=recent, **TINY, **model)
    check_against_naive(network, codes_of(1, shortest), 50)
    sentence = f"prompt has {shortest - 1} samples: a continuation needs {shortest} or more"
    with pytest.raises(ValueError, match=sentence):
        Streams(network, codes_of(1, shortest - 1))


@EVERY_MODEL
def test_a_batch_of_streams_equals_each_stream_alone(model):
    network = network_of(recent=64, **TINY, **model)
    prompts, codes = codes_of(3, 100), codes_of(3, 60, seed=1)
    together = Streams(network, prompts)
    alone = [Streams(network, prompt[None]) for prompt in prompts]
    expected = torch.cat([streams.distribution_BO for streams in alone])
    torch.testing.assert_close(together.distribution_BO, expected, rtol=0, atol=1e-10)
    for codes_B in codes.unbind(1):
        steps = [streams.step(code) for streams, code in zip(alone, codes_B.split(1), strict=True)]
        torch.testing.assert_close(together.step(codes_B), torch.cat(steps), rtol=0, atol=1e-10)


@EVERY_MODEL
def test_with_full_unknown_a_step_gives_the_same_logits(model):
    network = network_of(recent=64, **TINY, **model)
    known, unknown = (Streams(network, codes_of(1, 100)) for _ in range(2))
    with torch.no_grad():
        for code in codes_of(1, 60, seed=1).unbind(1):
            found = unknown.compute(code, full=False)
            torch.testing.assert_close(found, known.step(code), rtol=0, atol=1e-10)
    assert known.full


@EVERY_MODEL
def test_a_step_needs_and_changes_only_the_state(model):
    # As many steps as a context, so that they overwrite every part, which is then restored.
    network = network_of(recent=64, **TINY | {"context": 80}, **model)
    streams = Streams(network, codes_of(2, 90))
    codes = codes_of(2, 90, seed=1).unbind(1)
    before = [tensor.clone() for tensor in streams.state]
    expected = torch.stack([streams.step(code) for code in codes])

    def replayed(left_out=None):
        """Repeat the steps after restoring the state, except one part of it."""
        for number, (tensor, value) in enumerate(zip(streams.state, before, strict=True)):
            if number != left_out:
                tensor.copy_(value)
        return torch.stack([streams.step(code) for code in codes])

    assert torch.equal(replayed(), expected)
    for number in range(len(before)):
        assert not torch.equal(replayed(left_out=number), expected)


@EVERY_MODEL
def test_dropout_is_off(model):
    drops = {"dropout": 0.5, "encoder_dropout": 0.5, "head_dropout": 0.5, "token_drop": 0.5}
    prompt = codes_of(1, 130)
    expected = Streams(network_of(**TINY, **model), prompt).distribution_BO
    dropping = network_of(**TINY, **model, **drops).train()
    assert torch.equal(Streams(dropping, prompt).distribution_BO, expected)
