"""Compare a baseline behind the common interface with one code at a time."""

import pytest
import torch

from model.baselines import sequence
from model.baselines.sequence import SequenceStreams
from model.inference.dense import dense_nats
from model.targets import Targets
from tests.helpers import small_wavenet
from tests.helpers.baselines import NETWORKS, codes_of, model_of, stepped
from tests.helpers.naive_models import naive_dense_nats, nats_of, parallel_logits
from tests.helpers.networks import blocks_of, live_elements, signal_of

EXACT = {"rtol": 0, "atol": 1e-10}
EVERY = Targets("sequence", 1)
CONTEXT = 24
"""More than WaveNet's receptive field of 15 here, and the length of SampleRNN's longest frame."""
LAST = Targets("last", 7)


@NETWORKS
def test_every_code_of_a_sequence_is_a_target_from_silence_and_the_codes_before_it(network_of):
    model = model_of(network_of())
    codes = codes_of(50)
    mean, each = model(codes, EVERY)
    assert each.shape == (2, 50, 1)
    logits_BTQ = stepped(model.network, codes)
    expected = torch.stack([nats_of(*row) for row in zip(logits_BTQ, codes, strict=True)])
    torch.testing.assert_close(each[..., 0], expected, **EXACT)
    torch.testing.assert_close(mean.detach(), expected.mean(), **EXACT)
    assert mean.requires_grad and not each.requires_grad


@NETWORKS
@torch.no_grad()
@pytest.mark.parametrize(("spacing", "context"), [(1, None), (7, None), (7, 10), (60, 30)])
def test_a_last_target_is_predicted_from_all_that_the_window_has_before_it(
    network_of, spacing, context
):
    model = model_of(network_of(), context=CONTEXT)
    targets = Targets("last", spacing, context=context)
    window = codes_of(targets.samples(3, model.architecture)).to(torch.uint8)
    history = targets.history(model.architecture)
    assert history == (context or CONTEXT)
    logits = model.logits(window, targets)
    _, each = model(window, targets)
    assert (logits.shape, each.shape) == ((2, 3, 1, 256), (2, 3, 1))
    for number in range(3):
        seen = window[:, : history + number * spacing + 1]
        expected = stepped(model.network, seen)[:, -1]
        torch.testing.assert_close(logits[:, number, 0], expected, **EXACT)
        torch.testing.assert_close(each[:, number, 0], nats_of(expected, seen[:, -1]), **EXACT)


def gradients_of(model, loss):
    return torch.autograd.grad(
        loss, list(model.parameters()), allow_unused=True, materialize_grads=True
    )


@pytest.mark.parametrize("runs", [1, 5, 16])
@pytest.mark.parametrize(("context", "spacing", "cut"), [(24, 40, 1), (15, 50, 1), (14, 50, 0)])
def test_of_targets_far_apart_wavenet_reads_the_receptive_fields_alone(
    monkeypatch, context, spacing, cut, runs
):
    monkeypatch.setattr(sequence, "RUNS", runs)
    model = model_of(small_wavenet.network_of(), context=context)
    targets, read = Targets("last", spacing), []
    model.network.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0].numel()))
    window = codes_of(targets.samples(4, model.architecture))
    mean, each = model(window, targets)
    # A receptive field of 15 samples plus the target; a shorter context is read whole.
    assert sum(read) == (2 * 4 * 16 if cut else window.numel())
    whole = model.network(window)[:, context::spacing]
    expected = torch.nn.functional.cross_entropy(
        whole.flatten(0, 1), window[:, context::spacing].flatten(), reduction="none"
    )
    torch.testing.assert_close(each.flatten(), expected.detach(), **EXACT)
    found, wanted = gradients_of(model, mean), gradients_of(model, expected.mean())
    torch.testing.assert_close(found, wanted, **EXACT)


@torch.no_grad()
@pytest.mark.parametrize(("spacing", "reads"), [(9, 52), (13, 64), (14, 64), (40, 64)])
def test_wavenet_reads_whichever_is_less_the_window_or_the_fields(spacing, reads):
    model = model_of(small_wavenet.network_of(), context=CONTEXT)
    targets, read = Targets("last", spacing), []
    model.network.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0].numel()))
    model(codes_of(targets.samples(4, model.architecture), batch=1), targets)
    assert sum(read) == reads


@NETWORKS
@pytest.mark.parametrize("targets", [EVERY, LAST])
def test_padding_is_silence_and_changes_nothing(network_of, targets):
    model = model_of(network_of(), context=CONTEXT)
    window = codes_of(targets.samples(5, model.architecture))
    mean, each = model(window, targets)
    padding = torch.tensor([0, 9])
    assert torch.equal(model(window, targets, padding)[0], mean)
    assert torch.equal(model(window, targets, padding)[1], each)
    assert torch.equal(model.logits(window, targets, padding), model.logits(window, targets))


def test_a_window_of_a_wrong_length_is_refused():
    model = model_of(small_wavenet.network_of(), context=CONTEXT)
    with pytest.raises(ValueError, match="a window of 33 samples does not fit last targets 7"):
        model(codes_of(CONTEXT + 7 + 2), LAST)


SIZES = [(1,), (5, 1, 40), (CONTEXT,), (2 * CONTEXT, 0), (10**6,)]


@NETWORKS
@torch.no_grad()
def test_dense_nats_of_each_code_come_from_a_context_or_more_for_any_blocks(network_of):
    model = model_of(network_of(), context=CONTEXT)
    codes = signal_of(3 * CONTEXT + 10)
    expected = naive_dense_nats(model, codes)
    for sizes in SIZES:
        found = torch.cat(list(dense_nats(model, blocks_of(codes, sizes))))
        assert found.shape == (2 * CONTEXT + 10,)
        torch.testing.assert_close(found, expected, **EXACT)


@NETWORKS
@torch.no_grad()
def test_dense_nats_leave_out_no_code_of_a_signal_of_any_length(network_of):
    model = model_of(network_of(), context=CONTEXT)
    signal = signal_of(3 * CONTEXT + 1)
    expected = naive_dense_nats(model, signal)
    for length in (0, 1, 23, 24, 25, 47, 48, 49, 71, 72, 73):
        for sizes in ((7,), (10**6,)):
            found = list(dense_nats(model, blocks_of(signal[:length], sizes)))
            own = torch.cat([torch.empty(0, dtype=torch.double), *found])
            torch.testing.assert_close(own, expected[: max(0, length - CONTEXT)], **EXACT)


@NETWORKS
def test_memory_of_dense_nats_does_not_grow_with_the_signal(network_of):
    model = model_of(network_of(), context=CONTEXT)
    nats = dense_nats(model, (signal_of(CONTEXT // 2, seed) for seed in range(60)))
    kept = []
    for count, block in enumerate(nats):
        if count in (5, 25):
            kept.append(live_elements())
        assert len(block) == CONTEXT
    assert count == 28
    assert kept[0] == kept[1]


@NETWORKS
@torch.no_grad()
@pytest.mark.parametrize("prompt", [1, 23, 24, 37])
def test_streams_give_the_logits_of_the_parallel_form_after_a_prompt_and_after_steps(
    network_of, prompt
):
    model = model_of(network_of(), context=CONTEXT)
    codes = codes_of(prompt).to(torch.uint8)
    streams = SequenceStreams(model, codes)
    sequence = codes[:, -CONTEXT:]
    torch.testing.assert_close(streams.distribution_BO, parallel_logits(model, sequence), **EXACT)
    # Steps continue beyond a context, and so does what they read.
    for codes_B in codes_of(2 * CONTEXT).T:
        sequence = torch.cat([sequence, codes_B[:, None]], 1)
        logits = streams.step(codes_B)
        torch.testing.assert_close(logits, parallel_logits(model, sequence), **EXACT)


@NETWORKS
@torch.no_grad()
def test_of_a_long_prompt_the_newest_context_counts(network_of):
    # A context shorter than WaveNet's receptive field.
    model = model_of(network_of(), context=12)
    prompt = codes_of(40)
    logits = SequenceStreams(model, prompt).distribution_BO
    assert torch.equal(SequenceStreams(model, prompt[:, -12:]).distribution_BO, logits)
    assert (SequenceStreams(model, prompt[:, -11:]).distribution_BO - logits).abs().max() > 1e-6
