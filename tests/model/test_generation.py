import shutil
from itertools import islice

import pytest
import torch

from model.inference import generation
from model.inference.generation import generate
from model.linear import LinearPrediction
from model.sampling import Sampling, Uniforms, draw
from tests.helpers.baselines import NETWORKS, model_of
from tests.helpers.naive_models import parallel_logits
from tests.helpers.networks import CAUSAL, EVERY_MODEL, TINY, codes_of, naive_logits, network_of

PLAIN = Sampling()
GREEDY = Sampling(temperature=0)
NARROW = Sampling(temperature=0.9, top_k=50, top_p=0.95)
SHARP = Sampling(temperature=0.05)
"""For the baselines of the tests, whose logits are close together."""
NO_COMPILER = shutil.which("c++") is None and shutil.which("g++") is None


def lively(recent=64, **model):
    """Return a network whose continuations neither converge nor saturate at an extreme code."""
    network = network_of(recent=recent, **TINY, **model)
    if recent:
        torch.nn.init.normal_(network.head.output.weight, std=0.2)
        network.linear.load_fit(LinearPrediction([0.9, -0.8, *[0.0] * 30], 115.0, 12.0))
    return network


def generated(network, prompt, steps, seed=3, sampling=PLAIN, **options):
    """Return the codes (B, steps) of each continuation."""
    made = islice(generate(network, prompt, sampling, seed, **options), steps)
    return torch.stack([codes for codes, _ in made], 1)


def naive_loop(network, prompt, steps, seed, sampling, batch, logits_of=naive_logits):
    """Return the same by reading the whole sequence again for every code."""
    sequence = prompt[-network.architecture.context :].expand(batch, -1)
    uniforms, found = Uniforms(seed, batch), []
    for _ in range(steps):
        found.append(draw(logits_of(network, sequence), uniforms.step(), sampling))
        sequence = torch.cat([sequence, found[-1][:, None].to(sequence.dtype)], 1)
    return torch.stack(found, 1)


@EVERY_MODEL
@pytest.mark.parametrize(
    ("prompt", "recent", "sampling"),
    [
        (300, 64, PLAIN),
        (300, 64, GREEDY),
        (75, 64, NARROW),
        (75, 0, PLAIN),
        (300, 0, NARROW),
    ],
)
def test_codes_are_those_of_the_naive_loop(prompt, recent, sampling, model):
    network = lively(recent, **model)
    prompt = codes_of(1, prompt)[0]
    found = generated(network, prompt, 150, 3, sampling, batch=2)
    assert torch.equal(found, naive_loop(network, prompt, 150, 3, sampling, 2))
    assert len(found.unique()) > (20 if sampling.temperature else 5)


@EVERY_MODEL
def test_the_same_seed_gives_the_same_codes_and_another_seed_others(model):
    network = lively(**model)
    prompt = codes_of(1, 100)[0]
    codes = generated(network, prompt, 50)
    assert torch.equal(generated(network, prompt, 50), codes)
    assert (generated(network, prompt, 50, seed=4) != codes).float().mean() > 0.5


@EVERY_MODEL
def test_a_continuation_depends_on_its_seed_and_number_alone(model):
    network = lively(**model)
    prompt = codes_of(1, 100)[0]
    five = generated(network, prompt, 150, batch=5)
    for batch in (1, 3):
        assert torch.equal(generated(network, prompt, 150, batch=batch), five[:batch])
    assert all((one != five[0]).float().mean() > 0.5 for one in five[1:])


def test_a_codes_nats_are_those_of_the_logits_before_temperature_and_truncation():
    network, prompt = lively(), codes_of(1, 100)[0]
    for sampling in (PLAIN, GREEDY, NARROW):
        sequence = prompt.expand(2, -1)
        for codes, nats in islice(generate(network, prompt, sampling, 3, 2), 20):
            expected = -naive_logits(network, sequence).log_softmax(-1).gather(1, codes[:, None])
            torch.testing.assert_close(nats, expected[:, 0], rtol=0, atol=1e-9)
            sequence = torch.cat([sequence, codes[:, None].to(sequence.dtype)], 1)


@NETWORKS
@torch.no_grad()
def test_a_codes_nats_under_a_baseline_are_those_of_its_logits(network_of):
    model, sequence = model_of(network_of(), context=24), codes_of(1, 24)
    for codes, nats in islice(generate(model, sequence[0], SHARP, 3), 20):
        expected = -parallel_logits(model, sequence).log_softmax(-1).gather(1, codes[:, None])
        torch.testing.assert_close(nats, expected[:, 0], rtol=0, atol=1e-9)
        sequence = torch.cat([sequence, codes[:, None].to(sequence.dtype)], 1)


@NETWORKS
@torch.no_grad()
@pytest.mark.parametrize(("prompt", "sampling"), [(1, GREEDY), (24, SHARP), (50, SHARP)])
def test_codes_of_a_baseline_are_those_of_the_naive_loop(network_of, prompt, sampling):
    model = model_of(network_of(), context=24)
    prompt = codes_of(1, prompt)[0]
    found = generated(model, prompt, 40, 3, sampling, batch=2)
    expected = naive_loop(model, prompt, 40, 3, sampling, 2, parallel_logits)
    assert torch.equal(found, expected)
    # Other prompts have other continuations, so the codes show what was read.
    other = generated(model, 255 - prompt, 40, 3, sampling, batch=2)
    assert not torch.equal(found, other)


@NETWORKS
def test_a_baselines_continuation_depends_on_its_seed_and_number_alone(network_of):
    model = model_of(network_of(), context=24)
    prompt = codes_of(1, 50)[0]
    three = generated(model, prompt, 40, sampling=SHARP, batch=3)
    for batch in (1, 2, 3):
        again = generated(model, prompt, 40, sampling=SHARP, batch=batch)
        assert torch.equal(again, three[:batch])
    other = generated(model, prompt, 40, seed=4, sampling=SHARP, batch=3)
    assert (other != three).float().mean() > 0.5
    assert all((one != three[0]).float().mean() > 0.5 for one in three[1:])


def test_a_step_reads_the_code_that_was_drawn_before_it():
    network = lively()
    prompt = codes_of(1, 100)[0]
    codes = generated(network, prompt, 30, sampling=GREEDY)
    longer = torch.cat([prompt, codes[0, :10].to(prompt.dtype)])
    rest = generated(network, longer, 20, sampling=GREEDY)
    assert torch.equal(rest, codes[:, 10:])


def test_a_prompt_shorter_than_a_chunk_is_refused():
    with pytest.raises(ValueError, match="the prompt has 39 samples: a continuation needs 40"):
        next(generate(lively(recent=0), codes_of(1, 39)[0], PLAIN, 0))


@pytest.mark.slow
@pytest.mark.skipif(NO_COMPILER, reason="torch.compile needs a C++ compiler: no c++ and no g++")
@pytest.mark.parametrize(
    ("prompt", "recent", "model"),
    [
        # The context fills up during these steps.
        pytest.param(100, 64, {"head_size": 6}, id="folded"),
        pytest.param(300, 0, {"attention": CAUSAL}, id=CAUSAL),
    ],
)
def test_a_compiled_step_gives_the_codes_of_the_eager_one(monkeypatch, prompt, recent, model):
    compiled = []

    def compile_step(streams):
        compiled.append(streams)
        return step_of(streams)

    step_of = generation.compile_step
    monkeypatch.setattr(generation, "compile_step", compile_step)
    network, prompt = lively(recent, **model), codes_of(1, prompt)[0]
    eager = generated(network, prompt, 40, batch=2)
    assert not compiled
    assert torch.equal(generated(network, prompt, 40, batch=2, compiled=True), eager)
    assert len(compiled) == 1
