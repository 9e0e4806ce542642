"""Compare every order of attention's products with the textbook formula."""

import math

import pytest
import torch

from model.attention import Attention, AttentionView
from model.positions import rotate, rotations, turning_rates
from tests.helpers.architectures import small

# At width 8, heads of 3 use projected keys, and heads of 6 the latents themselves.
SIZES = [3, 6]


def attention_of(**changes):
    torch.manual_seed(0)
    return Attention(small(**changes)).double()


def directly(attention, queries_BMD, latents_BND, may_look):
    """Return attention by the formula, head by head; ``may_look(m, n)`` is the mask."""
    many, count = queries_BMD.shape[1], latents_BND.shape[1]
    query, key = attention.query(queries_BMD), attention.key(latents_BND)
    value = attention.value(latents_BND)
    size = query.shape[-1] // attention.heads
    outputs = torch.zeros_like(query)
    hidden = torch.tensor([[not may_look(m, n) for n in range(count)] for m in range(many)])
    for head in range(attention.heads):
        part = slice(head * size, (head + 1) * size)
        scores = query[..., part] @ key[..., part].transpose(1, 2) / math.sqrt(size)
        weights = scores.masked_fill(hidden, -math.inf).softmax(-1)
        outputs[..., part] = weights @ value[..., part]
    return attention.output(outputs)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("many", [1, 5])
def test_reading_equals_attention_as_it_is_written(size, many):
    attention = attention_of(head_size=size)
    assert attention.latents_are_keys == (size == 6)
    latents = torch.randn(3, 5, 8, dtype=torch.float64)
    queries = latents[:, -many:]
    expected = directly(attention, queries, latents, lambda m, n: True)
    found = attention(queries, latents)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    parameters = list(attention.parameters())
    wanted = torch.autograd.grad(expected.square().sum(), parameters)
    gradients = torch.autograd.grad(
        found.square().sum(), parameters, allow_unused=True, materialize_grads=True
    )
    for gradient, one in zip(gradients, wanted, strict=True):
        torch.testing.assert_close(gradient, one, rtol=0, atol=1e-10)


def test_a_mask_hides_what_a_causal_view_hides():
    attention = attention_of(attention="causal")
    latents = torch.randn(3, 5, 8, dtype=torch.float64)
    expected = directly(attention, latents, latents, lambda m, n: n <= m)
    for view in (AttentionView(causal=True), AttentionView(mask=torch.ones(5, 5).tril().bool())):
        found = attention(latents, latents, view)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("many", [1, 5])
def test_each_sequence_may_have_a_mask_of_its_own(size, many):
    attention = attention_of(head_size=size)
    latents = torch.randn(3, 5, 8, dtype=torch.float64)
    for rows in {1, many}:
        mask = torch.rand(3, 1, rows, 5) < 0.5
        mask[..., -1] = True
        expected = [
            directly(attention, own[None, -many:], own[None], lambda m, n, s=seen: s[m % len(s), n])
            for own, (seen,) in zip(latents, mask, strict=True)
        ]
        found = attention(latents[:, -many:], latents, AttentionView(mask=mask))
        torch.testing.assert_close(found, torch.cat(expected), rtol=0, atol=1e-12)


def test_rotated_scores_are_those_of_turned_latents():
    attention = attention_of(attention="causal", heads=1)
    latents = torch.randn(1, 5, 8, dtype=torch.float64)
    rotation = rotations(torch.arange(5), turning_rates(8))
    folded = attention.fold()
    query = rotate(latents @ folded.query.T + folded.query_bias, rotation)
    scores = (query @ rotate(latents, rotation).transpose(1, 2)).masked_fill(
        torch.ones(5, 5).triu(1).bool(), -math.inf
    )
    expected = (scores.softmax(-1) @ latents) @ folded.output.T + folded.output_bias
    found = attention(latents, latents, AttentionView(rotation, causal=True))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    newest = attention(latents[:, -1:], latents, AttentionView(rotation))
    torch.testing.assert_close(newest, expected[:, -1:], rtol=0, atol=1e-12)
