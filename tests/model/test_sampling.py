import math
from functools import partial

import pytest
import torch

from model.sampling import BLOCK, Sampling, Uniforms, draw

PLAIN = Sampling()
JUST_BELOW_ONE = 1 - 2.0**-53


def grid_of(count):
    """Return uniforms (count,) in the middle of equal parts of [0, 1)."""
    return (torch.arange(count, dtype=torch.float64) + 0.5) / count


def counts_of(probabilities, sampling=PLAIN, count=1_000):
    """Return how often each code is drawn over a grid of uniforms."""
    logits = torch.tensor(probabilities, dtype=torch.float64).log().expand(count, -1)
    return draw(logits, grid_of(count), sampling).bincount(minlength=len(probabilities)).tolist()


def drawn(logits, uniforms, sampling=PLAIN):
    """Draw codes from the same logits (Q,) with each of these uniforms."""
    rows = logits.expand(len(uniforms), -1)
    return draw(rows, torch.as_tensor(uniforms, dtype=torch.float64), sampling).tolist()


def naive_draw(logits_Q, uniform, sampling):
    """Draw one code in plain Python: cut, then accumulate the probabilities."""
    weights = [math.exp(logit / sampling.temperature) for logit in logits_Q.tolist()]
    order = sorted(range(len(weights)), key=lambda code: -weights[code])
    kept = order[: sampling.top_k]
    if sampling.top_p is not None:
        total, reached, needed = sum(weights[code] for code in kept), 0.0, []
        for code in kept:
            if reached < sampling.top_p * total:
                needed.append(code)
            reached += weights[code]
        kept = needed
    if sampling.min_p is not None:
        kept = [code for code in kept if weights[code] >= sampling.min_p * weights[kept[0]]]
    if sampling.typical_p is not None:
        total = sum(weights[code] for code in kept)
        surprise = {code: -math.log(weights[code] / total) for code in kept}
        expected = sum(weights[code] / total * surprise[code] for code in kept)
        reached, needed = 0.0, []
        for code in sorted(kept, key=lambda code: abs(surprise[code] - expected)):
            if reached < sampling.typical_p:
                needed.append(code)
            reached += weights[code] / total
        kept = needed
    left = uniform * sum(weights[code] for code in kept)
    for code in sorted(kept):
        left -= weights[code]
        if left < 0:
            return code
    raise AssertionError("no code")


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(),
        Sampling(temperature=0.6),
        Sampling(temperature=1.7, top_k=20),
        Sampling(top_p=0.7),
        Sampling(temperature=1.3, top_k=30, top_p=0.8),
        Sampling(top_k=10**6, top_p=1.0),
        Sampling(min_p=0.1),
        Sampling(typical_p=0.6),
        Sampling(temperature=1.2, top_k=40, top_p=0.9, min_p=0.05, typical_p=0.8),
    ],
    ids=str,
)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_codes_are_those_of_a_walk_up_the_cumulative_probability(sampling, dtype):
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(300, 64, generator=generator, dtype=torch.float64).to(dtype)
    uniforms = torch.rand(300, generator=generator, dtype=torch.float64)
    expected = [
        naive_draw(row, uniform, sampling)
        for row, uniform in zip(logits, uniforms.tolist(), strict=True)
    ]
    assert draw(logits, uniforms, sampling).tolist() == expected


def test_a_grid_of_uniforms_draws_codes_in_proportion():
    assert counts_of([0.1, 0.0, 0.45, 0.25, 0.2, 0.0]) == [100, 0, 450, 250, 200, 0]


def test_drawn_uniforms_give_the_frequencies_of_the_probabilities():
    probabilities = torch.tensor([0.5, 0.05, 0.15, 0.3], dtype=torch.float64)
    uniforms = Uniforms(7, 1)
    numbers = torch.cat([uniforms.step() for _ in range(20_000)])
    found = torch.tensor(drawn(probabilities.log(), numbers)).bincount(minlength=4)
    expected = 20_000 * probabilities
    chi_square = ((found - expected) ** 2 / expected).sum().item()
    # The 0.999 quantile for three degrees of freedom.
    assert chi_square < 16.27


def test_temperature_zero_takes_the_likeliest_code_for_any_uniform():
    logits = torch.tensor([0.1, 3.0, -2.0, 2.9])
    assert drawn(logits, [0.0, 0.3, 0.999], Sampling(temperature=0)) == [1, 1, 1]


def test_a_low_temperature_sharpens_and_a_high_one_flattens():
    # Probabilities to the power of 1 / temperature: 1 : 4 becomes 1 : 16, and 1 : 2.
    assert counts_of([0.2, 0.8], Sampling(temperature=0.5), 1_700) == [100, 1_600]
    assert counts_of([0.2, 0.8], Sampling(temperature=2.0), 1_500) == [500, 1_000]


@pytest.mark.parametrize("temperature", [1e-6, 1e-39, 5e-324])
def test_a_temperature_close_to_zero_takes_the_likeliest_code(temperature):
    logits = torch.tensor([0.1, 3.0, -2.0, 2.9])
    assert drawn(logits, [0.0, 0.5, 0.999], Sampling(temperature=temperature)) == [1, 1, 1]


def test_top_k_keeps_the_k_likeliest_codes_in_proportion():
    probabilities = [0.1, 0.3, 0.05, 0.2, 0.35]
    assert counts_of(probabilities, Sampling(top_k=1)) == [0, 0, 0, 0, 1_000]
    assert counts_of(probabilities, Sampling(top_k=3), 850) == [0, 300, 0, 200, 350]
    assert counts_of(probabilities, Sampling(top_k=5)) == [100, 300, 50, 200, 350]
    assert counts_of(probabilities, Sampling(top_k=9)) == [100, 300, 50, 200, 350]


@pytest.mark.parametrize(
    ("top_p", "count", "expected"),
    [
        # 0.4 alone reaches 0.39 but not 0.41; the smallest set has at least the probability p.
        (0.01, 1_000, [0, 1_000, 0, 0]),
        (0.39, 1_000, [0, 1_000, 0, 0]),
        (0.41, 700, [0, 400, 300, 0]),
        (0.69, 700, [0, 400, 300, 0]),
        (0.71, 900, [200, 400, 300, 0]),
        (0.89, 900, [200, 400, 300, 0]),
        (0.91, 1_000, [200, 400, 300, 100]),
        (1.0, 1_000, [200, 400, 300, 100]),
    ],
)
def test_top_p_keeps_the_smallest_set_that_reaches_p(top_p, count, expected):
    assert counts_of([0.2, 0.4, 0.3, 0.1], Sampling(top_p=top_p), count) == expected


def test_a_share_that_is_reached_exactly_takes_no_further_code():
    assert counts_of([0.5, 0.5, 0.0, 0.0], Sampling(top_p=0.5)) == [1_000, 0, 0, 0]


def test_top_p_counts_probability_after_temperature_and_top_k():
    # Of 0.4 and 0.3 alone, 0.4 is 0.57.
    probabilities = [0.2, 0.4, 0.3, 0.1]
    assert counts_of(probabilities, Sampling(top_k=2, top_p=0.56)) == [0, 1_000, 0, 0]
    assert counts_of(probabilities, Sampling(top_k=2, top_p=0.58), 700) == [0, 400, 300, 0]
    # Squared, 0.4 is 16 / 30.
    assert counts_of(probabilities, Sampling(temperature=0.5, top_p=0.52)) == [0, 1_000, 0, 0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("sampling", [Sampling(), Sampling(top_k=40), Sampling(top_p=0.5)], ids=str)
def test_no_uniform_draws_a_code_without_probability(dtype, sampling):
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(500, 256, generator=generator)
    logits[:, [0, 1, 100, 254, 255]] = -torch.inf
    for uniform in (0.0, 2.0**-53, 0.5, 1 - 2.0**-25, JUST_BELOW_ONE):
        codes = draw(logits.to(dtype), torch.full((500,), uniform, dtype=torch.float64), sampling)
        assert set(codes.tolist()) <= set(range(2, 254)) - {100}


def test_the_lowest_and_the_highest_uniform_draw_the_lowest_and_the_highest_code():
    assert drawn(torch.zeros(256), [0.0, JUST_BELOW_ONE]) == [0, 255]
    assert drawn(torch.tensor([0.0, 0, 0, -torch.inf]), [JUST_BELOW_ONE]) == [2]


def numbers_of(uniforms, steps):
    return torch.stack([uniforms.step() for _ in range(steps)], 1)


def test_the_uniforms_of_a_stream_are_the_same_in_any_batch():
    steps = BLOCK + 10
    five = numbers_of(Uniforms(3, 5), steps)
    for batch in (1, 2, 4):
        assert torch.equal(numbers_of(Uniforms(3, batch), steps), five[:batch])


def test_the_uniforms_are_those_of_one_long_draw_beyond_a_block(monkeypatch):
    whole = numbers_of(Uniforms(3, 2), 2 * BLOCK + 5)
    for block in (1, 100, 3 * BLOCK):
        monkeypatch.setattr("model.sampling.BLOCK", block)
        assert torch.equal(numbers_of(Uniforms(3, 2), 2 * BLOCK + 5), whole)
    assert len(whole.unique()) == whole.numel()
    assert whole.dtype == torch.float64
    assert 0 <= whole.min() < 0.01 < 0.99 < whole.max() < 1


def test_seeds_and_streams_have_numbers_of_their_own():
    first = torch.stack([numbers_of(Uniforms(seed, 4), 2) for seed in range(100)])
    assert len(first[..., 0].unique()) == len(first[..., 1].unique()) == 400


def test_possible_values_have_no_problems():
    assert Sampling().problems() == []
    assert Sampling(temperature=0, top_k=1, top_p=1.0).problems() == []
    assert Sampling(temperature=2.5, top_k=1_000, top_p=1e-9).problems() == []


TEMPERATURE = partial("temperature is {}: write 0 (the likeliest code) or more, such as 1.0".format)
TOP_K = partial("top-k is {}: write 1 or more, or leave it out".format)
TOP_P = partial("top-p is {}: write more than 0 and at most 1, such as 0.95".format)

TYPICAL_P = partial("typical-p is {}: write more than 0 and at most 1, such as 0.95".format)
MIN_P = partial("min-p is {}: write 0 to 1, such as 0.05".format)


@pytest.mark.fault(
    "Configurations", "a temperature is below 0, or top-k is 0", "an error names the problem"
)
@pytest.mark.parametrize(
    ("name", "values", "sentence"),
    [
        ("temperature", (-0.1, math.inf, -math.inf, math.nan), TEMPERATURE),
        ("top_k", (0, -1), TOP_K),
        ("top_p", (0.0, -0.5, 1.01, math.inf, math.nan), TOP_P),
        ("typical_p", (0.0, 1.01, math.nan), TYPICAL_P),
        ("min_p", (-0.1, 1.01, math.nan), MIN_P),
    ],
)
def test_each_impossible_value_is_refused_with_the_reason(name, values, sentence):
    for value in values:
        assert Sampling(**{name: value}).problems() == [sentence(value)]


def test_all_problems_are_named_at_once():
    found = Sampling(temperature=-1.0, top_k=0, top_p=2.0).problems()
    assert found == [TEMPERATURE(-1.0), TOP_K(0), TOP_P(2.0)]
