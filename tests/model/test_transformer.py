import pytest
import torch

from model.positions import sinusoids
from model.transformer import Transformer
from tests.helpers.architectures import small

SHAPES = [{}, {"head_size": 6}, {"attention": "causal"}]


def fully_computed(transformer, latents_BND):
    """Compute all latents in all layers, and return the newest."""
    x_BND = latents_BND
    if not transformer.causal:
        x_BND = x_BND + sinusoids(*latents_BND.shape[1:]).to(latents_BND)
        for layer in transformer.layers:
            x_BND = layer(x_BND, x_BND)
    else:
        x_BND = transformer.states(x_BND)[-1]
    return x_BND[:, -1]


@pytest.mark.parametrize("changes", SHAPES)
def test_the_last_layer_for_the_newest_latent_alone_equals_the_whole_layer(changes):
    torch.manual_seed(0)
    for layers, context in ((1, 3_500), (3, 3_500), (2, 2_000)):
        transformer = Transformer(small(layers=layers, context=context, **changes)).double()
        latents = torch.randn(2, 7, 8, dtype=torch.float64)
        expected = fully_computed(transformer, latents)
        torch.testing.assert_close(transformer.newest_output(latents), expected, rtol=0, atol=1e-12)
        folded = transformer.fold()
        torch.testing.assert_close(
            transformer.newest_output(latents, folded), expected, rtol=0, atol=1e-12
        )


def test_a_causal_latent_sees_itself_and_those_before_it_within_the_window():
    torch.manual_seed(0)
    transformer = Transformer(small(layers=1, attention="causal")).double()
    latents = torch.randn(1, 9, 8, dtype=torch.float64, requires_grad=True)
    outputs = transformer.states(latents)[-1]
    for number in range(9):
        (reached,) = torch.autograd.grad(outputs[0, number, 0], latents, retain_graph=True)
        seen = reached[0].abs().sum(-1).nonzero().flatten().tolist()
        # The context of 2,000 samples is 4 chunks of 500.
        assert seen == list(range(max(0, number - 3), number + 1))


def test_a_causal_model_gives_the_same_output_wherever_its_latents_begin():
    torch.manual_seed(0)
    transformer = Transformer(small(layers=2, attention="causal")).double()
    latents = torch.randn(1, 12, 8, dtype=torch.float64)
    states = transformer.states(latents)[-1]
    later = transformer.states(latents[:, 4:])[-1]
    torch.testing.assert_close(states[:, -1], later[:, -1], rtol=0, atol=1e-12)


@pytest.mark.parametrize("changes", SHAPES)
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_padded_latents_do_not_change_the_output(layers, changes):
    torch.manual_seed(0)
    # The causal model's window is 4 latents: a longer context is also masked to it.
    transformer = Transformer(small(layers=layers, **changes)).double()
    for count in (4, 7):
        latents = torch.randn(count, count, 8, dtype=torch.float64)
        real = torch.ones(count, count, dtype=torch.bool).triu()
        expected = [
            transformer.newest_output(own[None, first:]) for first, own in enumerate(latents)
        ]
        found = transformer.newest_output(latents, None, real)
        torch.testing.assert_close(found, torch.cat(expected), rtol=0, atol=1e-12)
        for first, own in enumerate(real):
            found = transformer.newest_output(latents[first, None], transformer.fold(), own[None])
            torch.testing.assert_close(found, expected[first], rtol=0, atol=1e-12)


@pytest.mark.parametrize("changes", SHAPES)
def test_no_query_is_left_without_keys(changes):
    transformer = Transformer(small(**changes))
    for count in (4, 7):
        real = torch.ones(count, count, dtype=torch.bool).triu()
        mask = transformer._view(torch.randn(count, count, 8), real).mask
        assert mask.any(-1).all()
        # At most, a masked latent attends to itself, and only in a causal model.
        seen = (mask & ~real[:, None, None]).expand(-1, -1, count, -1)
        itself = torch.eye(count, dtype=torch.bool)
        assert not (seen & ~itself).any()
        assert transformer.causal or not seen.any()


@pytest.mark.parametrize("changes", SHAPES)
def test_dropped_tokens_are_whole_latents_and_never_the_one_that_is_read(changes):
    transformer = Transformer(small(token_drop=0.5, **changes))
    torch.manual_seed(0)
    latents = torch.ones(200, 6, 8)
    kept = transformer._seen(latents) if transformer.causal else transformer._drop_tokens(latents)
    assert set(kept.sum(-1).unique().tolist()) == {0, 8}
    assert 0.4 < (kept[:, :-1, 0] == 0).float().mean() < 0.6
    if not transformer.causal:
        assert torch.equal(kept[:, -1], torch.ones(200, 8))
        assert transformer._seen(latents) is latents


@pytest.mark.parametrize("changes", SHAPES)
def test_nothing_is_dropped_outside_training(changes):
    transformer = Transformer(small(token_drop=0.5, dropout=0.5, **changes)).eval()
    latents = torch.randn(2, 6, 8)
    assert torch.equal(transformer.newest_output(latents), transformer.newest_output(latents))
