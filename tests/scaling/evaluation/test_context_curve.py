"""Scores of one model at several contexts: the same weights and targets, as in training."""

import json
import math

import numpy as np
import pytest
import torch

from model.targets import Targets
from scaling.evaluation.evaluate import context_curve, evaluate
from scaling.evaluation.scores import EvaluationError
from scaling.runs.record import FILE_NAME, RunRecord
from scaling.runs.trained_model import TrainedModel, TrainedModelError
from tests.helpers.command import scaling
from tests.helpers.trained import trained, trained_baseline


def unwatched(done, total):
    """Ignore the progress."""


@pytest.fixture
def run(embedded_corpus, tmp_path):
    return trained(embedded_corpus, tmp_path, model__attention="causal")


@pytest.mark.parametrize("context", [500, 1_000, 2_000])
def test_the_weights_see_so_many_samples_as_in_validation(run, context):
    other = run.with_context(context)
    codes_1T = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (1, context + 1)))
    with torch.no_grad():
        found = other.network(codes_1T, Targets("last", 500))[1]
        expected = run.network(codes_1T, Targets("last", 500, context=context))[1]
    torch.testing.assert_close(found, expected)
    assert run.config.model.context == 2_000


def test_beyond_its_own_context_a_model_reads_the_oldest_chunk(run):
    longer = run.with_context(3_500)
    codes_1T = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (1, 3_501)))
    other_1T = codes_1T.clone()
    other_1T[:, :500] = 255 - other_1T[:, :500]
    with torch.no_grad():
        losses = [longer.network(one, Targets("last", 500))[0] for one in (codes_1T, other_1T)]
    assert losses[0] != losses[1]


def test_contexts_that_cannot_be_are_refused(run, embedded_corpus, tmp_path):
    with pytest.raises(
        TrainedModelError, match=r"not a multiple of model\.chunk = 500: write 500 or 1000"
    ):
        run.with_context(700)
    baseline = trained_baseline(embedded_corpus, tmp_path / "baseline", "wavenet")
    with pytest.raises(TrainedModelError, match="is a wavenet, which reads sequences from silence"):
        baseline.with_context(100)
    with pytest.raises(EvaluationError, match="write --history 4000 or more"):
        context_curve(run, embedded_corpus, "test", [4_000], unwatched, 64, 3_000)


def test_all_contexts_are_scored_on_the_same_targets(run, embedded_corpus):
    curve, found = context_curve(run, embedded_corpus, "test", [500, 4_000], unwatched, 64)
    assert [one.context for one in curve] == [500, 2_000, 4_000]
    assert [one.extrapolates for one in curve] == [False, False, True]
    assert len({one.targets_hash for one in found}) == 1
    assert {one.history for one in found} == {4_000}
    alone = evaluate(run, embedded_corpus, "test", unwatched, positions=64, history=4_000)
    assert curve[1].loss == alone.loss and curve[1].difference is None
    shorter = run.with_context(500)
    by_itself = evaluate(shorter, embedded_corpus, "test", unwatched, positions=64, history=4_000)
    assert curve[0].loss == by_itself.loss
    assert curve[0].difference.nats == pytest.approx(by_itself.loss.nats - alone.loss.nats)


@pytest.mark.slow
def test_the_curve_of_a_run_agrees_with_its_record(chunks_run, embedded_corpus):
    run = TrainedModel.load(chunks_run.folder)
    recorded = RunRecord.read(chunks_run.folder / FILE_NAME).validation.by_context
    contexts = [part.longest for part in recorded]
    curve, _ = context_curve(run, embedded_corpus, "validation", contexts, unwatched, 2_000)
    assert [one.context for one in curve] == contexts
    for one, part in zip(curve, recorded, strict=True):
        errors = math.hypot(one.loss.standard_error, part.standard_error)
        assert abs(one.loss.nats - part.nats) < 3 * errors
        if one.difference:
            errors = math.hypot(one.difference.standard_error, part.excess_standard_error)
            assert abs(one.difference.nats - part.excess) < 3 * errors


@pytest.mark.slow
def test_the_command_prints_the_curve_and_keeps_every_evaluation(chunks_run):
    words = ("evaluate", str(chunks_run.folder), "--positions", "64", "--contexts", "500,8000")
    done = scaling(*words)
    assert done.returncode == 0, done.stderr
    assert "extrapolates" in done.stdout
    found = json.loads(scaling(*words, "--json").stdout)
    assert [one["context"] for one in found] == [500, 4_000, 8_000]
    kept = sorted(path.name for path in chunks_run.folder.glob("evaluation-*"))
    assert kept == [f"evaluation-test-full-context-64-8000-{n}.json" for n in (4_000, 500, 8_000)]
    for wrong, said in (("500,x", "write samples, such as 16000,32000"), ("700", "not a multiple")):
        refused = scaling(*words[:-1], wrong)
        assert refused.returncode in (1, 2) and said in refused.stderr
