import pytest
import torch

from model.linear import LinearPrediction
from model.network import LatentTransformer, nats, window_targets
from tests.architectures import small

PREDICTION = LinearPrediction([1.5, -0.7, *[0.01] * 30], 2.0, 5.0)


def network_of(**changes):
    """A small network in float64 whose head is not silent, so that every part matters."""
    torch.manual_seed(0)
    network = LatentTransformer(small(**changes), PREDICTION).double()
    torch.nn.init.normal_(network.head.output.weight)
    return network


def naive_nats(network, window_BT, spacing):
    """Every target from a window of its own, one at a time: the twin of shared chunks."""
    context = network.architecture.context
    losses = []
    for end in range(context, window_BT.shape[1], spacing):
        own = window_BT[:, end - context : end + 1]
        losses.append(nats(network(own, spacing), own[:, -1:].long()))
    return torch.cat(losses, 1)


@pytest.mark.parametrize("recent", [0, 64])
@pytest.mark.parametrize(
    ("chunk", "latents", "layers"), [(343, 6, 1), (777, 4, 2), (1000, 2, 3), (2000, 3, 2)]
)
def test_shared_chunks_equal_the_naive_way_in_loss_and_gradient(chunk, latents, layers, recent):
    network = network_of(chunk=chunk, context=latents * chunk, layers=layers, recent=recent)
    window = torch.randint(0, 256, (2, latents * chunk + 4 * chunk + 1), dtype=torch.uint8)
    naive = naive_nats(network, window, chunk)
    expected = torch.autograd.grad(naive.mean(), list(network.parameters()))
    shared = nats(network(window, chunk), window_targets(window, latents * chunk, chunk))
    assert shared.shape == (2, 5)
    torch.testing.assert_close(shared, naive, rtol=0, atol=1e-10)
    found = torch.autograd.grad(shared.mean(), list(network.parameters()))
    for gradient, wanted in zip(found, expected, strict=True):
        torch.testing.assert_close(gradient, wanted, rtol=0, atol=1e-10)


def test_targets_several_chunks_apart_equal_the_naive_way():
    network = network_of(recent=64)
    window = torch.randint(0, 256, (2, 2_000 + 3 * 1_500 + 1), dtype=torch.uint8)
    shared = nats(network(window, 1_500), window_targets(window, 2_000, 1_500))
    expected = naive_nats(network, window, 1_500)
    torch.testing.assert_close(shared, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("recent", [0, 64])
def test_no_logit_depends_on_its_target_or_on_anything_later(recent):
    network = network_of(recent=recent)
    window = torch.randint(0, 256, (1, 2_000 + 3 * 500 + 1), dtype=torch.uint8)
    logits = network(window, 500)
    for target in range(4):
        changed = window.clone()
        changed[:, 2_000 + target * 500 :] ^= 255
        torch.testing.assert_close(
            network(changed, 500)[:, : target + 1], logits[:, : target + 1], rtol=0, atol=0
        )
        changed = window.clone()
        changed[:, 2_000 + target * 500 - 1] ^= 128
        assert not torch.equal(network(changed, 500)[:, target], logits[:, target])


def test_a_logit_depends_on_its_context_and_on_nothing_older():
    network = network_of(recent=64)
    window = torch.randint(0, 256, (1, 2_000 + 500 + 1), dtype=torch.uint8)
    logits = network(window, 500)
    older = window.clone()
    older[:, :500] ^= 255
    assert torch.equal(network(older, 500)[:, 1], logits[:, 1])
    assert not torch.equal(network(older, 500)[:, 0], logits[:, 0])
    assert network.receptive_field == 2_000


def test_a_window_of_the_wrong_length_is_refused_with_what_is_allowed():
    network = network_of()
    with pytest.raises(ValueError, match="context 2000"):
        network(torch.zeros(1, 2_400, dtype=torch.uint8), 500)


def test_an_impossible_architecture_is_refused():
    with pytest.raises(ValueError, match="write 1500 or 2000"):
        LatentTransformer(small(context=1_999))


def test_with_the_linear_start_the_first_logits_are_the_linear_predictors():
    network = LatentTransformer(small(recent=64), PREDICTION).double()
    window = torch.randint(100, 156, (1, 2_001), dtype=torch.uint8)
    probabilities = network(window, 500)[0, 0].exp()
    newest = window[0, 1_968:2_000].double().flip(0)
    centre = newest @ torch.tensor(PREDICTION.coefficients, dtype=torch.float64) + 2.0
    codes = torch.arange(1, 255, dtype=torch.float64)
    expected = torch.sigmoid((codes + 0.5 - centre) / 5) - torch.sigmoid((codes - 0.5 - centre) / 5)
    torch.testing.assert_close(probabilities[1:-1], expected, rtol=0, atol=1e-6)


def test_autocast_leaves_the_linear_start_in_float32():
    network = LatentTransformer(small(recent=64), PREDICTION)
    window = torch.randint(0, 256, (2, 2_001), dtype=torch.uint8)
    with torch.autocast("cpu", torch.bfloat16):
        half = network(window, 500)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, network(window, 500), rtol=0, atol=1e-6)
