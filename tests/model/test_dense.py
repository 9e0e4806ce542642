import pytest
import torch

from model.inference import dense as dense_module
from model.inference.dense import dense_nats
from model.targets import Targets
from tests.helpers.networks import CAUSAL, blocks_of, live_elements, network_of, signal_of

FOLDED = {"head_size": 6}
TINY = {"chunk": 80, "context": 240, "filters": (6, 5), "strides": (2, 3)}
MODELS = [{}, FOLDED, {"attention": CAUSAL}]
MODEL_NAMES = ["plain", "folded", CAUSAL]


@pytest.fixture(autouse=True)
def several_groups(monkeypatch):
    """Read few contexts and latents at a time, so that a signal needs several groups of each."""
    monkeypatch.setattr(dense_module, "SHARED_CONTEXTS", 2)
    monkeypatch.setitem(dense_module.READ_LATENTS, "cpu", 20)


def every_nats(network, codes, sizes=(900, 1, 37, 1_500, 1, 256)):
    return torch.cat(list(dense_nats(network, blocks_of(codes, sizes))))


def naive_nats(network, codes, step=41):
    """Return the nats of each ``step``-th code from its own full window alone."""
    a = network.architecture
    alone = Targets("last", a.chunk)
    windows = [codes[None, end - a.context : end + 1] for end in range(a.context, len(codes), step)]
    return torch.cat([network.eval()(window, alone)[1].flatten() for window in windows])


def check_against_naive(network, length, tolerance=1e-10, step=41):
    codes = signal_of(length)
    found = every_nats(network, codes)
    assert found.shape == (length - network.architecture.context,)
    expected = naive_nats(network, codes, step)
    torch.testing.assert_close(found[::step], expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("recent", [0, 64])
@pytest.mark.parametrize(
    ("chunk", "latents", "layers", "changes"),
    [
        (343, 5, 1, FOLDED),
        (343, 5, 3, FOLDED),
        (500, 4, 2, {}),
        (500, 4, 2, FOLDED),
        (500, 4, 3, {"attention": CAUSAL}),
        (1000, 3, 3, {}),
        (1000, 3, 1, {"attention": CAUSAL}),
        (2000, 2, 2, FOLDED),
        (4000, 2, 2, FOLDED),
        (4000, 2, 1, {}),
    ],
)
def test_every_code_is_scored_as_from_its_own_full_window(chunk, latents, layers, changes, recent):
    network = network_of(
        chunk=chunk, context=latents * chunk, layers=layers, recent=recent, **changes
    )
    check_against_naive(network, latents * chunk + min(2 * chunk, 2_000) + 177)


@pytest.mark.parametrize("model", MODELS, ids=MODEL_NAMES)
def test_nats_are_in_the_order_of_the_codes_and_complete(model):
    network = network_of(recent=64, layers=3, **TINY, **model)
    check_against_naive(network, 240 + 222, step=1)


@pytest.mark.parametrize("model", MODELS, ids=MODEL_NAMES)
def test_float32_stays_within_1e_4_of_the_naive_way(model):
    check_against_naive(network_of(torch.float32, recent=64, **model), 2_000 + 1_077, 1e-4)


@pytest.mark.parametrize("model", MODELS, ids=MODEL_NAMES)
@pytest.mark.parametrize(("contexts", "latents"), [(1, 1), (3, 12), (16, 12), (16, 10**9)])
def test_how_many_contexts_are_read_together_changes_no_nats(monkeypatch, model, contexts, latents):
    network = network_of(recent=64, **TINY, **model)
    codes = signal_of(240 + 500)
    expected = every_nats(network, codes)
    monkeypatch.setattr(dense_module, "SHARED_CONTEXTS", contexts)
    monkeypatch.setitem(dense_module.READ_LATENTS, "cpu", latents)
    torch.testing.assert_close(every_nats(network, codes), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("sizes", [(1,), (3, 1, 200), (160,), (161, 0), (10**6,)], ids=str)
def test_the_cut_into_blocks_changes_no_nats(sizes):
    network = network_of(recent=64, **TINY)
    codes = signal_of(240 + 400)
    found = every_nats(network, codes, sizes)
    torch.testing.assert_close(found[::7], naive_nats(network, codes, 7), rtol=0, atol=1e-10)


@pytest.mark.parametrize("model", MODELS, ids=MODEL_NAMES)
@pytest.mark.parametrize("length", [0, 1, 79, 80, 81, 160, 161, 239, 240])
def test_a_signal_no_longer_than_the_context_yields_nothing(model, length):
    network = network_of(**TINY, **model)
    assert list(dense_nats(network, blocks_of(signal_of(length), (50, 1)))) == []


@pytest.mark.parametrize("recent", [0, 64])
@pytest.mark.parametrize("model", MODELS, ids=MODEL_NAMES)
def test_a_signal_one_code_longer_than_the_context_yields_one_value(model, recent):
    check_against_naive(network_of(recent=recent, **TINY, **model), 241)


def test_codes_of_another_integer_type_are_scored_the_same():
    network = network_of(**TINY)
    codes = signal_of(240 + 100)
    assert torch.equal(every_nats(network, codes.long()), every_nats(network, codes))


def test_dropout_is_off():
    network = network_of(**TINY, **FOLDED)
    drops = {"dropout": 0.5, "encoder_dropout": 0.5, "head_dropout": 0.5, "token_drop": 0.5}
    dropping = network_of(**TINY, **FOLDED | drops).train()
    codes = signal_of(240 + 100)
    assert torch.equal(every_nats(dropping, codes), every_nats(network, codes))


@pytest.mark.parametrize("model", MODELS, ids=MODEL_NAMES)
def test_memory_does_not_grow_with_the_signal(model):
    network = network_of(recent=64, **TINY, **model)
    nats = dense_nats(network, (signal_of(160, seed) for seed in range(43)))
    kept = []
    for count, block in enumerate(nats):
        if count in (10, 40):
            kept.append(live_elements())
        assert len(block) == (80 if count == 0 else 160)
    assert count >= 40
    assert kept[0] == kept[1]
