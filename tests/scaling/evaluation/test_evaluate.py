"""Evaluation against scores computed target by target."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from datasets.references import linear_nats
from datasets.shards import read as read_shard
from datasets.windows import Windows, hash_targets, order_windows
from model.inference import dense
from model.targets import Targets
from scaling.evaluation import protocols
from scaling.evaluation.clustered_errors import mean_and_error
from scaling.evaluation.evaluate import context_curve, evaluate
from scaling.evaluation.scores import (
    Evaluation,
    EvaluationError,
    check_evaluations_comparable,
)
from tests.helpers.command import scaling
from tests.helpers.trained import trained


def unwatched(done, total):
    """Ignore the progress."""


@pytest.fixture
def short_corpus(embedded_corpus, tmp_path):
    """Return the embedded corpus with a test split of 5,000 samples."""
    (recording,) = embedded_corpus.recordings
    begin, _ = recording.ranges["test"]
    ranges = {**recording.ranges, "test": (begin, begin + 5_000)}
    shorter = dataclasses.replace(recording, ranges=ranges)
    return dataclasses.replace(embedded_corpus, recordings=(shorter,))


def one_by_one(run, corpus, offsets):
    """Return the nats of the run and of the linear predictor at each offset."""
    (recording,) = corpus.recordings
    context = run.config.model.context
    nats, linear = [], []
    for offset in offsets:
        codes = read_shard(corpus.folder, recording.location, int(offset) - context, context + 1)
        window = torch.from_numpy(codes.copy())[None]
        with torch.no_grad():
            nats.append(run.network(window, Targets("last", run.config.model.chunk))[1].item())
        linear.append(linear_nats(codes[-corpus.linear.order - 1 :], corpus.linear))
    return np.array(nats), np.array(linear)


@pytest.mark.parametrize("changes", [{}, {"model__attention": "causal", "model__recent": 0}])
def test_all_positions_are_scored_as_one_by_one(short_corpus, tmp_path, monkeypatch, changes):
    monkeypatch.setattr(dense, "SHARED_CONTEXTS", 2)
    run = trained(short_corpus, tmp_path, **changes)
    calls = []
    found = evaluate(run, short_corpus, "test", lambda done, total: calls.append((done, total)))
    begin, end = short_corpus.recordings[0].ranges["test"]
    offsets = np.arange(begin, end)
    nats, linear = one_by_one(run, short_corpus, offsets)
    assert found.targets == 5_000
    assert found.left_out == 0
    seconds = offsets // short_corpus.rate
    expected = [*mean_and_error(nats, seconds), *mean_and_error(nats - linear, seconds)]
    losses = (found.loss, found.margin)
    np.testing.assert_allclose(
        [value for loss in losses for value in (loss.nats, loss.standard_error)],
        expected,
        atol=1e-5,
    )
    assert found.linear.nats == pytest.approx(linear.mean())
    assert calls[-1] == (5_000, 5_000)
    every = Windows.of(short_corpus, "test", 2_000)
    assert found.targets_hash == hash_targets(every, np.arange(len(every)))


def test_a_random_subset_is_scored_as_one_by_one_and_is_the_same_every_time(
    short_corpus, tmp_path, monkeypatch
):
    monkeypatch.setattr(protocols, "SPACING", 500)
    run = trained(short_corpus, tmp_path)
    found = evaluate(run, short_corpus, "test", unwatched, positions=30)
    # 5,000 samples have room for 10 targets at a spacing of 500, so 30 targets are three windows.
    assert found.targets == 30
    again = evaluate(run, short_corpus, "test", unwatched, positions=30)
    assert again == found
    windows = Windows.of(short_corpus, "test", 2_000, 500, 10)
    chosen = order_windows(np.arange(3), len(windows), protocols.ORDER_SEED)
    _, offsets = windows.offsets(chosen)
    nats, _ = one_by_one(run, short_corpus, offsets.ravel())
    assert found.loss.nats == pytest.approx(nats.mean(), abs=1e-5)
    assert found.targets_hash == hash_targets(windows, chosen)


def test_every_window_of_the_subset_is_the_whole_split(short_corpus, tmp_path):
    run = trained(short_corpus, tmp_path)
    every = evaluate(run, short_corpus, "test", unwatched)
    subset = evaluate(run, short_corpus, "test", unwatched, positions=10**9)
    assert subset.targets_hash == every.targets_hash
    assert subset.loss.nats == pytest.approx(every.loss.nats, abs=1e-5)


def test_an_evaluation_is_written_in_nats_and_bits(short_corpus, tmp_path):
    run = trained(short_corpus, tmp_path)
    found = evaluate(run, short_corpus, "test", unwatched, positions=30)
    path = found.write(tmp_path)
    assert path.name == "evaluation-test-full-context-30-2000-2000.json"
    assert Evaluation.read(path) == found
    for loss in (found.loss, found.linear, found.histogram, found.margin):
        assert loss.bits == pytest.approx(loss.nats / np.log(2))
        assert loss.standard_error_bits == pytest.approx(loss.standard_error / np.log(2))
    assert f"{found.loss.bits:.4f} bits ({found.loss.nats:.4f} nats)" in found.sentence


@pytest.mark.fault(
    "Corpora",
    "a run is evaluated on another corpus",
    "it is refused with both fingerprints",
)
def test_another_corpus_is_refused_with_both_fingerprints(short_corpus, tmp_path):
    run = trained(short_corpus, tmp_path)
    other = dataclasses.replace(short_corpus, fingerprint="f" * 64)
    with pytest.raises(EvaluationError, match=r"ffffffffffff.*prepare the run's corpus again"):
        evaluate(run, other, "test", unwatched)


def test_another_corpus_is_scored_on_request_if_its_codes_mean_the_same(short_corpus, tmp_path):
    run = trained(short_corpus, tmp_path)
    other = dataclasses.replace(short_corpus, name="elsewhere", fingerprint="f" * 64)
    own = evaluate(run, short_corpus, "test", unwatched, positions=30)
    found = evaluate(run, other, "test", unwatched, positions=30, transfer=True)
    assert found.loss == own.loss
    assert (
        "on test of elsewhere, another corpus than it was trained on, full-context: "
        in found.sentence
    )
    assert found.write(tmp_path) != own.write(tmp_path)
    curve, scored = context_curve(run, other, "test", [1_000], unwatched, 30, transfer=True)
    assert len(curve) == 2 and all(one.other_corpus == "elsewhere" for one in scored)
    with pytest.raises(EvaluationError, match="corpus_fingerprint"):
        check_evaluations_comparable([found, own])
    louder = dataclasses.replace(other, rate=8_000, codec="linear")
    with pytest.raises(EvaluationError, match="rate is 8000 and was 16000, codec is linear and"):
        evaluate(run, louder, "test", unwatched, transfer=True)


def test_two_runs_are_scored_on_the_same_targets_and_their_difference_is_paired(
    embedded_corpus, tmp_path
):
    short, long = (
        trained(embedded_corpus, tmp_path / str(context), model__context=context)
        for context in (2_000, 4_000)
    )
    words = ["evaluate", short.folder, "--against", long.folder, "--positions", "64"]
    done = scaling(*words, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    own, other = found["runs"]
    assert own["targets_hash"] == other["targets_hash"]
    assert (own["history"], other["history"]) == (4_000, 4_000)
    expected = own["loss"]["nats"] - other["loss"]["nats"]
    assert found["difference"]["nats"] == pytest.approx(expected, abs=1e-9)
    assert found["half_interval"] > 0
    output = scaling(*words).stdout
    assert f"{abs(found['difference']['bits']):.4f} bits" in output.splitlines()[-1]
    refused = scaling(*words, "--contexts", "500")
    assert refused.returncode == 2
    assert "--contexts and --against are both given" in refused.stderr


@pytest.mark.filterwarnings("error::UserWarning")
def test_a_run_of_squared_errors_has_the_root_of_their_mean(short_corpus, tmp_path):
    run = trained(short_corpus, tmp_path, model__likelihood="mean_square")
    found = evaluate(run, short_corpus, "test", unwatched)
    (recording,) = short_corpus.recordings
    begin, end = recording.ranges["test"]
    codes = read_shard(short_corpus.folder, recording.location, begin - 2_000, end - begin + 2_000)
    windows = np.lib.stride_tricks.sliding_window_view(codes, 2_001)
    means, targets = [], Targets("last", 500)
    with torch.no_grad():
        for some in np.array_split(windows, 20):
            latents = run.network.sequences(torch.from_numpy(some.copy()), targets)
            values = run.network.head(
                run.network.transformer.newest_output(latents.latents_SND)[:, None], latents.recent
            )
            means.append(values[:, 0, 0].numpy())
    errors = np.concatenate(means) - codes[2_000:]
    assert found.root_mean_square == pytest.approx(np.sqrt((errors**2).mean()), rel=1e-4)
    assert f"squared error is {found.root_mean_square:.1f} codes" in found.sentence
    assert trained(short_corpus, tmp_path / "other").network.root_mean_square(3.0) is None
