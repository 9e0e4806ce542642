import numpy as np
import pytest
import torch

from datasets.manifest import Reference
from datasets.references import discretised_logistic_nats, predict_centres
from model.linear import LinearPrediction, LinearPredictor, discretised_logistic

CENTRES = torch.tensor([-3.0, 0.2, 127.5, 200.1, 300.0], dtype=torch.float64)


@pytest.mark.parametrize("scale", [0.05, 1.0, 8.0, 400.0])
def test_the_discretised_logistic_is_a_distribution(scale):
    scales = torch.full_like(CENTRES, scale)
    total = discretised_logistic(CENTRES, scales, 256).exp().sum(-1)
    torch.testing.assert_close(total, torch.ones_like(total), rtol=0, atol=1e-10)


@pytest.mark.parametrize("scale", [1.0, 8.0, 400.0])
def test_the_discretised_logistic_equals_differences_of_sigmoids(scale):
    codes = torch.arange(256, dtype=torch.float64)
    upper = torch.sigmoid((codes + 0.5 - 127.3) / scale)
    lower = torch.sigmoid((codes - 0.5 - 127.3) / scale)
    upper[-1], lower[0] = 1, 0
    centre = torch.tensor([127.3], dtype=torch.float64)
    logarithms = discretised_logistic(centre, torch.full_like(centre, scale), 256)[0]
    torch.testing.assert_close(logarithms.exp(), upper - lower, rtol=0, atol=1e-12)


def test_far_tails_stay_finite_in_float32():
    logarithms = discretised_logistic(torch.tensor([0.0]), torch.tensor([0.05]), 256)
    assert torch.isfinite(logarithms).all()


def test_the_start_predicts_as_the_corpus_reference_does():
    generator = np.random.default_rng(0)
    coefficients = generator.normal(size=32) / 8
    reference = Reference(32, tuple(coefficients.tolist()), 3.5, 4.0)
    codes = generator.integers(0, 256, (1, 100))
    start = LinearPredictor(32, 256).double()
    start.load_fit(LinearPrediction(reference.coefficients, 3.5, 4.0))
    predicted, scale = start(torch.from_numpy(codes))
    expected = predict_centres(np.append(codes[0], 0), reference)
    np.testing.assert_allclose(predicted[0].detach(), expected, rtol=0, atol=1e-4)
    targets = generator.integers(0, 256, len(expected))
    logits = discretised_logistic(predicted[0], scale.expand(len(expected)), 256)
    np.testing.assert_allclose(
        -logits.detach()[np.arange(len(targets)), targets],
        discretised_logistic_nats(targets, expected, 4.0),
        rtol=0,
        atol=1e-4,
    )
