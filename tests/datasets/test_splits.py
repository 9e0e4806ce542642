import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets.splits import (
    SPLITS,
    SplitError,
    SplitRule,
    assign_splits,
    cut_by_time,
    read_split_table,
)

FRACTIONS = st.tuples(st.integers(0, 100), st.integers(0, 100)).map(
    lambda cuts: (min(cuts) / 100, (max(cuts) - min(cuts)) / 100, (100 - max(cuts)) / 100)
)
TABLE = SplitRule("table", files=("split.csv",), columns=("audio_filename", "split"))
LISTS = SplitRule("lists", files=("validation.txt", "test.txt"))
NAMES = [f"take {i}.flac" for i in range(2_000)]


def counts(assigned):
    return [list(assigned.values()).count(split) for split in SPLITS]


@pytest.mark.parametrize(
    ("files", "train", "validation", "test"), [(241, 212, 14, 15), (4328, 3808, 260, 260)]
)
def test_file_order_gives_the_published_counts(files, train, validation, test):
    names = [f"out{i:03}.wav" for i in range(files)]
    assigned = assign_splits(SplitRule("order"), names, {}, {})
    expected = ["train"] * train + ["validation"] * validation + ["test"] * test
    assert assigned == dict(zip(names, expected, strict=True))


def test_cuts_are_the_published_numbers_not_rounded_sums():
    first, second = SplitRule("order").boundaries
    assert (first, second) == (0.88, 0.94)
    assert SplitRule("time", (0.7, 0.15, 0.15)).boundaries == (0.7, 0.85)


def test_time_cuts_each_recording_and_assigns_no_file():
    rule = SplitRule("time", (0.7, 0.15, 0.15))
    assert assign_splits(rule, ["a", "b"], {"a": "test"}, {}) == {}
    assert cut_by_time(rule, 100) == {"train": (0, 70), "validation": (70, 85), "test": (85, 100)}
    assert cut_by_time(rule, 7) == {"train": (0, 4), "validation": (4, 5), "test": (5, 7)}
    assert cut_by_time(rule, 1) == {"test": (0, 1)}


@given(fractions=FRACTIONS, samples=st.integers(1, 300))
def test_every_sample_of_a_cut_recording_is_in_one_split(fractions, samples):
    owned = cut_by_time(SplitRule("time", fractions), samples)
    assert [i for split in SPLITS for i in range(*owned.get(split, (0, 0)))] == [*range(samples)]
    assert all(begin < end for begin, end in owned.values())


@given(kind=st.sampled_from(["order", "hash"]), fractions=FRACTIONS, files=st.integers(0, 60))
def test_every_file_has_one_split(kind, fractions, files):
    assigned = assign_splits(SplitRule(kind, fractions), NAMES[:files], {}, {})
    assert set(assigned) == set(NAMES[:files]) and set(assigned.values()) <= set(SPLITS)


def test_a_hash_goes_by_the_name_alone():
    rule = SplitRule("hash", (0.8, 0.1, 0.1))
    alone = {name: assign_splits(rule, [name], {}, {})[name] for name in NAMES[:50]}
    every = assign_splits(rule, NAMES[::-1], {}, {})
    assert alone == {name: every[name] for name in alone}
    assert [count / 2_000 for count in counts(every)] == pytest.approx([0.8, 0.1, 0.1], abs=0.03)


@given(
    kind=st.sampled_from(["order", "hash"]),
    first=st.sets(st.sampled_from(NAMES[:40]), min_size=1),
    later=st.lists(st.sets(st.sampled_from(NAMES[:80])), max_size=3),
)
def test_files_that_are_added_later_move_no_other(kind, first, later):
    rule = SplitRule(kind, (0.6, 0.2, 0.2))
    assigned = assign_splits(rule, sorted(first), {}, {})
    for more in later:
        again = assign_splits(rule, sorted({*assigned, *more}), assigned, {})
        assert again.items() >= assigned.items()
        assigned = again


def test_files_added_to_an_ordered_corpus_are_split_by_the_hash_of_their_name():
    order, by_hash = SplitRule("order", (0.8, 0.1, 0.1)), SplitRule("hash", (0.8, 0.1, 0.1))
    first = assign_splits(order, NAMES[500:600], {}, {})
    every = assign_splits(order, NAMES, first, {})
    added = [name for name in NAMES if name not in first]
    assert {name: every[name] for name in added} == assign_splits(by_hash, added, {}, {})
    assert counts(first) == [80, 10, 10]


def test_files_that_a_table_does_not_name_are_left_out():
    text = 'split,audio_filename,composer\ntest,"2004/a, b.wav",Bach\ntrain,c.wav,Satie\n'
    own = read_split_table(TABLE, text)
    assert own == {"2004/a, b.wav": "test", "c.wav": "train"}
    names = ["2004/a, b.wav", "c.wav", "d.wav"]
    assert assign_splits(TABLE, names, {"c.wav": "test"}, own) == own


def test_lists_name_validation_and_test_and_all_others_train():
    own = {"b": "validation", "c": "test", "gone": "test"}
    assigned = assign_splits(LISTS, ["a", "b", "c"], {"a": "test", "b": "train"}, own)
    assert assigned == {"a": "train", "b": "validation", "c": "test"}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "has no column 'audio_filename'; it has none: write `columns`"),
        ("name,split\na,test\n", "has no column 'audio_filename'; it has name, split: write"),
        ("audio_filename,part\na,test\n", "has no column 'split'; it has audio_filename, part"),
        (
            "audio_filename,split\na,test\nb,val\nc,dev\n",
            r"split\.csv has the splits \['dev', 'val'\] in column 'split': only train, valid",
        ),
        ("audio_filename,split\na\nb,dev\n", r"has the splits \['', 'dev'\]"),
        ("audio_filename,split\na,Train\n", r"has the splits \['Train'\]"),
    ],
)
def test_an_unusable_table_is_refused_with_its_content(text, sentence):
    with pytest.raises(SplitError, match=sentence):
        read_split_table(TABLE, text)


def test_rules_print_as_reports_show_them():
    assert str(SplitRule("time", (0.7, 0.15, 0.15))) == "time 0.70/0.15/0.15"
    assert str(SplitRule("order", (0.875, 0.0625, 0.0625))) == "order 0.875/0.0625/0.0625"
    assert str(TABLE) == "table split.csv"
    assert str(LISTS) == "lists validation.txt test.txt"


@pytest.mark.parametrize("fractions", [(0.5, 0.5, 0.5), (1.2, -0.1, -0.1), (0.9, 0.05, 0.04)])
def test_fractions_that_do_not_add_up_to_one_are_refused(fractions):
    with pytest.raises(SplitError, match="sum to 1"):
        SplitRule("order", fractions)


@pytest.mark.parametrize(
    ("kind", "files", "needed"),
    [("table", 0, 1), ("table", 2, 1), ("lists", 1, 2), ("order", 1, 0), ("time", 2, 0)],
)
def test_a_rule_needs_just_the_files_that_it_reads(kind, files, needed):
    with pytest.raises(SplitError, match=f"{kind}' has {files} files .*: write {needed} \\(one ta"):
        SplitRule(kind, files=("a.csv", "b.csv")[:files])


def test_unknown_rules_are_refused():
    with pytest.raises(SplitError, match="'random' is unknown: write order, time, hash, table, li"):
        SplitRule("random")
