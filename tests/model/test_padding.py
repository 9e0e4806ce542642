"""Compare windows that begin before their recording with windows of the shorter contexts."""

import pytest
import torch

from model import network as network_module
from model.likelihood import code_nats
from model.targets import Targets
from tests.helpers.networks import CAUSAL, network_of, window_of

CHUNK, LATENTS = 80, 4
TINY = {"chunk": CHUNK, "context": LATENTS * CHUNK, "filters": (6, 5), "strides": (2, 3)}
# No padding, part of a chunk, whole chunks, one sample more, and all but one chunk.
PADDING = torch.tensor([0, 13, 80, 160, 161, 240])
EVERY_MODEL = pytest.mark.parametrize(
    "model", [{}, {"head_size": 6}, {"attention": CAUSAL}], ids=["plain", "folded", CAUSAL]
)
EVERY_GROUPING = pytest.mark.parametrize("group", [10**9, 12], ids=["whole", "in groups"])


def padded_window(network, targets, positions, padding=PADDING, filler=0):
    """Return windows whose oldest samples are padding, drawn by the seed ``filler``."""
    window = window_of(network, targets, positions, len(padding))
    other = window_of(network, targets, positions, len(padding), seed=100 + filler)
    return torch.where(torch.arange(window.shape[1]) < padding[:, None], other, window)


def naive_nats(network, window_BT, targets, positions, padding_B):
    """Return the nats of each target alone, from its context's whole chunks without padding."""
    a = network.architecture
    losses = []
    for window_T, padding in zip(window_BT, padding_B.tolist(), strict=True):
        for position in range(positions):
            end = targets.history(a) + position * targets.spacing
            real = targets.history(a) - max(0, padding - position * targets.spacing)
            context = real // a.chunk * a.chunk
            own = window_T[None, end - context : end + 1]
            logits = network.logits(own, Targets("last", a.chunk, context=context))[:, 0, 0]
            losses.append(code_nats(logits, own[:, -1].long()))
    return torch.cat(losses).view(len(window_BT), positions, 1)


def check_against_naive(network, targets, positions, tolerance=1e-10):
    """Compare loss, each target's nats, all gradients and logits, with and without a graph."""
    window = padded_window(network, targets, positions)
    naive = naive_nats(network, window, targets, positions, PADDING)
    parameters = list(network.parameters())
    wanted = torch.autograd.grad(
        naive.mean(), parameters, allow_unused=True, materialize_grads=True
    )
    mean, each = network(window, targets, PADDING)
    torch.testing.assert_close(each, naive.detach(), rtol=0, atol=tolerance)
    torch.testing.assert_close(mean, naive.mean(), rtol=0, atol=tolerance)
    found = torch.autograd.grad(mean, parameters, allow_unused=True, materialize_grads=True)
    for gradient, expected in zip(found, wanted, strict=True):
        torch.testing.assert_close(gradient, expected, rtol=0, atol=tolerance)
    codes = targets.codes(window, network.architecture)
    logits = network.logits(window, targets, PADDING)
    torch.testing.assert_close(code_nats(logits, codes), naive, rtol=0, atol=tolerance)
    with torch.no_grad():
        _, each = network(window, targets, PADDING)
    torch.testing.assert_close(each, naive.detach(), rtol=0, atol=tolerance)


@EVERY_GROUPING
@pytest.mark.parametrize("recent", [0, 64])
@pytest.mark.parametrize("layers", [1, 2, 3])
@EVERY_MODEL
def test_padding_equals_the_context_without_it_in_loss_and_gradient(
    monkeypatch, model, layers, recent, group
):
    monkeypatch.setitem(network_module.GROUPED_LATENTS, "cpu", group)
    network = network_of(layers=layers, recent=recent, **TINY, **model)
    for spacing, positions in ((CHUNK, 1), (CHUNK, 5), (2 * CHUNK, 3), (5 * CHUNK, 2)):
        check_against_naive(network, Targets("last", spacing), positions)


@EVERY_MODEL
def test_float32_stays_within_1e_5_of_the_context_without_padding(monkeypatch, model):
    monkeypatch.setitem(network_module.GROUPED_LATENTS, "cpu", 12)
    network = network_of(torch.float32, **TINY, **model)
    check_against_naive(network, Targets("last", CHUNK), 4, 1e-5)


@EVERY_MODEL
def test_a_context_beyond_the_models_is_padded_as_well(model):
    network = network_of(layers=3, **TINY, **model)
    check_against_naive(network, Targets("last", CHUNK, context=7 * CHUNK), 3)


@EVERY_MODEL
def test_a_thousand_latents_of_padding_do_not_disturb_fused_attention(model):
    # Fused kernels read keys in blocks of some hundred: here whole blocks are masked.
    network = network_of(layers=3, chunk=8, context=1_200 * 8, filters=(3,), strides=(2,), **model)
    targets, padding = Targets("last", 8), torch.tensor([1_100 * 8 - 3, 0])
    window = padded_window(network, targets, 1, padding)
    naive = naive_nats(network, window, targets, 1, padding)
    mean, each = network(window, targets, padding)
    torch.testing.assert_close(each, naive.detach(), rtol=0, atol=1e-10)
    parameters = list(network.encoder.parameters())
    found = torch.autograd.grad(mean, parameters)
    wanted = torch.autograd.grad(naive.mean(), parameters)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-10)


@EVERY_GROUPING
@pytest.mark.parametrize("recent", [0, 64])
@EVERY_MODEL
def test_filler_changes_no_bit_of_a_loss_a_logit_or_a_gradient(monkeypatch, model, recent, group):
    monkeypatch.setitem(network_module.GROUPED_LATENTS, "cpu", group)
    drops = {"dropout": 0.2, "head_dropout": 0.2, "token_drop": 0.2, "encoder_dropout": 0.2}
    targets = Targets("last", CHUNK)
    for network in (
        network_of(layers=3, recent=recent, **TINY, **model),
        network_of(layers=3, recent=recent, **TINY | drops, **model),
    ):
        results = []
        for filler in range(2):
            window = padded_window(network, targets, 3, filler=filler)
            torch.manual_seed(0)
            mean, each = network(window, targets, PADDING)
            logits = network.logits(window, targets, PADDING)
            gradients = torch.autograd.grad(
                mean, list(network.parameters()), allow_unused=True, materialize_grads=True
            )
            with torch.no_grad():
                _, unrecorded = network(window, targets, PADDING)
            results.append([mean, each, logits, unrecorded, *gradients])
        for one, other in zip(*results, strict=True):
            assert one.isfinite().all()
            assert torch.equal(one, other)


@pytest.mark.fault(
    "Numbers",
    "all of a context but one chunk is padding, in bfloat16",
    "no gradient is NaN",
)
@EVERY_MODEL
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_no_gradient_is_nan_at_the_most_padding_in_half_precision_either(model, dtype):
    network = network_of(torch.float32, layers=3, recent=64, dropout=0.1, **TINY, **model)
    targets = Targets("last", CHUNK)
    padding = torch.tensor([240, 240])
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        mean, _ = network(padded_window(network, targets, 1, padding), targets, padding)
    mean.backward()
    used = [weight.grad for weight in network.parameters() if weight.grad is not None]
    assert len(used) > 20
    assert all(gradient.isfinite().all() for gradient in used)


@EVERY_MODEL
def test_no_padding_is_none(model):
    network = network_of(recent=64, **TINY, **model)
    targets = Targets("last", CHUNK)
    window = window_of(network, targets, 3)
    for found, expected in zip(
        network(window, targets, torch.tensor([0, 0])), network(window, targets), strict=True
    ):
        assert torch.equal(found, expected)
    # Next to a padded window another kernel runs, with the same results.
    found = network.logits(window, targets, torch.tensor([0, 100]))[0]
    expected = network.logits(window, targets)[0]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("targets", [Targets("chunks", CHUNK), Targets("samples", CHUNK, 7)])
def test_targets_that_begin_with_one_chunk_are_not_padded(targets):
    network = network_of(attention=CAUSAL, **TINY)
    window = window_of(network, targets, LATENTS)
    with pytest.raises(ValueError, match=f"windows of {targets.mode} targets cannot be padded"):
        network(window, targets, torch.tensor([0, 0]))


@pytest.mark.parametrize(
    ("recent", "least", "padding", "sentence"),
    [
        (0, 80, [0, 241], "begin with 0 to 241 samples of padding: 0 to 240 are allowed"),
        (0, 80, [-1, 9], "begin with -1 to 9 samples of padding: 0 to 240 are allowed"),
        (100, 100, [221, 9], "begin with 9 to 221 samples of padding: 0 to 220 are allowed"),
    ],
)
def test_padding_that_leaves_no_whole_chunk_or_no_recent_samples_is_refused(
    recent, least, padding, sentence
):
    network = network_of(recent=recent, **TINY)
    targets = Targets("last", CHUNK)
    window = window_of(network, targets, 2)
    for call in (network, network.logits):
        expected = rf"{sentence}\. The first target needs {least} real samples"
        with pytest.raises(ValueError, match=expected):
            call(window, targets, torch.tensor(padding))
    most = torch.tensor([LATENTS * CHUNK - least, 0])
    assert network(window, targets, most)[0].isfinite()


def test_recent_samples_beyond_the_whole_chunks_are_read():
    network = network_of(recent=100, **TINY)
    targets, padding = Targets("last", CHUNK), torch.tensor([200])
    window = window_of(network, targets, 1, batch=1)
    expected = network.logits(window, targets, padding)
    for sample, matters in ((199, False), (219, False), (225, True), (240, True)):
        changed = window.clone()
        changed[:, sample] ^= 255
        assert torch.equal(network.logits(changed, targets, padding), expected) != matters
