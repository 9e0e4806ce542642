import math

import pytest
import torch
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from model.baselines.shapes import WaveNetArchitecture
from model.baselines.wavenet import WaveNet
from tests.helpers.baselines import codes_of, stepped
from tests.helpers.small_wavenet import network_of, small

SLIM = {"embedding": 32, "residual": 24, "gate": 24, "skip": 96, "end": 64}


def direct(network, codes_T):
    """Return the logits (T, Q) by explicit sums over positions, after computed silence."""
    silence = [network.architecture.start_code] * network.architecture.receptive_field
    known = [*silence, *codes_T[:-1].tolist()]
    x = [network.entry.weight @ network.embedding.weight[code] for code in known]
    skipped = [torch.zeros_like(network.blocks[0].skip.weight[:, 0, 0]) for _ in known]
    for block in network.blocks:
        for number, layer in enumerate(block.layers):
            before, after = [], x
            for t in range(len(known)):
                # Samples before the silence reach no position that is compared.
                old = x[max(t - 2**number, 0)]
                both = layer.gates.weight[..., 0] @ old + layer.gates.weight[..., 1] @ x[t]
                gate = len(both) // 2
                gated = torch.tanh(both[:gate]) / (1 + torch.exp(-both[gate:]))
                before.append(gated)
                own = block.skip.weight[:, number * gate : (number + 1) * gate, 0]
                skipped[t] = skipped[t] + own @ gated
            x = [
                old + layer.residual.weight[..., 0] @ gated
                for old, gated in zip(after, before, strict=True)
            ]
    _, first, _, second = network.end
    logits = []
    for summed in skipped[len(silence) - 1 :]:
        hidden = first.weight[..., 0] @ summed.clamp_min(0) + first.bias
        classes = second.weight[..., 0] @ hidden.clamp_min(0) + second.bias
        logits.append(network.head.weight @ classes + network.head.bias)
    return torch.stack(logits)[: len(codes_T)]


@pytest.mark.parametrize(("skip", "count"), [(1024, 4_244_480), (512, 2_671_616)])
def test_parameters_are_those_of_the_paper(skip, count):
    architecture = WaveNetArchitecture(skip=skip)
    assert sum(weight.numel() for weight in WaveNet(architecture).parameters()) == count
    assert architecture.parameters() == {
        "embedding": 65_536,
        "entry": 16_384,
        "blocks": 40 * (16_384 + 4_096 + 64 * skip),
        "end": (skip + 1) * 512 + 513 * 256,
        "head": 65_792,
    }
    assert sum(architecture.parameters().values()) == count


@pytest.mark.parametrize("architecture", [small(), small(blocks=1, layers=4, levels=16)])
def test_parameters_of_each_part_are_those_of_the_built_module(architecture):
    built = dict.fromkeys(architecture.parameters(), 0)
    for name, weight in WaveNet(architecture).named_parameters():
        built[name.partition(".")[0]] += weight.numel() if weight.requires_grad else 0
    assert architecture.parameters() == built


def test_the_slim_twin_has_about_300000_parameters_and_sees_as_far():
    twin = WaveNetArchitecture(**SLIM)
    assert sum(twin.parameters().values()) == 304_960
    assert twin.receptive_field == 4_093


def test_skip_convolutions_start_as_those_of_single_layers():
    torch.manual_seed(0)
    weight = WaveNet(WaveNetArchitecture(**SLIM)).blocks[0].skip.weight
    bound = torch.nn.Conv1d(24, 96, 1).weight.abs().max()
    assert weight.shape == (96, 240, 1)
    assert weight.abs().max().item() == pytest.approx(bound.item(), rel=2e-3)


@pytest.mark.parametrize("samples", [1, 100])
@pytest.mark.parametrize("sizes", [{}, {"blocks": 1, "layers": 4}, SLIM])
def test_operations_are_those_that_torch_counts(samples, sizes):
    architecture = small(**sizes)
    with FlopCounterMode(display=False) as counter:
        WaveNet(architecture)(codes_of(samples, batch=1))
    assert counter.get_total_flops() == architecture.operations(samples)


@torch.no_grad()
@pytest.mark.parametrize("sizes", [{}, {"blocks": 1, "layers": 2}, {"blocks": 3, "layers": 1}])
def test_logits_are_those_of_explicit_sums_over_positions(sizes):
    network = network_of(**sizes)
    codes = codes_of(24)
    twin = torch.stack([direct(network, codes_T) for codes_T in codes])
    torch.testing.assert_close(network(codes), twin, rtol=0, atol=1e-12)


@torch.no_grad()
@pytest.mark.parametrize("changed", [0, 7, 39])
def test_a_code_changes_the_logits_of_the_receptive_field_after_it_and_no_others(changed):
    network = network_of()
    assert network.architecture.receptive_field == 15
    codes = codes_of(40)
    other = codes.clone()
    other[:, changed] = (other[:, changed] + 100) % 256
    moved = (network(other) - network(codes)).abs().amax((0, 2))
    assert moved[: changed + 1].amax() == 0
    reached = moved[changed + 1 : changed + 16]
    assert torch.all(reached > 1e-8)
    assert torch.all(moved[changed + 16 :] == 0)


def test_the_full_dilations_see_4093_samples():
    # Weights are positive, so that no sample's effect cancels.
    network = WaveNet(WaveNetArchitecture(embedding=2, residual=2, gate=2, skip=2, end=2)).double()
    with torch.no_grad():
        for weight in network.parameters():
            weight.abs_()
    embedded = []
    network.embedding.register_forward_hook(lambda *call: embedded.append(call[2]))
    logits = network(codes_of(4_200, batch=1))
    (gradient,) = torch.autograd.grad(logits[0, 4_150].sum(), embedded)
    # Position t of the embedding is the code t - 1.
    (read,) = gradient[0].abs().amax(1).nonzero(as_tuple=True)
    assert (read.min() - 1, read.max() - 1) == (4_150 - 4_093, 4_149)
    assert len(read) == network.architecture.receptive_field == 4_093


@pytest.mark.parametrize("target", [0, 1, 13, 14, 15, 30])
def test_logits_have_no_gradient_from_their_own_code_or_later_ones(target):
    network = network_of()
    embedded = []
    network.embedding.register_forward_hook(lambda *call: embedded.append(call[2]))
    logits = network(codes_of(31, batch=1))
    # Position t of the embedding is the code t - 1; the first one is all of the silence.
    (gradient,) = torch.autograd.grad(logits[0, target].square().sum(), embedded)
    reach = gradient[0].abs().amax(1)
    oldest = max(target - network.architecture.receptive_field + 1, 0)
    assert torch.all(reach[target + 1 :] == 0)
    assert torch.all(reach[oldest : target + 1] > 1e-8)
    assert torch.all(reach[:oldest] == 0)


@torch.no_grad()
def test_silence_precedes_the_first_code():
    network = network_of()
    codes = codes_of(20, batch=3)
    silence = torch.full((3, network.architecture.receptive_field), 128)
    whole = network(torch.cat([silence, codes], 1))
    torch.testing.assert_close(whole[:, silence.shape[1] :], network(codes), rtol=0, atol=1e-12)
    fed, _ = network.step(network.start(1), torch.tensor([128]))
    torch.testing.assert_close(network(codes)[:, 0], fed.expand(3, -1), rtol=0, atol=1e-12)


@torch.no_grad()
def test_any_length_gives_the_logits_of_a_longer_signal():
    network = network_of()
    codes = codes_of(40)
    whole = network(codes)
    for samples in (1, 2, 3, 15, 39):
        part = network(codes[:, :samples])
        assert part.shape == (2, samples, 256)
        torch.testing.assert_close(part, whole[:, :samples], rtol=0, atol=1e-12)


@torch.no_grad()
@pytest.mark.parametrize("sizes", [{}, {"blocks": 1, "layers": 5}, {"blocks": 3, "layers": 1}])
def test_step_by_step_gives_the_parallel_form(sizes):
    network = network_of(**sizes)
    codes = codes_of(100)
    torch.testing.assert_close(stepped(network, codes), network(codes), rtol=0, atol=1e-11)


@torch.no_grad()
def test_step_by_step_in_float32_stays_within_1e_4_of_the_parallel_form():
    network = network_of(torch.float32, **SLIM, blocks=4, layers=5)
    codes = codes_of(200)
    parallel = network(codes)
    assert parallel.std() > 0.1
    torch.testing.assert_close(stepped(network, codes), parallel, rtol=0, atol=1e-4)


@torch.no_grad()
def test_a_state_has_a_dilation_of_each_layer_and_keeps_its_memory():
    network = network_of(torch.float32)
    state = network.start(3)
    rings = [ring for block in state.rings for ring in block]
    places = [ring.data_ptr() for ring in rings]
    assert [ring.shape for ring in rings] == [(3, 6, dilation) for dilation in (1, 2, 4) * 2]
    assert all(ring.untyped_storage().nbytes() == ring.nbytes for ring in rings)
    for codes_B in codes_of(20, batch=3).T:
        _, state = network.step(state, codes_B)
    assert [ring.data_ptr() for block in state.rings for ring in block] == places
    assert state.clock == 20


@torch.no_grad()
def test_bfloat16_autocast_stays_near_float32():
    network = network_of(torch.float32, **SLIM)
    codes = codes_of(100)
    exact = network(codes)
    with torch.autocast("cpu", torch.bfloat16):
        logits, fed = network(codes), stepped(network, codes)
    for near in (logits, fed):
        assert (near.float() - exact).abs().max() < 0.05 * exact.abs().max()


def test_a_few_steps_learn_a_sine():
    torch.manual_seed(0)
    network = WaveNet(small(levels=16, residual=16, gate=16, skip=32, end=16))
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
    # The output of the last residual convolution is unused.
    still = {name for name, weight in network.named_parameters() if weight.grad is None}
    assert still == {"blocks.1.layers.2.residual.weight"}


def test_all_problems_of_an_architecture_are_reported_at_once():
    wrong = small(layers=0, skip=-1)
    assert wrong.problems() == [
        "model.layers is 0: it must be 1 or more",
        "model.skip is -1: it must be 1 or more",
    ]
    with pytest.raises(ValueError, match=r"model\.layers is 0.*\n.*model\.skip is -1"):
        WaveNet(wrong)
    assert WaveNetArchitecture().problems() == []
