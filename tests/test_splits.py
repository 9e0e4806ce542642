import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets.splits import SPLITS, Rule, SplitError, assign

FRACTIONS = st.tuples(st.integers(0, 100), st.integers(0, 100)).map(
    lambda cuts: (min(cuts) / 100, (max(cuts) - min(cuts)) / 100, (100 - max(cuts)) / 100)
)


def owners(ranges):
    return [next(iter(each)) for each in ranges]


@pytest.mark.parametrize(
    ("files", "train", "validation", "test"), [(241, 212, 14, 15), (4328, 3808, 260, 260)]
)
def test_file_order_gives_the_published_counts(files, train, validation, test):
    ranges = assign(Rule("order"), [f"out{i:03}.wav" for i in range(files)], [9] * files)
    expected = ["train"] * train + ["validation"] * validation + ["test"] * test
    assert owners(ranges) == expected
    assert all(each == {split: (0, 9)} for each, split in zip(ranges, expected, strict=True))


def test_cuts_are_the_published_numbers_not_rounded_sums():
    first, second = Rule("order").cuts
    assert (first, second) == (0.88, 0.94)
    assert Rule("time", (0.7, 0.15, 0.15)).cuts == (0.7, 0.85)


def test_time_cuts_each_recording():
    ranges = assign(Rule("time", (0.7, 0.15, 0.15)), ["a", "b"], [100, 7])
    assert ranges == [
        {"train": (0, 70), "validation": (70, 85), "test": (85, 100)},
        {"train": (0, 4), "validation": (4, 5), "test": (5, 7)},
    ]


@given(
    kind=st.sampled_from(["order", "time", "hash"]),
    fractions=FRACTIONS,
    samples=st.lists(st.integers(1, 300), max_size=30),
)
@settings(deadline=None)
def test_every_sample_is_owned_once(kind, fractions, samples):
    names = [str(i) for i in range(len(samples))]
    for length, owned in zip(samples, assign(Rule(kind, fractions), names, samples), strict=True):
        covered = [i for split in SPLITS for i in range(*owned.get(split, (0, 0)))]
        assert covered == list(range(length))
        assert all(begin < end for begin, end in owned.values())


def test_hash_never_moves_a_recording_when_others_come():
    names = [f"take {i}.flac" for i in range(2_000)]
    rule = Rule("hash", (0.8, 0.1, 0.1))
    alone = dict(zip(names[:50], owners(assign(rule, names[:50], [1] * 50)), strict=True))
    every = dict(zip(names[::-1], owners(assign(rule, names[::-1], [1] * 2_000)), strict=True))
    assert alone == {name: every[name] for name in alone}
    shares = [list(every.values()).count(split) / 2_000 for split in SPLITS]
    assert shares == pytest.approx([0.8, 0.1, 0.1], abs=0.03)


def test_rules_print_as_reports_show_them():
    assert str(Rule("time", (0.7, 0.15, 0.15))) == "time 0.70/0.15/0.15"
    assert str(Rule("order", (0.875, 0.0625, 0.0625))) == "order 0.875/0.0625/0.0625"


@pytest.mark.parametrize("fractions", [(0.5, 0.5, 0.5), (1.2, -0.1, -0.1), (0.9, 0.05, 0.04)])
def test_fractions_that_are_no_partition_are_refused(fractions):
    with pytest.raises(SplitError, match="sum to 1"):
        Rule("order", fractions)


def test_unknown_rules_are_refused():
    with pytest.raises(SplitError, match="'random' is unknown: write order, time, hash"):
        Rule("random")
