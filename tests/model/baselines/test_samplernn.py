import math

import numpy as np
import pytest
import torch
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from datasets.quantise import CODECS as DATASETS_CODECS
from datasets.quantise import decode
from model.baselines.samplernn import SampleRNN, Tier, doubled_amplitudes
from model.baselines.shapes import CODECS, SampleRNNArchitecture
from tests.helpers.baselines import codes_of
from tests.helpers.small_samplernn import network_of, small


def gated(gates, x_D, hidden_D):
    """Return a GRU's hidden state after x: reset gate, update gate, candidate (Cho et al. 2014)."""
    of_x = (gates.weight_ih_l0 @ x_D + gates.bias_ih_l0).chunk(3)
    of_hidden = (gates.weight_hh_l0 @ hidden_D + gates.bias_hh_l0).chunk(3)
    reset = torch.sigmoid(of_x[0] + of_hidden[0])
    update = torch.sigmoid(of_x[1] + of_hidden[1])
    candidate = torch.tanh(of_x[2] + reset * of_hidden[2])
    return (1 - update) * candidate + update * hidden_D


def one_by_one(network, codes_T):
    """Return the logits (T, Q) of one signal, sample by sample, each from the codes before it."""
    hiddens = [tier.first for tier in network.tiers]
    outputs = [None] * len(hiddens)
    logits = []
    for t in range(len(codes_T)):
        known = torch.tensor([128] * 24 + codes_T[:t].tolist())
        above = None
        for number in (2, 1, 0):
            tier = network.tiers[number]
            size, frame = [(4, 4), (3, 12), (2, 24)][number]
            if t % frame == 0:
                x = tier.expand.weight @ network.amplitudes[known[-frame:]] + tier.expand.bias
                x = x if above is None else x + above
                hiddens[number] = gated(tier.gates, x, hiddens[number])
                outputs[number] = tier.spread.weight @ hiddens[number] + tier.spread.bias
            place = t % frame // (frame // size)
            above = outputs[number].chunk(size)[place]
        x = above
        for place, code in enumerate(known[-4:]):
            x = x + network.read.weight[..., place] @ network.embedding.weight[code]
        x = network.hidden.weight @ x.clamp_min(0) + network.hidden.bias
        logits.append(network.head.weight @ x.clamp_min(0) + network.head.bias)
    return torch.stack(logits)


def test_parameters_are_those_of_the_paper():
    architecture = SampleRNNArchitecture()
    assert sum(weight.numel() for weight in SampleRNN(architecture).parameters()) == 35_034_624
    assert architecture.parameters() == {
        "embedding": 65_536,
        # The frame expansion, the gates, the first hidden states, and the outputs for the tier
        # below.
        "tiers": 63_488 + 3 * 6_297_600 + 3 * 1_024 + 8_397_824 + 2 * 2_100_224,
        "read": 2_098_176,
        "hidden": 1_050_624,
        "head": 262_656,
    }
    assert sum(architecture.parameters().values()) == 35_034_624


@pytest.mark.parametrize(
    "architecture", [small(), small(frame_sizes=(16,)), small(width=3, levels=16)]
)
def test_parameters_of_each_part_are_those_of_the_built_module(architecture):
    built = dict.fromkeys(architecture.parameters(), 0)
    for name, weight in SampleRNN(architecture).named_parameters():
        built[name.partition(".")[0]] += weight.numel() if weight.requires_grad else 0
    assert architecture.parameters() == built


def test_the_slim_twin_has_about_300000_parameters():
    twin = SampleRNNArchitecture(width=88, embedding=32)
    assert sum(twin.parameters().values()) == 302_712


def test_the_frames_are_8_16_and_32_samples():
    architecture = SampleRNNArchitecture()
    assert architecture.frames == (8, 16, 32)
    assert architecture.lookback == 32


@pytest.mark.parametrize("samples", [1, 24, 100])
@pytest.mark.parametrize("sizes", [{}, {"frame_sizes": (8, 2, 2), "width": 88, "embedding": 32}])
def test_operations_are_those_that_torch_counts(samples, sizes):
    architecture = small(**sizes)
    with FlopCounterMode(display=False) as counter:
        SampleRNN(architecture)(codes_of(samples, batch=1))
    assert counter.get_total_flops() == architecture.operations(samples)


@torch.no_grad()
@pytest.mark.parametrize("codec", CODECS)
def test_logits_are_those_of_gates_and_frames_one_sample_at_a_time(codec):
    network = network_of(codec=codec)
    codes = codes_of(60)
    twin = torch.stack([one_by_one(network, codes_T) for codes_T in codes])
    torch.testing.assert_close(network(codes), twin, rtol=0, atol=1e-12)


@torch.no_grad()
@pytest.mark.parametrize("changed", [0, 1, 23, 24, 58])
def test_a_code_changes_no_logits_but_those_after_it(changed):
    network = network_of()
    codes = codes_of(60)
    other = codes.clone()
    other[:, changed] = (other[:, changed] + 100) % 256
    moved = (network(other) - network(codes)).abs().amax((0, 2))
    assert torch.all(moved[: changed + 1] == 0)
    assert torch.all(moved[changed + 1 :] > 1e-12)


@pytest.mark.parametrize("target", [0, 1, 11, 12, 24, 50])
def test_logits_have_no_gradient_from_their_own_code_or_later_ones(target):
    network = network_of()
    frames, embedded = [], []
    for tier in network.tiers:
        tier.register_forward_pre_hook(lambda _, given: frames.append(given[0].requires_grad_()))
    network.embedding.register_forward_hook(lambda *call: embedded.append(call[2]))
    logits = network(codes_of(72, batch=1))
    loss = logits[0, target].square().sum()
    *of_frames, of_codes = torch.autograd.grad(loss, [*frames, *embedded])
    for gradient, frame in zip(of_frames, (24, 12, 4), strict=True):
        # The first frame ends before the first code, and only whole frames are read.
        reach = gradient[0].abs().flatten()
        known = (target // frame + 1) * frame
        assert torch.all(reach[known:] == 0)
        assert torch.all(reach[:known] > 1e-15)
    # The first four codes are those before the first one.
    reach = of_codes[0].abs().amax(1)
    assert torch.all(reach[target + 4 :] == 0)
    assert torch.all(reach[target : target + 4] > 1e-8)
    assert torch.all(reach[:target] == 0)


@torch.no_grad()
def test_silence_precedes_the_first_code():
    network = network_of()
    past = network.initial_past(3)
    assert torch.equal(past.recent, torch.full((3, 24), 128))
    codes = codes_of(30, batch=3)
    first = network(codes)[:, 0]
    fed, _ = network.step(network.start(1), torch.tensor([128]))
    torch.testing.assert_close(first, fed.expand(3, -1), rtol=0, atol=1e-12)


@pytest.mark.parametrize("codec", CODECS)
def test_amplitudes_are_the_lower_edges_of_the_bins_twice(codec):
    edges = doubled_amplitudes(256, codec).double().numpy() / 2
    assert edges[0] == -1
    assert edges[128] == 0
    middles = decode(np.arange(256), codec)
    assert np.all(edges < middles)
    assert np.all(edges[1:] > middles[:-1])
    assert CODECS == DATASETS_CODECS


def test_amplitudes_move_with_the_network_and_are_no_weights():
    network = SampleRNN(small())
    assert "amplitudes" not in network.state_dict()
    assert network.double().amplitudes.dtype == torch.float64


def test_weights_start_as_published():
    torch.manual_seed(0)
    network = SampleRNN(SampleRNNArchitecture(width=96, embedding=32))

    def most(weight):
        return weight.abs().max().item()

    for tier, frame in zip(network.tiers, (8, 16, 32), strict=True):
        assert most(tier.expand.weight) == pytest.approx(math.sqrt(6 / frame), rel=2e-2)
        assert most(tier.spread.weight) == pytest.approx(math.sqrt(6 / 96), rel=2e-2)
        assert most(tier.gates.weight_ih_l0) == pytest.approx(math.sqrt(3 / 96), rel=2e-2)
        assert most(tier.gates.weight_hh_l0[:192]) == pytest.approx(math.sqrt(3 / 96), rel=2e-2)
        candidate = tier.gates.weight_hh_l0[192:]
        torch.testing.assert_close(candidate @ candidate.T, torch.eye(96), rtol=0, atol=1e-5)
    assert most(network.read.weight) == pytest.approx(math.sqrt(6 / 256), rel=2e-2)
    assert most(network.hidden.weight) == pytest.approx(math.sqrt(6 / 96), rel=2e-2)
    assert most(network.head.weight) == pytest.approx(math.sqrt(3 / 96), rel=2e-2)
    for name, weight in network.named_parameters():
        if "bias" in name or name.endswith("first"):
            assert not weight.any()


def test_a_tier_upsamples_by_a_transposed_convolution_normed_by_its_inputs():
    torch.manual_seed(0)
    tier = Tier(8, 2, 6)
    assert tier.spread.parametrizations.weight.original0.shape == (1, 6)
    hidden = torch.randn(3, 5, 6)
    weight = tier.spread.weight.unflatten(0, (2, 6)).permute(2, 1, 0)
    convolved = functional.conv_transpose1d(hidden.transpose(1, 2), weight, stride=2)
    spread = tier.spread(hidden).unflatten(2, (2, 6)).flatten(1, 2)
    torch.testing.assert_close(spread, convolved.transpose(1, 2))


def test_all_problems_of_an_architecture_are_reported_at_once():
    wrong = small(width=0, frame_sizes=(8, 0), codec="alaw")
    assert wrong.problems() == [
        "model.width is 0: it must be 1 or more",
        "model.frame_sizes is (8, 0): write sizes of 1 or more",
        "model.codec is 'alaw': write one of mulaw, linear",
    ]
    with pytest.raises(ValueError, match=r"model\.width is 0.*\n.*\n.*model\.codec is 'alaw'"):
        SampleRNN(wrong)
    assert SampleRNNArchitecture().problems() == []


def test_the_past_that_counts_has_no_bound():
    assert network_of().architecture.receptive_field is None
