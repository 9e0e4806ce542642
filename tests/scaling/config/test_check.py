from dataclasses import replace

import pytest

from scaling.config import check, load
from scaling.config.run_windows import targets_in_epoch
from tests.helpers.clone import CLONE
from tests.helpers.runs import BASELINES, baseline_run, small_run

DEMO = CLONE / "configs/runs/demo.yaml"
MACHINE = {"CPU": 2.0, "GPU": 0.0}


def test_the_demo_fits_the_embedded_corpus_and_two_cores(embedded_corpus):
    for _, run in load.sweep(CLONE / "configs/sweeps/demo.yaml").runs:
        assert check.problems(run, embedded_corpus, MACHINE) == []


@pytest.mark.fault(
    "Configurations",
    "a batch, a chunk or a spacing does not divide, or there are too few GPUs",
    "an error names what to write",
)
@pytest.mark.parametrize(
    ("override", "words", "sentences"),
    [
        ("model.chunk=3000", "write 126000 or 129000", 2),
        ("windows.history=1000", "write 128000 or more", 1),
        ("train.accumulate=2", "write train.batch=2", 1),
        ("validation.spacing=3000", "write 4000", 1),
        ("validation.windows=4001", "write validation.windows=4000", 1),
        ("windows.history=3000000", "No window of 116 targets", 1),
        ("windows.per_window=2048", "No window of 2048 targets", 1),
        ("windows.per_window=100", "write windows.per_window=128, or leave it out", 1),
        ("windows.phases=20", "needs windows.targets=samples: leave it out", 1),
        (
            "model.attention=bidirectional",
            "write model.attention=causal, or windows.targets=last",
            1,
        ),
        ("model.recent=4000", "write model.recent=2000 or less", 1),
        ("cluster.gpu=true", "offers 0 GPUs: write cluster.gpu=false", 1),
        ("cluster.cpus_per_worker=3", "offers 2 for training", 1),
    ],
)
def test_every_problem_is_reported_with_the_remedy(embedded_corpus, override, words, sentences):
    found = check.problems(load.run(DEMO, [override]), embedded_corpus, MACHINE)
    assert words in "\n".join(found)
    assert len(found) == sentences


def test_padded_windows_limit_the_recent_path_to_a_chunk(embedded_corpus):
    overrides = ["windows.short=pad", "windows.targets=last", "model.recent=4000"]
    (problem,) = check.problems(load.run(DEMO, overrides), embedded_corpus, MACHINE)
    assert problem.endswith(
        "windows.short=pad see only model.chunk = 2000 samples: write model.recent=2000 or less"
    )
    overrides[2] = "model.recent=2000"
    assert check.problems(load.run(DEMO, overrides), embedded_corpus, MACHINE) == []


def test_padded_windows_need_only_a_chunk_of_history(embedded_corpus):
    overrides = ["windows.short=pad", "windows.targets=last", "windows.history=1999"]
    (problem,) = check.problems(load.run(DEMO, overrides), embedded_corpus, MACHINE)
    assert "windows.history is 1999, shorter than model.chunk = 2000: write 2000 or" in problem
    overrides[2] = "windows.history=2000"
    assert check.problems(load.run(DEMO, overrides), embedded_corpus, MACHINE) == []


def test_unique_targets_are_limited_to_those_of_the_corpus(embedded_corpus):
    run = load.run(DEMO, ["windows.unique=200000"])
    offered = targets_in_epoch(load.run(DEMO), embedded_corpus)
    # Whole windows of 64 targets.
    assert targets_in_epoch(run, embedded_corpus) == 200_192 < offered
    assert check.problems(run, embedded_corpus) == []
    (problem,) = check.problems(load.run(DEMO, ["windows.unique=900000000"]), embedded_corpus)
    assert f"only {offered} training targets: write that or less" in problem


def test_polarity_needs_codes_that_are_symmetric(embedded_corpus):
    run = load.run(DEMO, ["windows.polarity=true"])
    assert check.problems(run, embedded_corpus, MACHINE) == []
    by_chunks = replace(embedded_corpus, scaling="chunk", chunk=131_072)
    (problem,) = check.problems(run, by_chunks, MACHINE)
    assert "write windows.polarity=false, or augment.polarity=true in the corpus" in problem
    assert check.problems(load.run(DEMO), by_chunks, MACHINE) == []


def test_sixteen_bit_codes_need_a_mixture_likelihood(embedded_corpus):
    fine = replace(embedded_corpus, levels=65_536)
    (problem,) = check.problems(load.run(DEMO), fine, MACHINE)
    overrides = ["model.levels=65536", "model.likelihood=logistic_mixture"]
    assert problem.endswith(f"write {' '.join(overrides)}")
    assert check.problems(load.run(DEMO, overrides), fine, MACHINE) == []
    (problem,) = check.problems(load.run(DEMO, overrides[:1]), fine, MACHINE)
    assert "too many for a logit each (up to 256)" in problem
    wavenet = load.run(CLONE / "configs/runs/twins/wavenet.yaml")
    problems = check.problems(wavenet, fine, MACHINE)
    words = "model.kind=wavenet takes up to 256: prepare it with levels=256 in another folder"
    assert any(words in problem for problem in problems)


def test_phases_must_divide_the_chunk(embedded_corpus):
    overrides = ["windows.targets=samples", "windows.phases=300"]
    (problem,) = check.problems(load.run(DEMO, overrides), embedded_corpus, MACHINE)
    assert "must divide the chunk" in problem
    overrides[1] = "windows.phases=400"
    assert check.problems(load.run(DEMO, overrides), embedded_corpus, MACHINE) == []


def test_problems_of_different_parts_are_reported_together(embedded_corpus):
    run = load.run(DEMO, ["model.width=3", "train.accumulate=2", "cluster.workers=9"])
    assert len(check.problems(run, embedded_corpus, MACHINE)) == 3


@pytest.mark.fault(
    "Configurations",
    "runs of a study would be scored on different targets",
    "they are refused, and the error names what to write",
)
def test_contexts_with_different_histories_are_refused(embedded_corpus, tmp_path):
    runs = [small_run(embedded_corpus, tmp_path, model__context=c) for c in (2_000, 4_000)]
    (problem,) = check.history_problems(runs)
    assert "write windows.history=4000" in problem
    shared = [
        small_run(embedded_corpus, tmp_path, model__context=c, windows__history=4_000)
        for c in (2_000, 4_000)
    ]
    assert check.history_problems(shared) == []


@pytest.mark.parametrize("kind", BASELINES)
def test_a_baseline_trains_sequences_and_nothing_else(embedded_corpus, tmp_path, kind):
    run = baseline_run(embedded_corpus, tmp_path, kind)
    assert check.problems(run, embedded_corpus, MACHINE) == []
    for targets in ("last", "chunks", "samples"):
        run = baseline_run(embedded_corpus, tmp_path, kind, windows__targets=targets)
        assert check.problems(run, embedded_corpus, MACHINE) == [
            f"windows.targets is {targets}, but model.kind is {kind}, which trains on whole "
            "sequences from silence: write windows.targets=sequence"
        ]


def test_a_latent_transformer_trains_no_sequences(embedded_corpus):
    run = load.run(DEMO, ["windows.targets=sequence", "windows.per_window=null"])
    (problem,) = check.problems(run, embedded_corpus, MACHINE)
    assert problem.startswith("windows.targets is sequence, which is for models without chunks")
    assert "model.kind is latent: write windows.targets=samples with model.attention=ca" in problem


@pytest.mark.parametrize(("codec", "of_corpus"), [("mulaw", "linear"), ("linear", "mulaw")])
def test_samplernn_reads_the_amplitudes_of_the_corpus_codes(
    embedded_corpus, tmp_path, codec, of_corpus
):
    corpus = replace(embedded_corpus, codec=of_corpus)
    run = baseline_run(corpus, tmp_path, "samplernn", model__codec=codec)
    (problem,) = check.problems(run, corpus, MACHINE)
    assert problem == (
        f"model.codec is {codec}, but the corpus {corpus.name} has {of_corpus} codes, which "
        f"the model decodes to amplitudes: write model.codec={of_corpus}"
    )
    run = baseline_run(corpus, tmp_path, "samplernn", model__codec=of_corpus)
    assert check.problems(run, corpus, MACHINE) == []
    # The other kinds do not decode codes.
    assert check.problems(baseline_run(corpus, tmp_path, "wavenet"), corpus, MACHINE) == []


@pytest.mark.parametrize(
    ("kind", "change", "words"),
    [
        ("wavenet", {"model__skip": 0}, "model.skip is 0: it must be 1 or more"),
        ("samplernn", {"model__truncation": 100}, "of the longest frame: write 120"),
        ("sashimi", {"model__state": 7}, "it must be even"),
        ("sashimi", {"model__context": 0}, "model.context is 0: it must be 1 or more"),
        ("wavenet", {"model__levels": 128}, "write model.levels=256"),
        ("wavenet", {"windows__per_window": 10**7}, "No window of 10000000 targets, 1 apart"),
        ("wavenet", {"windows__history": 199}, "shorter than model.context = 200: write 200"),
    ],
)
def test_an_impossible_baseline_is_refused_with_the_remedy(
    embedded_corpus, tmp_path, kind, change, words
):
    run = baseline_run(embedded_corpus, tmp_path, kind, **change)
    (problem,) = check.problems(run, embedded_corpus, MACHINE)
    assert words in problem


def test_a_context_shorter_than_that_of_the_linear_baseline_is_refused(embedded_corpus, tmp_path):
    run = baseline_run(embedded_corpus, tmp_path, "wavenet", model__context=16)
    (problem,) = check.problems(run, embedded_corpus, MACHINE)
    assert "model.context is 16" in problem


def test_phases_of_a_sequence_are_refused_by_their_name(embedded_corpus, tmp_path):
    run = baseline_run(embedded_corpus, tmp_path, "wavenet", windows__phases=20)
    (problem,) = check.problems(run, None)
    assert "windows.phases is 20" in problem
