import math

import pytest
import torch
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from model.baselines.sashimi import DownPool, SaShiMi, ScalarNorm, UpPool
from model.baselines.shapes import SaShiMiArchitecture
from tests.helpers.baselines import codes_of, stepped
from tests.helpers.small_sashimi import network_of, small


def tensors(state):
    """Return every tensor of a state."""
    spaces = [space for rate in state.rates for space in rate.spaces]
    return [*spaces, *state.gathered, *state.spread]


@pytest.mark.parametrize(
    ("layers", "trained", "all_weights"),
    [
        (2, 1_285_528, 1_287_192),
        (4, 2_207_920, 2_211_248),
        (6, 3_130_312, 3_135_304),
        (8, 4_052_704, 4_059_360),
    ],
)
def test_parameters_are_those_of_the_paper(layers, trained, all_weights):
    architecture = SaShiMiArchitecture(layers=layers)
    weights = list(SaShiMi(architecture).parameters())
    assert sum(weight.numel() for weight in weights if weight.requires_grad) == trained
    assert sum(weight.numel() for weight in weights) == all_weights
    assert architecture.parameters() == {
        "embedding": 16_384,
        "down": 33_024 + 131_584,
        "blocks": 461_196 * layers,
        "up": 132_096 + 33_280,
        "norm": 128,
        "head": 16_640,
    }
    assert sum(architecture.parameters().values()) == trained


@pytest.mark.parametrize(
    "architecture",
    [small(), small(pools=(3,), feed_forward_expand=3), small(pools=(), layers=1), small(expand=3)],
)
def test_parameters_of_each_part_are_those_of_the_built_module(architecture):
    built = dict.fromkeys(architecture.parameters(), 0)
    for name, weight in SaShiMi(architecture).named_parameters():
        built[name.partition(".")[0]] += weight.numel() if weight.requires_grad else 0
    assert architecture.parameters() == built


def test_slim_twins_have_about_300000_parameters():
    for sizes, count in (((30, 2), 307_144), ((24, 3), 276_364)):
        twin = SaShiMiArchitecture(width=sizes[0], layers=sizes[1])
        assert sum(twin.parameters().values()) == count


@pytest.mark.parametrize("samples", [1, 100, 1_000])
@pytest.mark.parametrize("changes", [{}, {"feed_forward_expand": 3}, {"pools": (4,), "layers": 1}])
def test_operations_of_products_are_those_that_torch_counts(samples, changes):
    architecture = small(**changes)
    with FlopCounterMode(display=False) as counter:
        SaShiMi(architecture)(codes_of(samples, batch=1))
    transforms = architecture.transform_operations(samples)
    counted = counter.get_total_flops() + transforms
    assert architecture.operations(samples) == pytest.approx(counted, rel=1e-12)


def test_operations_of_transforms_are_three_for_each_channel_of_a_state_space():
    # 16 samples are padded to 18, three times the stride of 6.
    architecture = small(layers=1)
    channels = {18: 6, 9: 12, 3: 24}
    expected = sum(3 * count * 5 * n * math.log2(2 * n) for n, count in channels.items())
    assert architecture.transform_operations(16) == pytest.approx(expected)


@torch.no_grad()
@pytest.mark.parametrize("changed", [0, 1, 17, 58])
def test_a_code_changes_no_logits_but_those_after_it(changed):
    network = network_of()
    codes = codes_of(59)
    other = codes.clone()
    other[:, changed] = (other[:, changed] + 100) % 256
    before, after = network(codes), network(other)
    moved = (after - before).abs().amax((0, 2))
    # The transforms' rounding also depends on later positions.
    assert moved[: changed + 1].max() < 1e-12
    if changed + 1 < len(moved):
        assert moved[changed + 1] > 1e-6


@pytest.mark.parametrize("target", [0, 1, 11, 12, 13, 40])
def test_logits_have_no_gradient_from_their_own_code_or_later_ones(target):
    network = network_of()
    embedded = []
    network.embedding.register_forward_hook(lambda *call: embedded.append(call[2]))
    logits = network(codes_of(41, batch=1))
    # Position t of the embedding is the code t - 1.
    (gradient,) = torch.autograd.grad(logits[0, target].square().sum(), embedded)
    reach = gradient[0].abs().amax(1)
    assert torch.all(reach[target + 1 :] < 1e-12)
    assert torch.all(reach[: target + 1] > 1e-12)


@torch.no_grad()
def test_the_first_logits_are_from_silence_alone():
    network = network_of()
    codes = codes_of(30, batch=3)
    first = network(codes)[:, 0]
    torch.testing.assert_close(first, first[:1].expand_as(first), rtol=0, atol=1e-12)
    fed, _ = network.step(network.start(1), torch.tensor([128]))
    torch.testing.assert_close(first[:1], fed, rtol=0, atol=1e-12)


@torch.no_grad()
def test_any_length_gives_the_logits_of_a_longer_signal():
    network = network_of()
    codes = codes_of(40)
    whole = network(codes)
    for samples in (1, 2, 5, 6, 7, 39):
        part = network(codes[:, :samples])
        assert part.shape == (2, samples, 256)
        torch.testing.assert_close(part, whole[:, :samples], rtol=0, atol=1e-12)


@torch.no_grad()
@pytest.mark.parametrize(
    "changes", [{}, {"pools": ()}, {"pools": (4,)}, {"pools": (4, 4), "state": 64, "width": 8}]
)
def test_step_by_step_gives_the_parallel_form(changes):
    network = network_of(**changes)
    codes = codes_of(300)
    torch.testing.assert_close(stepped(network, codes), network(codes), rtol=0, atol=1e-11)


@torch.no_grad()
def test_step_by_step_in_float32_stays_within_1e_4_of_the_parallel_form():
    network = network_of(torch.float32, pools=(4, 4), state=64, width=8)
    codes = codes_of(600)
    torch.testing.assert_close(stepped(network, codes), network(codes), rtol=0, atol=1e-4)


@torch.no_grad()
def test_a_state_neither_grows_nor_computes_the_slow_rates_more_often_than_they_move():
    network = network_of(torch.float32)
    state = network.start(3)
    shapes = [tensor.shape for tensor in tensors(state)]
    assert all(shape[0] == 3 for shape in shapes)
    moves = [0, 0, 0]
    for codes_B in codes_of(36, batch=3).T:
        before = [rate.spaces[0] for rate in state.rates]
        _, state = network.step(state, codes_B)
        for number, rate in enumerate(state.rates):
            moves[number] += rate.spaces[0] is not before[number]
    assert moves == [36, 18, 6]
    assert [tensor.shape for tensor in tensors(state)] == shapes
    assert state.clock == 36


@torch.no_grad()
def test_pools_join_positions_and_give_them_back_one_late():
    torch.manual_seed(0)
    down, up = DownPool(3, 4, 8).double(), UpPool(3, 4, 8).double()
    x = torch.randn(2, 12, 4, dtype=torch.float64)
    slower = down(x)
    assert slower.shape == (2, 4, 8)
    for place in range(4):
        joined = torch.cat([x[:, 3 * place + number] for number in range(3)], 1)
        torch.testing.assert_close(slower[:, place], down.linear(joined))
    faster = up(slower)
    assert faster.shape == x.shape
    assert torch.equal(faster[:, :3], torch.zeros(2, 3, 4, dtype=torch.float64))
    for place in range(3):
        for number in range(3):
            given = up.linear(slower[:, place])[:, 4 * number : 4 * number + 4]
            torch.testing.assert_close(faster[:, 3 * place + 3 + number], given)


def test_the_norm_is_the_scalar_one_of_the_authors():
    norm = ScalarNorm().double()
    torch.nn.init.constant_(norm.scale, 1.5)
    torch.nn.init.constant_(norm.shift, 0.25)
    x = torch.randn(3, 5, dtype=torch.float64)
    deviation = x.std(1, correction=0, keepdim=True)
    naive = 1.5 / deviation * (x - x.mean(1, keepdim=True) + 0.25)
    torch.testing.assert_close(norm(x), naive)


def test_the_norm_of_a_constant_is_finite_and_so_is_its_gradient():
    x = torch.full((2, 8), 0.3, requires_grad=True)
    y = ScalarNorm()(x)
    y.square().sum().backward()
    assert torch.isfinite(y).all() and y.abs().max() < 1
    assert torch.isfinite(x.grad).all()


def test_bfloat16_autocast_stays_near_float32():
    network = network_of(torch.float32)
    codes = codes_of(200)
    with torch.autocast("cpu", torch.bfloat16):
        logits = network(codes)
    assert (logits.float() - network(codes)).abs().max() < 0.15


def test_a_few_steps_learn_a_sine():
    network = network_of(torch.float32, levels=16)
    time = torch.arange(192)[None] + torch.tensor([[0], [5]])
    codes = ((torch.sin(2 * math.pi * time / 24) + 1) * 7.99).long()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2, weight_decay=0)
    losses = []
    for _ in range(30):
        loss = functional.cross_entropy(network(codes).transpose(1, 2), codes)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[0] > 2.5
    assert losses[-1] < 0.5 * losses[0]
    moved = {name for name, weight in network.named_parameters() if weight.grad is not None}
    trained = {name for name, weight in network.named_parameters() if weight.requires_grad}
    assert moved == trained


def test_all_problems_of_an_architecture_are_reported_at_once():
    wrong = small(layers=0, state=7, pools=(4, 0))
    assert wrong.problems() == [
        "model.layers is 0: it must be 1 or more",
        "model.state is 7: it must be even, since a state consists of conjugate pairs; write 8",
        "model.pools is (4, 0): write pools of 1 sample or more",
    ]
    with pytest.raises(ValueError, match=r"model\.layers is 0.*\n.*model\.state is 7"):
        SaShiMi(wrong)
    assert SaShiMiArchitecture().problems() == []


def test_the_past_that_counts_has_no_bound():
    assert network_of().architecture.receptive_field is None
