"""Compare the nats of codes from silence with each code alone in its own context."""

import pytest
import torch

from model.inference import dense as dense_module
from model.inference.dense import nats_from_silence
from tests.helpers.baselines import NETWORKS, model_of, stepped
from tests.helpers.naive_models import naive_nats
from tests.helpers.networks import EVERY_MODEL, TINY, network_of, signal_of

LONGER = {**TINY, "chunk": 80, "context": 240}
SINGLE = {**TINY, "chunk": 80, "context": 80}
"""Chunks longer than the recent samples, unlike those of ``TINY``."""


@pytest.fixture(autouse=True)
def several_groups(monkeypatch):
    """Read a few phases of a signal, and a few of their contexts, at a time."""
    monkeypatch.setattr(dense_module, "SHARED_CONTEXTS", 3)
    monkeypatch.setitem(dense_module.GROUPED_LATENTS, "cpu", 20)


@EVERY_MODEL
@torch.no_grad()
@pytest.mark.parametrize("recent", [0, 64])
@pytest.mark.parametrize(("sizes", "layers"), [(TINY, 3), (LONGER, 1), (SINGLE, 2)])
def test_every_code_is_scored_as_alone_from_the_chunks_that_end_before_it(
    sizes, recent, layers, model
):
    network = network_of(recent=recent, layers=layers, **sizes, **model)
    chunk, context = network.architecture.chunk, network.architecture.context
    # Twice the context plus part of a chunk: most codes have more than N chunks before them.
    codes = signal_of(2 * context + 33)
    expected = naive_nats(network, codes)
    for length in (1, chunk - 1, chunk, chunk + 1, context, context + 1, len(codes)):
        found = nats_from_silence(network, codes[:length])
        torch.testing.assert_close(found, expected[:length], rtol=0, atol=1e-10)


@EVERY_MODEL
def test_the_chunks_beyond_a_context_are_not_seen(model):
    network = network_of(recent=64, layers=3, **TINY, **model)
    codes = signal_of(300)
    other = codes.clone()
    other[:50] = 255 - other[:50]
    before, after = nats_from_silence(network, codes), nats_from_silence(network, other)
    torch.testing.assert_close(after[50 + 120 :], before[50 + 120 :], rtol=0, atol=1e-12)
    moved = (after - before).abs()[50:]
    assert moved[: 120 - 40].max() > 1e-6


@EVERY_MODEL
@pytest.mark.parametrize("changed", [0, 41, 150, 299])
def test_no_code_is_scored_from_a_later_one(model, changed):
    network = network_of(recent=64, layers=3, **TINY, **model)
    codes = signal_of(300)
    other = codes.clone()
    other[changed:] = 255 - other[changed:]
    before, after = nats_from_silence(network, codes), nats_from_silence(network, other)
    torch.testing.assert_close(after[:changed], before[:changed], rtol=0, atol=1e-12)
    assert (after[changed:] != before[changed:]).all()


@EVERY_MODEL
@pytest.mark.parametrize("latents", [1, 7, 10**9])
def test_how_many_latents_are_read_together_changes_no_nats(monkeypatch, model, latents):
    network = network_of(recent=64, **TINY, **model)
    codes = signal_of(300)
    expected = nats_from_silence(network, codes)
    monkeypatch.setitem(dense_module.GROUPED_LATENTS, "cpu", latents)
    found = nats_from_silence(network, codes)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


@EVERY_MODEL
def test_codes_of_another_integer_type_are_scored_the_same_and_dropout_is_off(model):
    drops = {"dropout": 0.5, "encoder_dropout": 0.5, "head_dropout": 0.5, "token_drop": 0.5}
    codes = signal_of(130)
    expected = nats_from_silence(network_of(**TINY, **model), codes)
    dropping = network_of(**TINY, **model, **drops).train()
    assert torch.equal(nats_from_silence(dropping, codes.long()), expected)


@NETWORKS
@torch.no_grad()
@pytest.mark.parametrize("length", [1, 24, 77])
def test_a_baseline_reads_all_of_the_signal_from_silence_on(network_of, length):
    # The context differs, and has no effect here.
    model = model_of(network_of(), context=24)
    codes = signal_of(length)
    logits_TQ = stepped(model.network, codes[None].long())[0]
    shares_TQ = logits_TQ.exp() / logits_TQ.exp().sum(1, keepdim=True)
    expected = -shares_TQ[torch.arange(length), codes.long()].log()
    found = nats_from_silence(model, codes)
    assert found.shape == (length,)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)
