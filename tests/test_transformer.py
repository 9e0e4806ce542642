import torch

from model.transformer import Transformer, positions
from tests.architectures import small


def fully_computed(transformer: Transformer, latents_BND: torch.Tensor) -> torch.Tensor:
    """All latents of all layers, of which the newest is taken at the end."""
    x_BND = latents_BND + positions(*latents_BND.shape[1:]).to(latents_BND)
    for layer in transformer.layers:
        x_BND = layer(x_BND, x_BND)
    return x_BND[:, -1]


def test_the_last_layer_for_the_newest_latent_alone_equals_the_whole_layer():
    torch.manual_seed(0)
    for layers in (1, 3):
        transformer = Transformer(small(layers=layers)).double()
        latents = torch.randn(2, 7, 8, dtype=torch.float64)
        expected = fully_computed(transformer, latents)
        torch.testing.assert_close(transformer(latents), expected, rtol=0, atol=1e-12)


def test_a_latent_has_the_same_position_in_every_shorter_context():
    torch.testing.assert_close(positions(64, 8)[-5:], positions(5, 8), rtol=0, atol=0)


def test_positions_differ_from_one_latent_to_the_next():
    assert torch.cdist(positions(512, 48), positions(512, 48)).fill_diagonal_(1).min() > 0.1


def test_dropped_tokens_are_whole_latents_and_never_the_newest():
    transformer = Transformer(small(token_drop=0.5))
    torch.manual_seed(0)
    kept = transformer._drop_tokens(torch.ones(200, 6, 8))
    assert set(kept.sum(-1).unique().tolist()) == {0, 8}
    assert torch.equal(kept[:, -1], torch.ones(200, 8))
    assert 0.4 < (kept[:, :-1, 0] == 0).float().mean() < 0.6


def test_nothing_is_dropped_outside_training():
    transformer = Transformer(small(token_drop=0.5, dropout=0.5)).eval()
    latents = torch.randn(2, 6, 8)
    assert torch.equal(transformer(latents), transformer(latents))
