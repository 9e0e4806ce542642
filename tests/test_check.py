import pytest

from scaling import check, load
from tests.conftest import CLONE
from tests.runs import small_run

DEMO = CLONE / "configs/runs/demo.yaml"
MACHINE = {"CPU": 2.0, "GPU": 0.0}


def test_the_demo_fits_the_embedded_corpus_and_two_cores(embedded_corpus):
    for _, run in load.sweep(CLONE / "configs/sweeps/demo.yaml").runs:
        assert check.problems(run, embedded_corpus, MACHINE) == []


@pytest.mark.parametrize(
    ("override", "words", "sentences"),
    [
        ("model.chunk=3000", "write 126000 or 129000", 2),
        ("windows.history=1000", "write 128000 or more", 1),
        ("train.accumulate=2", "write train.batch=2", 1),
        ("validation.spacing=3000", "write 4000", 1),
        ("validation.windows=4001", "write validation.windows=4000", 1),
        ("windows.history=3000000", "No window of 128 targets", 2),
        ("cluster.gpu=true", "offers 0 GPUs: cluster.gpu=false", 1),
        ("cluster.cpus_per_worker=3", "offers 2 for training", 1),
    ],
)
def test_every_problem_says_what_to_write(embedded_corpus, override, words, sentences):
    found = check.problems(load.run(DEMO, [override]), embedded_corpus, MACHINE)
    assert words in "\n".join(found)
    assert len(found) == sentences


def test_problems_of_different_parts_are_said_together(embedded_corpus):
    run = load.run(DEMO, ["model.width=3", "train.accumulate=2", "cluster.workers=9"])
    assert len(check.problems(run, embedded_corpus, MACHINE)) == 3


def test_contexts_with_different_histories_are_refused(embedded_corpus, tmp_path):
    runs = [small_run(embedded_corpus, tmp_path, model__context=c) for c in (2_000, 4_000)]
    (problem,) = check.history_problems(runs)
    assert "write windows.history=4000" in problem
    shared = [
        small_run(embedded_corpus, tmp_path, model__context=c, windows__history=4_000)
        for c in (2_000, 4_000)
    ]
    assert check.history_problems(shared) == []
