"""Targets of the two protocols, and the score of each target on its own."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from datasets.references import linear_nats
from datasets.shards import ShardLocation
from datasets.shards import read as read_shard
from scaling.evaluation import protocols
from scaling.evaluation.evaluate import evaluate
from scaling.evaluation.protocols import from_silence, full_context, silent_chunks
from tests.helpers.baselines import stepped
from tests.helpers.naive_models import naive_dense_nats, naive_nats, nats_of
from tests.helpers.sounds import recording as entry
from tests.helpers.trained import trained, trained_baseline

BASELINES = ("wavenet", "samplernn", "sashimi")
ROUNDED = {"rtol": 0, "atol": 1e-4}
"""Tolerance for float32; tests/model has the exact comparisons."""


def run_of(kind, corpus, folder, **changes):
    if kind in BASELINES:
        return trained_baseline(corpus, folder, kind, **changes)
    return trained(corpus, folder, **changes)


def with_test(corpus, samples, files=()):
    """Return the corpus with a test split of ``samples``, whose files begin at these offsets."""
    (recording,) = corpus.recordings
    begin, _ = recording.ranges["test"]
    part = recording.parts[0]
    parts = (part, *(replace(part, begin=begin + place) for place in files))
    ranges = {**recording.ranges, "test": (begin, begin + samples)}
    return replace(corpus, recordings=(replace(recording, ranges=ranges, parts=parts),))


def codes_of(corpus, begin, end):
    """Return codes [begin, end) of the only recording, counted from its test range."""
    (recording,) = corpus.recordings
    first = recording.ranges["test"][0]
    codes = read_shard(corpus.folder, recording.location, first + begin, end - begin)
    return torch.from_numpy(codes.copy())


def together(scoring):
    """Return the offsets of all pieces, and their nats by the run, AR(32) and histogram."""
    pieces = list(scoring.pieces)
    assert sum(len(piece.offsets) for piece in pieces) == scoring.targets
    return [np.concatenate(column) for column in list(zip(*pieces, strict=True))[1:]]


@pytest.mark.parametrize(
    ("begins", "samples", "owned", "chunks"),
    [
        # Whole chunks of 10; the rest at the end is left out.
        ([0], 25, (0, 25), [(0, 10), (10, 20)]),
        ([0], 20, (0, 20), [(0, 10), (10, 20)]),
        # A shorter file is a chunk of its own.
        ([0], 7, (0, 7), [(0, 7)]),
        ([0], 10, (0, 10), [(0, 10)]),
        # Joined files: no chunk crosses a border, and each file leaves out its own rest.
        (
            [0, 7, 32],
            45,
            (0, 45),
            [(0, 7), (7, 17), (17, 27), (32, 42)],
        ),
        # A range that is cut in time begins and ends inside files.
        ([0, 7, 32], 45, (12, 40), [(12, 22), (22, 32), (32, 40)]),
        ([0, 7, 32], 45, (20, 45), [(20, 30), (32, 42)]),
        ([0], 25, (3, 9), [(3, 9)]),
        ([0, 30], 60, (5, 25), [(5, 15), (15, 25)]),
        # A few samples of two files each, and a file outside the range.
        ([0, 4, 8, 50], 60, (2, 11), [(2, 4), (4, 8), (8, 11)]),
    ],
)
def test_chunks_from_silence_are_those_of_a_table_by_hand(
    monkeypatch, embedded_corpus, begins, samples, owned, chunks
):
    monkeypatch.setattr(protocols, "PUBLISHED_CONTEXT", 10)
    part = embedded_corpus.recordings[0].parts[0]
    parts = tuple(replace(part, begin=begin) for begin in begins)
    recording = entry(ShardLocation("s", 0, samples), {"test": owned}, parts=parts)
    assert list(silent_chunks(recording, "test")) == chunks


@pytest.mark.parametrize("kind", ["latent", *BASELINES])
def test_chunks_are_scored_from_silence_as_one_code_at_a_time(
    monkeypatch, embedded_corpus, tmp_path, kind
):
    monkeypatch.setattr(protocols, "PUBLISHED_CONTEXT", 1_200)
    corpus = with_test(embedded_corpus, 3_500, [150, 2_800])
    chunks = [(0, 150), (150, 1_350), (1_350, 2_550), (2_800, 3_500)]
    changes = {"model__context": 1_000} if kind == "latent" else {}
    run = run_of(kind, corpus, tmp_path, **changes)
    scoring = from_silence(run, corpus, "test")
    assert scoring.targets == sum(end - begin for begin, end in chunks)
    assert scoring.left_out == 250
    for piece, (begin, end) in zip(scoring.pieces, chunks, strict=True):
        first = corpus.recordings[0].ranges["test"][0]
        assert np.array_equal(piece.offsets, first + np.arange(begin, end))
        codes = codes_of(corpus, begin, end)
        if kind == "latent":
            expected = naive_nats(run.network, codes, 17)
        else:
            expected = nats_of(stepped(run.network.network, codes[None])[0], codes)[::17]
        step = np.s_[::17]
        np.testing.assert_allclose(piece.run[step], expected.detach().numpy(), **ROUNDED)
        silent = np.concatenate([np.full(32, 128, np.uint8), codes.numpy()])
        linear = [linear_nats(silent[t : t + 33], corpus.linear) for t in range(len(codes))]
        np.testing.assert_allclose(piece.linear, linear, rtol=0, atol=1e-10)


@pytest.mark.parametrize("kind", ["latent", "samplernn"])
def test_an_evaluation_from_silence_is_the_mean_of_all_chunks(
    monkeypatch, embedded_corpus, tmp_path, kind
):
    monkeypatch.setattr(protocols, "PUBLISHED_CONTEXT", 1_200)
    corpus = with_test(embedded_corpus, 3_500, [150, 2_800])
    run = run_of(kind, corpus, tmp_path)
    calls = []
    found = evaluate(
        run, corpus, "test", lambda *call: calls.append(call), protocol="from-silence", positions=9
    )
    scoring = from_silence(run, corpus, "test")
    _, nats, linear, histogram = together(scoring)
    assert (found.protocol, found.positions, found.history) == ("from-silence", "all", 0)
    assert (found.targets, found.left_out) == (3_250, 250)
    assert found.targets_hash == scoring.targets_hash
    assert found.loss.nats == pytest.approx(nats.mean(), abs=1e-9)
    assert found.linear.nats == pytest.approx(linear.mean(), abs=1e-9)
    assert found.histogram.nats == pytest.approx(histogram.mean(), abs=1e-9)
    assert found.margin.nats == pytest.approx((nats - linear).mean(), abs=1e-9)
    assert sum(one.targets for one in found.by_second) == 3_250
    assert calls[-1] == (3_250, 3_250)


@pytest.mark.parametrize("positions", [None, 40])
def test_models_of_all_kinds_and_contexts_are_scored_on_the_same_targets(
    embedded_corpus, tmp_path, positions
):
    (recording,) = embedded_corpus.recordings
    corpus = replace(
        embedded_corpus, recordings=(replace(recording, ranges={"test": (0, 90_000)}),)
    )
    runs = [trained(corpus, tmp_path / str(c), model__context=c) for c in (1_000, 4_000)]
    runs.append(trained(corpus, tmp_path / "causal", model__attention="causal"))
    runs += [trained_baseline(corpus, tmp_path / kind, kind) for kind in BASELINES]
    lists = [full_context(run, corpus, "test", positions, 4_000) for run in runs]
    assert len({(one.targets_hash, one.targets, one.left_out) for one in lists}) == 1
    assert lists[0].left_out == 4_000
    # Another history, such as the model's own context, or protocol has other targets.
    others = [full_context(runs[0], corpus, "test", positions, own) for own in (None, 5_000)]
    others.append(from_silence(runs[0], corpus, "test"))
    assert len({one.targets_hash for one in [lists[0], *others]}) == 4
    again = full_context(runs[0], corpus, "test", positions, 1_000)
    assert again.targets_hash == others[0].targets_hash


@pytest.mark.parametrize("kind", ["latent", "sashimi"])
def test_the_list_from_silence_is_the_same_for_every_model(embedded_corpus, tmp_path, kind):
    lists = [
        from_silence(run_of(*one), embedded_corpus, "test")
        for one in (
            (kind, embedded_corpus, tmp_path / "run"),
            ("wavenet", embedded_corpus, tmp_path / "other"),
        )
    ]
    assert lists[0].targets_hash == lists[1].targets_hash
    (recording,) = embedded_corpus.recordings
    begin, end = recording.ranges["test"]
    assert lists[0].targets == (end - begin) // 131_072 * 131_072
    assert lists[0].left_out == (end - begin) % 131_072


@pytest.mark.parametrize("kind", BASELINES)
@torch.no_grad()
def test_every_target_of_a_baseline_is_scored_from_a_context_or_more(
    monkeypatch, embedded_corpus, tmp_path, kind
):
    monkeypatch.setattr(protocols, "BLOCK", 133)
    corpus = with_test(embedded_corpus, 450)
    run = run_of(kind, corpus, tmp_path)
    offsets, nats, linear, _ = together(full_context(run, corpus, "test", None, None))
    assert np.array_equal(offsets, corpus.recordings[0].ranges["test"][0] + np.arange(450))
    codes = codes_of(corpus, -200, 450)
    np.testing.assert_allclose(nats, naive_dense_nats(run.network, codes), **ROUNDED)
    runs = [codes[200 + t - 32 : 200 + t + 1].numpy() for t in range(450)]
    np.testing.assert_allclose(
        linear, [linear_nats(one, corpus.linear) for one in runs], rtol=0, atol=1e-10
    )


@pytest.mark.parametrize("positions", [20, 30])
@pytest.mark.parametrize("kind", BASELINES)
@torch.no_grad()
def test_a_target_of_a_baseline_has_the_same_score_whether_all_are_scored_or_a_few(
    monkeypatch, embedded_corpus, tmp_path, kind, positions
):
    monkeypatch.setattr(protocols, "SPACING", 500)
    corpus = with_test(embedded_corpus, 5_000)
    run = run_of(kind, corpus, tmp_path)
    every = together(full_context(run, corpus, "test", None, None))
    found = together(full_context(run, corpus, "test", positions, None))
    # Windows of ten targets, 500 apart.
    assert len(set(found[0])) == len(found[0]) == positions
    places = np.searchsorted(every[0], found[0])
    assert np.array_equal(every[0][places], found[0])
    np.testing.assert_allclose(found[1], every[1][places], **ROUNDED)
    np.testing.assert_allclose(found[2], every[2][places], rtol=0, atol=1e-10)
    np.testing.assert_array_equal(found[3], every[3][places])


@pytest.mark.parametrize("protocol", ["full-context", "from-silence"])
def test_the_histogram_is_that_of_training_with_every_code_once_more(
    monkeypatch, embedded_corpus, tmp_path, protocol
):
    monkeypatch.setattr(protocols, "PUBLISHED_CONTEXT", 500)
    corpus = with_test(embedded_corpus, 1_000)
    train = replace(corpus.splits["train"], histogram=(0,) * 100 + (3,) * 156)
    corpus = replace(corpus, splits={**corpus.splits, "train": train})
    run = trained_baseline(corpus, tmp_path, "wavenet")
    found = evaluate(run, corpus, "test", lambda *call: None, protocol=protocol)
    # 724 counts in all: 1 of each of the lowest 100 codes, 4 of each of the others.
    shares = np.where(codes_of(corpus, 0, 1_000) < 100, 1 / 724, 4 / 724)
    assert 0 < np.count_nonzero(shares < 2 / 724) < 1_000
    assert found.histogram.nats == pytest.approx(-np.log(shares).mean(), abs=1e-9)


def test_a_random_subset_does_not_depend_on_the_chunk(embedded_corpus, tmp_path):
    sizes = {"model__chunk": 1_500, "model__context": 3_000}
    runs = [
        trained_baseline(embedded_corpus, tmp_path / "one", "wavenet"),
        trained(embedded_corpus, tmp_path / "other", **sizes),
    ]
    lists = [full_context(run, embedded_corpus, "test", 40, 4_000) for run in runs]
    assert lists[0].targets_hash == lists[1].targets_hash


@torch.no_grad()
def test_a_network_with_a_state_sees_at_most_two_contexts_before_a_target(
    monkeypatch, embedded_corpus, tmp_path
):
    monkeypatch.setattr(protocols, "SPACING", 500)
    corpus = with_test(embedded_corpus, 5_000)
    run = trained_baseline(corpus, tmp_path, "samplernn")
    read = []
    run.network.network.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0].shape[1]))
    together(full_context(run, corpus, "test", 20, None))
    assert max(read) <= 2 * 200
