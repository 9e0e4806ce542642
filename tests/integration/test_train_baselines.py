"""Runs of the baselines under Ray Train, against a plain loop, and their scores."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from datasets.shards import read as read_shard
from scaling.evaluation.evaluate import evaluate
from scaling.orchestration.train import make_job, train
from scaling.runs.trained_model import TrainedModel
from scaling.training.engine import build_network
from tests.helpers.baselines import stepped
from tests.helpers.naive_models import nats_of
from tests.helpers.runs import baseline_run, digests, expected_digests, losses, plain_losses

pytestmark = pytest.mark.slow

RATES = {"train__learning_rate": 3e-2, "train__second_learning_rate": 1.5e-2}
"""High rates make SaShiMi's lower one visible: without it, its losses differ by 7e-4."""


@pytest.mark.parametrize(
    ("kind", "workers", "changes"),
    [
        # The last residual convolution has no gradient.
        ("wavenet", 2, {"train__zero": 0}),
        ("samplernn", 1, {"train__zero": 1, "train__accumulate": 2}),
        # Two parameter groups with different learning rates, and frozen parameters.
        ("sashimi", 2, {"train__zero": 2}),
    ],
)
def test_a_baseline_trains_as_the_plain_loop_does_and_is_scored_by_both_protocols(
    embedded_corpus, tmp_path, kind, workers, changes
):
    changes = {"cluster__workers": workers, **RATES, **changes}
    config = baseline_run(embedded_corpus, tmp_path, kind, **changes)
    record = train(make_job(config, {}))
    plain = plain_losses(config, embedded_corpus)
    np.testing.assert_allclose(losses(config), plain, rtol=0, atol=1e-4)
    assert min(plain) < plain[0] - 0.2
    assert digests(config) == expected_digests(config, embedded_corpus)
    assert record.targets.mode == "sequence"
    assert record.targets.seen == 8 * 4 * 400
    started = [
        weight
        for weight in build_network(config, embedded_corpus).parameters()
        if weight.requires_grad
    ]
    assert sum(record.parameters.values()) == sum(weight.numel() for weight in started)
    assert record.validation.targets == 5 * 4
    assert [part.longest for part in record.validation.by_context] == [200]
    check_scores(TrainedModel.load(config.folder), embedded_corpus)


def check_scores(run, corpus):
    """Check both protocols on 1,000 samples, which are one chunk from silence."""
    (recording,) = corpus.recordings
    begin, _ = recording.ranges["test"]
    short = replace(recording, ranges={**recording.ranges, "test": (begin, begin + 1_000)})
    corpus = replace(corpus, recordings=(short,))
    full, silent = (
        evaluate(run, corpus, "test", lambda *call: None, protocol=protocol)
        for protocol in ("full-context", "from-silence")
    )
    for found in (full, silent):
        assert (found.run, found.targets, found.left_out) == (run.record.id, 1_000, 0)
        assert found.loss.nats == pytest.approx(silent.loss.nats, abs=0.2)
    codes = torch.from_numpy(read_shard(corpus.folder, recording.location, begin, 1_000).copy())
    with torch.no_grad():
        expected = nats_of(stepped(run.network.network, codes[None])[0], codes)
    assert silent.loss.nats == pytest.approx(expected.mean().item(), abs=1e-4)
    assert full.loss.nats != silent.loss.nats
