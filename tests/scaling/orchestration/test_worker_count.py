"""Number of workers that share a batch, and their micro-batches."""

from hypothesis import given
from hypothesis import strategies as st

from scaling.config.run_config import RunConfig
from scaling.orchestration.worker_count import allowed_worker_counts, count_micro_batches


def run(batch, workers, accumulate=1, least=1):
    return RunConfig(
        study="s",
        corpus="c",
        train={"batch": batch, "accumulate": accumulate},
        cluster={"workers": workers, "min_workers": least},
    )


def test_only_numbers_that_divide_the_batch_are_allowed():
    assert allowed_worker_counts(run(12, 4)) == [4, 3, 2, 1]
    assert allowed_worker_counts(run(40, 8)) == [8, 5, 4, 2, 1]
    assert allowed_worker_counts(run(64, 32, least=9)) == [32, 16]
    assert allowed_worker_counts(run(4, 4, least=4)) == [4]


@given(st.integers(1, 12), st.integers(1, 6), st.integers(1, 8))
def test_micro_batches_are_whole_and_no_larger_than_planned(wanted, accumulate, times):
    config = run(wanted * accumulate * times, wanted, accumulate)
    assert count_micro_batches(config.train, wanted, wanted) == accumulate
    for workers in allowed_worker_counts(config):
        share = config.train.batch // workers
        count = count_micro_batches(config.train, wanted, workers)
        assert share % count == 0
        assert share // count <= times
        fewer = [other for other in range(1, count) if share % other == 0]
        assert all(share // other > times for other in fewer)
        more = count_micro_batches(config.train, wanted, workers, count + 1)
        assert (more is None) == (count == share)
        assert more is None or (more > count and share % more == 0)
