"""Compare likelihoods with slow reference code, and all ways to a code's nats with each other."""

import math
from itertools import islice

import numpy as np
import pytest
import torch
from torch.nn import functional

from model.codes import codes_tensor
from model.inference.dense import dense_nats, nats_from_silence
from model.inference.generation import generate
from model.inference.streams import Streams
from model.likelihood import Categorical, LogisticMixture, MeanSquare
from model.linear import LinearPrediction
from model.network import LatentTransformer
from model.recent import RecentOutput
from model.sampling import Sampling, Uniforms, draw
from model.targets import Targets
from tests.helpers.architectures import small
from tests.helpers.networks import network_of

FINE = 65_536
KINDS = ("logistic_mixture", "mean_square")
EVERY_KIND = pytest.mark.parametrize("kind", KINDS)
TINY = {"chunk": 80, "context": 240, "filters": (6, 5), "strides": (2, 3)}


def shape_of(kind, levels=FINE, **changes):
    return small(likelihood=kind, levels=levels, **changes)


def likelihood_of(kind, levels=FINE, **changes):
    made = {"logistic_mixture": LogisticMixture, "mean_square": MeanSquare}[kind]
    return made(shape_of(kind, levels, **changes)).double()


def distribution_of(likelihood, batch=3, recent=None, spread=0.3, seed=0):
    """Return the distribution of a head's random output."""
    generator = torch.Generator().manual_seed(seed)
    outputs = 1 if isinstance(likelihood, MeanSquare) else 3 * likelihood.components
    output = torch.randn(batch, outputs, generator=generator, dtype=torch.float64)
    return likelihood(spread * output, recent)


def beside_a_prediction(values, scale):
    """Return a recent-sample path's output without its summand."""
    predicted = torch.tensor(values, dtype=torch.float64)
    return RecentOutput(torch.zeros(len(values), 1), predicted, torch.tensor([scale]).double())


@pytest.mark.parametrize("recent", [None, (31_000.0, 200.5, 65_534.0)])
@pytest.mark.parametrize("components", [1, 2, 10])
def test_a_mixture_is_a_distribution_over_all_codes(components, recent):
    recent = recent and beside_a_prediction(recent, 40.0)
    mixture = likelihood_of("logistic_mixture", components=components)
    distribution = distribution_of(mixture, recent=recent)
    codes = torch.arange(FINE)[:, None]
    probabilities = torch.exp(-mixture.nats(distribution[None], codes))
    assert (probabilities.sum(0) - 1).abs().max() < 1e-10
    torch.testing.assert_close(
        mixture.logits(distribution).exp().T, probabilities, rtol=1e-9, atol=0
    )


def test_a_mixtures_nats_are_those_of_sums_of_sigmoids():
    mixture = likelihood_of("logistic_mixture", components=3)
    distribution = distribution_of(mixture)
    weights, centres, log_scales = distribution.split(3, -1)
    for code in (0, 1, 20_000, 32_768, FINE - 2, FINE - 1):
        for row in range(len(distribution)):
            total = 0.0
            for part in range(3):
                scale = math.exp(log_scales[row, part])
                low = torch.sigmoid((code - 0.5 - centres[row, part]) / scale)
                high = torch.sigmoid((code + 0.5 - centres[row, part]) / scale)
                low = 0.0 if code == 0 else low
                high = 1.0 if code == FINE - 1 else high
                total += weights[row].softmax(0)[part] * (high - low)
            found = mixture.nats(distribution[row], torch.tensor(code))
            assert math.isclose(found, -math.log(total), rel_tol=1e-6)


@pytest.mark.parametrize("levels", [256, FINE])
def test_a_code_found_by_bisection_is_the_one_drawn_from_all_logits(levels):
    mixture = likelihood_of("logistic_mixture", levels)
    uniform = torch.rand(80, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    uniform[:3] = torch.tensor([0.0, 1e-12, 1 - 1e-12], dtype=torch.float64)
    distribution = distribution_of(mixture, batch=80)
    found = mixture.draw(distribution, uniform, Sampling())
    assert torch.equal(found, draw(mixture.logits(distribution), uniform, Sampling()))
    assert len(found.unique()) > 40


def test_a_mixture_can_be_sharpened_and_cut():
    mixture = likelihood_of("logistic_mixture", 256)
    distribution, uniform = distribution_of(mixture), torch.tensor([0.1, 0.5, 0.9])
    for sampling in (Sampling(temperature=0.5), Sampling(top_k=3), Sampling(temperature=0)):
        expected = draw(mixture.logits(distribution), uniform, sampling)
        assert torch.equal(mixture.draw(distribution, uniform, sampling), expected)
    assert torch.equal(expected, mixture.logits(distribution).argmax(-1))


def test_components_that_begin_alike_do_not_stay_alike():
    shape = shape_of("logistic_mixture", components=4, recent=64, **TINY)
    network = LatentTransformer(shape, LinearPrediction([0.0] * 32, 30_000.0, 10_000.0))
    loss, _ = network(codes_of(1, 481), Targets("last", 80))
    loss.backward()
    rows = network.head.output.bias.grad.view(3, 4)
    assert all(len(row.unique()) == 4 for row in rows[1:])


@pytest.mark.parametrize("recent", [None, (31_000.0, 25_000.5, 40_000.0)])
def test_a_mean_square_is_a_distribution_over_the_codes_around_its_value(recent):
    recent = recent and beside_a_prediction(recent, 0.001)
    square = likelihood_of("mean_square", recent=64 if recent else 0)
    if not recent:
        square.log_scale.data.fill_(-10.0)
    distribution = distribution_of(square, recent=recent)
    assert distribution[:, 1].exp().min() >= 1
    codes = torch.arange(FINE)[:, None]
    probabilities = torch.exp(-square.nats(distribution[None], codes))
    assert (probabilities.sum(0) - 1).abs().max() < 1e-8
    torch.testing.assert_close(
        square.logits(distribution).exp().T, probabilities, rtol=1e-9, atol=1e-300
    )


def test_a_mean_squares_nats_give_the_mean_squared_error_and_its_gradient():
    square = likelihood_of("mean_square")
    output = torch.tensor([[0.1], [-0.2], [0.05]], dtype=torch.float64, requires_grad=True)
    codes = torch.tensor([40_000, 20_000, 33_000])
    distribution = square(output, None)
    nats = square.nats(distribution, codes).mean()
    (gradient,) = torch.autograd.grad(nats, output)
    values = (FINE - 1) / 2 + FINE / 2 * output
    error = functional.mse_loss(values[:, 0], codes.double())
    (of_error,) = torch.autograd.grad(error, output)
    scale = float(distribution[0, 1].detach().exp())
    torch.testing.assert_close(gradient, of_error / (2 * scale**2), rtol=1e-10, atol=0)
    recovered = 2 * scale**2 * (nats - math.log(scale) - math.log(2 * math.pi) / 2)
    assert math.isclose(recovered.detach(), error.detach(), rel_tol=1e-9)


def test_the_scale_of_a_mean_square_becomes_the_root_of_the_mean_squared_error():
    square = likelihood_of("mean_square")
    errors = 300 * torch.randn(4_000, generator=torch.Generator().manual_seed(0)).double()
    codes = (FINE / 2 + errors).round()
    optimizer = torch.optim.Adam(square.parameters(), 0.01)
    for _ in range(300):
        loss = square.nats(square(torch.zeros(1, 1).double(), None), codes).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    scale = float(square(torch.zeros(1, 1).double(), None)[0, 1].exp())
    assert math.isclose(scale, (codes - (FINE - 1) / 2).pow(2).mean().sqrt(), rel_tol=0.01)


def codes_of(batch, length, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, FINE, (batch, length), dtype=torch.int32, generator=generator)


@EVERY_KIND
@pytest.mark.parametrize("recent", [0, 64])
@pytest.mark.parametrize("attention", ["bidirectional", "causal"])
def test_all_ways_to_the_nats_of_a_code_agree(kind, recent, attention):
    network = network_of(
        likelihood=kind, levels=FINE, recent=recent, attention=attention, **TINY
    ).eval()
    codes = codes_of(1, 264)
    dense = torch.cat(list(dense_nats(network, [codes[0, :100], codes[0, 100:]])))
    windows = codes.unfold(1, 241, 1)[0]
    direct = network(windows, Targets("last", 80))[1].flatten()
    torch.testing.assert_close(dense, direct, rtol=0, atol=1e-9)
    logits = network.logits(windows, Targets("last", 80))[:, 0, 0]
    of_logits = -logits.gather(-1, windows[:, -1:].long())[:, 0]
    torch.testing.assert_close(of_logits, direct, rtol=1e-9, atol=1e-9)
    streams = Streams(network, codes[:, :240].long())
    distribution, stepped = streams.distribution_BO, []
    for code in codes[:, 240:].long().unbind(1):
        stepped.append(network.head.likelihood.nats(distribution, code))
        distribution = streams.step(code)
    torch.testing.assert_close(torch.cat(stepped), dense, rtol=1e-9, atol=1e-9)


@EVERY_KIND
def test_nats_from_silence_equal_those_of_single_windows(kind):
    network = network_of(likelihood=kind, levels=FINE, recent=64, **TINY).eval()
    codes = codes_of(1, 400)[0]
    found = nats_from_silence(network, codes)
    direct = network(codes[None, -241:], Targets("last", 80))[1].flatten()
    torch.testing.assert_close(found[-1:], direct, rtol=0, atol=1e-9)


@EVERY_KIND
def test_a_continuation_is_drawn_from_the_logits_of_its_own_past(kind):
    network = network_of(likelihood=kind, levels=FINE, recent=64, **TINY).eval()
    prompt = codes_of(1, 240)[0].long()
    made = list(islice(generate(network, prompt, Sampling(), 3), 6))
    uniforms, known = Uniforms(3, 1), prompt
    for code, cost in made:
        window = torch.cat([known[-240:], known[-1:]])[None]
        logits = network.logits(window, Targets("last", 80))[:, 0, 0]
        assert torch.equal(code, draw(logits, uniforms.step(), Sampling()))
        direct = network(torch.cat([known[-240:], code])[None], Targets("last", 80))[1]
        torch.testing.assert_close(cost, direct.flatten(), rtol=0, atol=1e-9)
        known = torch.cat([known, code])


@EVERY_KIND
def test_beside_a_linear_prediction_the_first_loss_is_near_the_linear_reference(kind):
    prediction = LinearPrediction([0.9] + [0.0] * 31, 3_276.8, 50.0)
    network = LatentTransformer(shape_of(kind, recent=64, **TINY), prediction)
    generator = torch.Generator().manual_seed(0)
    codes, value = [], FINE / 2
    for noise in torch.randn(2_001, generator=generator).tolist():
        value = 0.9 * value + 3_276.8 + 90 * noise
        codes.append(round(value))
    window = torch.tensor([codes], dtype=torch.int32)
    loss = float(network(window, Targets("last", 80))[0])
    entropy = math.log(90) + math.log(2 * math.pi * math.e) / 2
    assert entropy - 0.2 < loss < entropy + 0.2


def test_a_categorical_head_of_many_levels_is_refused():
    (problem,) = small(levels=FINE).problems()
    assert "too many for a logit each (up to 256): write model.likelihood=logistic_mix" in problem
    assert all(shape_of(kind).problems() == [] for kind in KINDS)
    assert Categorical(small()).logits(torch.ones(2, 256)).shape == (2, 256)


def test_sixteen_bit_codes_become_a_type_that_torch_computes_with():
    fine = np.array([0, 40_000, 65_535], np.uint16)
    assert codes_tensor(fine).tolist() == [0, 40_000, 65_535]
    assert (codes_tensor(fine) < 50_000).tolist() == [True, True, False]
    coarse = np.array([0, 255], np.uint8)
    assert codes_tensor(coarse).dtype == torch.uint8
