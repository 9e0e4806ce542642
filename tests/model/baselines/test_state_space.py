import math

import pytest
import torch
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode

from model.baselines.shapes import kernel_products
from model.baselines.state_space import StateSpace, hippo, legendre


def space_of(channels=3, state=8, dtype=torch.float64):
    """Return a state space with perturbed weights, so that no part cancels by symmetry."""
    torch.manual_seed(0)
    space = StateSpace(channels, state).to(dtype)
    with torch.no_grad():
        for weight in space.parameters():
            weight += 0.1 * torch.randn_like(weight)
    return space


def as_complex(pairs):
    return torch.view_as_complex(pairs.detach())


def both(complex_M):
    """Return all N numbers: the stored ones and their conjugates."""
    return torch.cat([complex_M, complex_M.conj()], -1)


def dense_systems(space):
    """Return the dense complex Abar, Bbar and C of each channel, from their definitions."""
    eigenvalues = both(torch.complex(-space.decay.exp(), space.frequency).detach())
    low_rank = both(as_complex(space.low_rank))
    matrix = eigenvalues.diag() - low_rank.outer(low_rank.conj())
    identity = torch.eye(len(matrix), dtype=matrix.dtype)
    for step, output in zip(space.step_logarithm.exp(), as_complex(space.output), strict=True):
        inverse = torch.linalg.inv(identity - step / 2 * matrix)
        transition = inverse @ (identity + step / 2 * matrix)
        yield transition, inverse @ (step * both(as_complex(space.input))), both(output)


def run(space, input_BDT):
    """Run the recurrence sample by sample with dense complex matrices."""
    outputs_DBT = []
    for channel, (transition, driven, output) in enumerate(dense_systems(space)):
        state_BN = torch.zeros(len(input_BDT), len(driven), dtype=driven.dtype)
        outputs_TB = []
        for input_B in input_BDT[:, channel].T:
            state_BN = state_BN @ transition.T + input_B[:, None] * driven
            feedthrough = space.feedthrough[channel].detach() * input_B
            outputs_TB.append((state_BN @ output).real + feedthrough)
        outputs_DBT.append(torch.stack(outputs_TB, 1))
    return torch.stack(outputs_DBT, 1)


def stepped(space, input_BDT):
    with torch.no_grad():
        recurrence = space.recurrence()
        state = recurrence.start(len(input_BDT))
        outputs = []
        for input_BD in input_BDT.unbind(2):
            output, state = recurrence.step(state, input_BD)
            outputs.append(output)
    return torch.stack(outputs, 2)


def test_the_matrix_of_hippo_is_that_of_its_definition():
    matrix, driven = legendre(5)
    for n in range(5):
        assert driven[n].item() == pytest.approx(math.sqrt(2 * n + 1), abs=1e-15)
        for k in range(5):
            below = -math.sqrt((2 * n + 1) * (2 * k + 1))
            defined = below if n > k else -(n + 1) if n == k else 0
            assert matrix[n, k].item() == pytest.approx(defined, abs=1e-14)


@pytest.mark.parametrize("state", [2, 8, 64])
def test_hippo_is_normal_but_for_rank_one(state):
    matrix, driven = legendre(state)
    low_rank = (torch.arange(state, dtype=torch.float64) + 0.5).sqrt()
    normal = matrix + low_rank.outer(low_rank)
    torch.testing.assert_close(normal @ normal.T, normal.T @ normal, rtol=0, atol=1e-8)
    torch.testing.assert_close(normal + normal.T, -torch.eye(state).double(), rtol=0, atol=1e-12)
    start = hippo(state)
    basis = torch.cat([start.basis_NM, start.basis_NM.conj()], 1)
    put_together = both(start.eigenvalues_M).diag() - both(start.low_rank_M).outer(
        both(start.low_rank_M).conj()
    )
    for found, defined in (
        (basis @ basis.mH, torch.eye(state)),
        (basis @ put_together @ basis.mH, matrix),
        (basis @ both(start.low_rank_M), low_rank),
        (basis @ both(start.input_M), driven),
    ):
        torch.testing.assert_close(found, defined.to(found.dtype), rtol=0, atol=1e-11)


def test_a_fresh_kernel_is_that_of_the_plain_hippo_matrix():
    state, samples = 8, 40
    torch.manual_seed(0)
    space = StateSpace(1, state).double()
    start = hippo(state)
    with torch.no_grad():
        space.decay.fill_(math.log(0.5))
        space.frequency.copy_(start.eigenvalues_M.imag)
        space.low_rank.copy_(torch.view_as_real(start.low_rank_M))
        space.input.copy_(torch.view_as_real(start.input_M))
    matrix, driven = legendre(state)
    half = space.step_logarithm.exp().item() / 2
    inverse = torch.linalg.inv(torch.eye(state) - half * matrix)
    state_N = inverse @ (2 * half * driven)
    output_N = 2 * (as_complex(space.output)[0] @ start.basis_NM.mH).real
    naive = []
    for _ in range(samples):
        naive.append(output_N @ state_N)
        state_N = inverse @ (state_N + half * matrix @ state_N)
    naive[0] = naive[0] + space.feedthrough[0].detach()
    found = space.kernel(samples)[0].detach()
    torch.testing.assert_close(found, torch.stack(naive), rtol=0, atol=1e-12)


@pytest.mark.parametrize("state", [2, 8])
@pytest.mark.parametrize("samples", [1, 2, 3, 16, 37])
def test_the_kernel_is_the_impulse_response_of_the_dense_recurrence(state, samples):
    space = space_of(state=state)
    impulse = torch.zeros(1, 3, samples, dtype=torch.float64)
    impulse[..., 0] = 1
    found = space.kernel(samples).detach()
    torch.testing.assert_close(found, run(space, impulse)[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("samples", [1, 2, 37, 100])
def test_the_convolution_is_the_dense_recurrence(samples):
    space = space_of()
    input_BDT = torch.randn(2, 3, samples, dtype=torch.float64)
    found = space(input_BDT).detach()
    torch.testing.assert_close(found, run(space, input_BDT), rtol=0, atol=1e-12)


def test_the_step_of_few_products_is_the_dense_recurrence():
    space = space_of()
    input_BDT = torch.randn(2, 3, 50, dtype=torch.float64)
    torch.testing.assert_close(stepped(space, input_BDT), run(space, input_BDT), rtol=0, atol=1e-12)


@torch.no_grad()
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-11), (torch.float32, 1e-4)])
def test_steps_stay_at_the_convolution(dtype, tolerance):
    torch.manual_seed(0)
    space = StateSpace(8, 64).to(dtype)
    input_BDT = torch.randn(2, 8, 1_000, dtype=dtype)
    torch.testing.assert_close(stepped(space, input_BDT), space(input_BDT), rtol=0, atol=tolerance)


@torch.no_grad()
def test_a_long_kernel_in_float32_is_within_1e_5_of_float64():
    torch.manual_seed(0)
    space = StateSpace(4, 64)
    single = space.kernel(32_768)
    exact = space.double().kernel(32_768)
    assert exact.abs().max() > 0.5
    torch.testing.assert_close(single.double(), exact, rtol=0, atol=1e-5)


@torch.no_grad()
def test_powers_cannot_grow_since_the_discretised_matrix_is_a_contraction():
    space = StateSpace(8, 64).double()
    assert torch.linalg.matrix_norm(space.discretised()[0], ord=2).max() <= 1 + 1e-12


def test_gradients_are_those_of_finite_differences():
    space = space_of(channels=2, state=4)
    names = [name for name, weight in space.named_parameters() if weight.requires_grad]
    weights = [space.get_parameter(name) for name in names]
    input_BDT = torch.randn(2, 2, 5, dtype=torch.float64, requires_grad=True)

    def outputs(input_BDT, *weights):
        return functional_call(space, dict(zip(names, weights, strict=True)), (input_BDT,))

    assert torch.autograd.gradcheck(outputs, (input_BDT, *weights))


def test_autocast_does_not_reach_the_state_space():
    space = space_of(state=64, dtype=torch.float32)
    input_BDT = torch.randn(2, 3, 200)
    with torch.autocast("cpu", torch.bfloat16):
        found = space(input_BDT)
    assert found.dtype == torch.float32
    assert torch.equal(found, space(input_BDT))


def test_the_start_is_that_of_the_authors():
    torch.manual_seed(0)
    space = StateSpace(4_000, 64)
    frozen = {name for name, weight in space.named_parameters() if not weight.requires_grad}
    assert frozen == {"step_logarithm", "low_rank", "input"}
    torch.testing.assert_close(space.decay.exp(), torch.full((32,), 0.501))
    steps = space.step_logarithm.exp()
    assert 1e-3 <= steps.min() < 1.1e-3
    assert 0.09 < steps.max() <= 0.1
    # Uniform in the logarithm: the middle of the range is the geometric mean of its ends.
    assert steps.median().item() == pytest.approx(1e-2, rel=0.1)
    assert as_complex(space.output).abs().square().mean().item() == pytest.approx(1, rel=0.02)
    assert space.feedthrough.std().item() == pytest.approx(1, rel=0.05)


@pytest.mark.parametrize("samples", [1, 2, 3, 16, 100, 1_000])
def test_products_of_the_kernel_are_those_that_torch_counts(samples):
    space = StateSpace(3, 8)
    with FlopCounterMode(display=False) as counter:
        space.kernel(samples)
    # Except for the linear solve of the discretisation, which torch does not count.
    assert counter.get_total_flops() == 2 * 3 * kernel_products(samples, 8)
