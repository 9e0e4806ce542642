import dataclasses

import pytest
import torch

from model import network as network_module
from model.likelihood import code_nats
from model.network import LatentTransformer
from model.targets import Targets
from tests.helpers.architectures import small
from tests.helpers.networks import CAUSAL, PREDICTION, contexts_of, network_of, window_of


def at_context(network, context):
    """Return the same weights in a model of another context."""
    architecture = dataclasses.replace(network.architecture, context=context)
    other = LatentTransformer(architecture, PREDICTION).to(network.head.output.weight.dtype)
    own = dict(network.named_parameters())
    for name, _ in list(other.named_parameters()):
        module, _, leaf = name.rpartition(".")
        setattr(other.get_submodule(module), leaf, own[name])
    return other


def naive_nats(network, window_BT, targets, positions, phases):
    """Return the nats of each target from a window of exactly its own context."""
    a = network.architecture
    alone = Targets("last", a.chunk)
    losses = []
    for position, context in enumerate(contexts_of(targets, positions, a)):
        own_network = at_context(network, context)
        for phase in phases:
            end = targets.history(a) + position * targets.spacing + phase
            own = window_BT[:, end - context : end + 1]
            logits = own_network.logits(own, alone)[:, 0, 0]
            losses.append(code_nats(logits, own[:, -1].long()))
    return torch.stack(losses, 1).unflatten(1, (positions, len(phases)))


def check_against_naive(network, targets, positions, tolerance, monkeypatch, group):
    """Compare the loss, each target's nats and all gradients, in groups and as one graph."""
    monkeypatch.setitem(network_module.GROUPED_LATENTS, "cpu", group)
    window = window_of(network, targets, positions)
    phases = range(targets.phases)
    naive = naive_nats(network, window, targets, positions, phases)
    parameters = list(network.parameters())
    wanted = torch.autograd.grad(
        naive.mean(), parameters, allow_unused=True, materialize_grads=True
    )
    mean, each = network(window, targets)
    assert each.shape == (2, positions, targets.phases)
    torch.testing.assert_close(each, naive.detach(), rtol=0, atol=tolerance)
    torch.testing.assert_close(mean, naive.mean().detach(), rtol=0, atol=tolerance)
    found = torch.autograd.grad(mean, parameters, allow_unused=True, materialize_grads=True)
    for gradient, expected in zip(found, wanted, strict=True):
        torch.testing.assert_close(gradient, expected, rtol=0, atol=tolerance)
    with torch.no_grad():
        torch.testing.assert_close(network(window, targets)[1], each, rtol=0, atol=tolerance)


@pytest.mark.parametrize("group", [10**9, 12], ids=["whole", "in groups"])
@pytest.mark.parametrize("recent", [0, 64])
@pytest.mark.parametrize(
    ("chunk", "latents", "layers", "changes"),
    [
        (343, 6, 1, {}),
        (500, 3, 2, {"head_size": 6}),
        (777, 4, 2, {"attention": CAUSAL}),
        (1000, 2, 3, {}),
        (2000, 3, 2, {"head_size": 6}),
        (4000, 2, 2, {"attention": CAUSAL}),
    ],
)
def test_last_equals_the_naive_way_in_loss_and_gradient(
    monkeypatch, chunk, latents, layers, changes, recent, group
):
    network = network_of(
        chunk=chunk, context=latents * chunk, layers=layers, recent=recent, **changes
    )
    check_against_naive(network, Targets("last", chunk), 5, 1e-10, monkeypatch, group)


def test_targets_several_chunks_apart_equal_the_naive_way(monkeypatch):
    network = network_of(recent=64)
    check_against_naive(network, Targets("last", 1_500), 4, 1e-10, monkeypatch, 12)


@pytest.mark.parametrize("group", [10**9, 12], ids=["whole", "in groups"])
@pytest.mark.parametrize("recent", [0, 64])
@pytest.mark.parametrize(
    ("chunk", "latents", "layers"), [(343, 6, 1), (500, 3, 2), (777, 4, 3), (2000, 3, 2)]
)
def test_chunks_equals_the_naive_way_in_loss_and_gradient(
    monkeypatch, chunk, latents, layers, recent, group
):
    network = network_of(
        chunk=chunk, context=latents * chunk, layers=layers, recent=recent, attention=CAUSAL
    )
    targets = Targets("chunks", chunk)
    check_against_naive(network, targets, 2 * latents, 1e-10, monkeypatch, group)


@pytest.mark.parametrize("recent", [0, 64])
@pytest.mark.parametrize(
    ("chunk", "phases", "layers"), [(343, 7, 1), (500, 5, 2), (777, 37, 3), (1000, 8, 2)]
)
def test_samples_equals_the_naive_way_in_loss_and_gradient(
    monkeypatch, chunk, phases, layers, recent
):
    network = network_of(
        chunk=chunk, context=3 * chunk, layers=layers, recent=recent, attention=CAUSAL
    )
    targets = Targets("samples", chunk, phases)
    check_against_naive(network, targets, 3, 1e-10, monkeypatch, 12)


@pytest.mark.parametrize("chunk", [500, 2000, 4000])
def test_samples_at_every_phase_scores_every_sample_once_as_the_naive_way_does(chunk):
    network = network_of(chunk=chunk, context=2 * chunk, recent=64, attention=CAUSAL)
    targets = Targets("samples", chunk, chunk)
    window = window_of(network, targets, 4, batch=1)
    with torch.no_grad():
        _, each = network(window, targets)
        some = range(0, chunk, 97)
        expected = naive_nats(network, window, targets, 4, some)
    torch.testing.assert_close(each[:, :, ::97], expected, rtol=0, atol=1e-10)
    assert torch.equal(targets.codes(window, network.architecture).flatten(), window[0, chunk:])


@pytest.mark.parametrize(
    ("targets", "changes"),
    [
        (Targets("last", 500), {}),
        (Targets("last", 500), {"head_size": 6}),
        (Targets("chunks", 500), {"attention": CAUSAL}),
        (Targets("samples", 500, 20), {"attention": CAUSAL}),
    ],
)
def test_float32_stays_within_1e_5_of_the_naive_way(monkeypatch, targets, changes):
    network = network_of(torch.float32, recent=0, **changes)
    check_against_naive(network, targets, 4, 1e-5, monkeypatch, 12)


@pytest.mark.parametrize("recent", [0, 64])
@pytest.mark.parametrize(
    ("targets", "attention"),
    [
        (Targets("last", 500), "bidirectional"),
        (Targets("last", 500), CAUSAL),
        (Targets("chunks", 500), CAUSAL),
        (Targets("samples", 500, 10), CAUSAL),
    ],
)
def test_no_logit_depends_on_its_target_or_on_anything_later(targets, attention, recent):
    network = network_of(recent=recent, attention=attention)
    window = window_of(network, targets, 4, batch=1)
    logits = network.logits(window, targets)
    first = targets.history(network.architecture)
    for position in range(4):
        for phase in range(0, targets.phases, 3):
            target = first + position * 500 + phase
            changed = window.clone()
            changed[:, target:] ^= 255
            found = network.logits(changed, targets)
            torch.testing.assert_close(
                found[:, position, : phase + 1], logits[:, position, : phase + 1], rtol=0, atol=0
            )
            assert torch.equal(found[:, :position], logits[:, :position])
            changed = window.clone()
            changed[:, target - 1] ^= 128
            found = network.logits(changed, targets)
            assert not torch.equal(found[:, position, phase], logits[:, position, phase])


@pytest.mark.parametrize("targets", [Targets("chunks", 500), Targets("samples", 500, 10)])
def test_the_gradient_of_a_logit_reaches_its_own_chunks_and_no_newer_sample(targets):
    network = network_of(attention=CAUSAL)
    window = window_of(network, targets, 4, batch=1).double().requires_grad_()
    logits = network.logits(window, targets)
    for position in range(4):
        (reached,) = torch.autograd.grad(logits[0, position, -1].sum(), window, retain_graph=True)
        places = reached[0].nonzero().flatten()
        assert places.max() == 500 + position * 500 + targets.phases - 1 - 1
        # The strides skip a few samples at the oldest end of a chunk.
        assert targets.phases - 1 <= places.min() < targets.phases - 1 + 72


def test_a_logit_depends_on_its_context_and_on_nothing_older():
    network = network_of(recent=64)
    targets = Targets("last", 500)
    window = window_of(network, targets, 2, batch=1)
    logits = network.logits(window, targets)
    older = window.clone()
    older[:, :500] ^= 255
    assert torch.equal(network.logits(older, targets)[:, 1], logits[:, 1])
    assert not torch.equal(network.logits(older, targets)[:, 0], logits[:, 0])
    assert network.receptive_field == 2_000


def test_a_shorter_context_is_that_of_a_model_made_for_it():
    for changes in ({}, {"attention": CAUSAL}):
        network = network_of(**changes)
        targets = Targets("last", 1_000, context=1_000)
        window = window_of(network, targets, 3)
        expected = at_context(network, 1_000).logits(window, Targets("last", 1_000))
        found = network.logits(window, targets)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_an_impossible_architecture_is_refused():
    with pytest.raises(ValueError, match="write 1500 or 2000"):
        LatentTransformer(small(context=1_999))


def test_with_the_linear_start_the_first_logits_are_the_linear_predictors():
    network = LatentTransformer(small(recent=64), PREDICTION).double()
    window = torch.randint(100, 156, (1, 2_001), dtype=torch.uint8)
    probabilities = network.logits(window, Targets("last", 500))[0, 0, 0].exp()
    newest = window[0, 1_968:2_000].double().flip(0)
    centre = newest @ torch.tensor(PREDICTION.coefficients, dtype=torch.float64) + 2.0
    codes = torch.arange(1, 255, dtype=torch.float64)
    expected = torch.sigmoid((codes + 0.5 - centre) / 5) - torch.sigmoid((codes - 0.5 - centre) / 5)
    torch.testing.assert_close(probabilities[1:-1], expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("group", [10**9, 12], ids=["whole", "in groups"])
def test_autocast_leaves_the_linear_start_in_float32(monkeypatch, group):
    monkeypatch.setitem(network_module.GROUPED_LATENTS, "cpu", group)
    network = LatentTransformer(small(recent=64, attention=CAUSAL), PREDICTION)
    targets = Targets("samples", 500, 20)
    window = window_of(network, targets, 4)
    with torch.autocast("cpu", torch.bfloat16):
        mean, half = network(window, targets)
        mean.backward()
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, network(window, targets)[1], rtol=0, atol=1e-6)
    gradients = [weight.grad for weight in network.head.parameters()]
    assert all(gradient.dtype == torch.float32 for gradient in gradients)


def test_dropout_is_the_same_for_the_same_seed_in_groups_too(monkeypatch):
    monkeypatch.setitem(network_module.GROUPED_LATENTS, "cpu", 12)
    drops = {"dropout": 0.2, "encoder_dropout": 0.2, "head_dropout": 0.2, "token_drop": 0.2}
    network = network_of(attention=CAUSAL, **drops)
    targets = Targets("samples", 500, 20)
    window = window_of(network, targets, 4)
    losses = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        losses.append(network(window, targets)[0].item())
    assert losses[0] == losses[1] != losses[2]
