from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets.augment import Augmentation
from datasets.level import Level
from datasets.manifest import Corpus, ManifestError, Recording, Reference
from datasets.windows import WindowError, Windows, hash_every_target, hash_targets, order_windows


def corpus(*parts):
    """Return a corpus whose recordings have [begin, end) of their samples in train."""
    level = Level(0.5, 0.1, 0, 0)
    recordings = tuple(
        Recording(f"r{i}", f"shards/r{i}", 0, end + 3, (), level, 0, {"train": (begin, end)})
        for i, (begin, end) in enumerate(parts)
    )
    return Corpus(
        name="c",
        rate=16000,
        codec="mulaw",
        levels=256,
        scaling="none",
        chunk=0,
        split_rule="t",
        contexts_cross_splits=True,
        licence="",
        augmentation=Augmentation(),
        differences=(),
        recordings=recordings,
        rejected=(),
        shards={},
        splits={},
        linear=Reference(1, (1.0,), 0.0, 1.0),
        versions={},
    )


def all_targets(windows, indexes=None):
    indexes = np.arange(len(windows)) if indexes is None else indexes
    recording, offsets = windows.offsets(indexes)
    return [(int(r), int(t)) for r, row in zip(recording, offsets, strict=True) for t in row]


PARTS = st.lists(
    st.tuples(st.integers(0, 40), st.integers(0, 60)).map(lambda part: (part[0], sum(part))),
    min_size=1,
    max_size=5,
)


@given(
    parts=PARTS,
    context=st.integers(1, 12),
    more_history=st.integers(0, 12),
    runs=st.integers(1, 6),
    run=st.integers(1, 3),
    targets=st.integers(1, 4),
)
@settings(max_examples=300, deadline=None)
def test_windows_partition_the_eligible_targets(parts, context, more_history, runs, run, targets):
    history, spacing = context + more_history, runs * run
    eligible = [(i, t) for i, (b, e) in enumerate(parts) for t in range(max(b, history), e)]
    try:
        windows = Windows.of(corpus(*parts), "train", context, spacing, targets, history, run)
    except WindowError:
        # A refusal is right only if no recording has eligible targets for one block.
        assert max(Counter(i for i, _ in eligible).values(), default=0) < targets * spacing
        return
    seen = all_targets(windows)
    assert len(seen) == len(set(seen)) == windows.targets_in_epoch
    assert set(seen) <= set(eligible)
    assert windows.left_out == len(eligible) - len(seen)
    for i, (begin, end) in enumerate(parts):
        covered = sorted(t for r, t in seen if r == i)
        first = max(begin, history)
        count = max(0, end - first) // (targets * spacing) * (targets * spacing)
        assert covered == list(range(first, first + count))


@given(parts=PARTS, context=st.integers(1, 9), spacing=st.integers(1, 5), targets=st.integers(1, 4))
@settings(deadline=None)
def test_a_window_lies_inside_its_recording(parts, context, spacing, targets):
    whole = corpus(*parts)
    try:
        windows = Windows.of(whole, "train", context, spacing, targets)
    except WindowError:
        return
    recording, first = windows.locate(np.arange(len(windows)))
    samples = np.array([entry.samples for entry in windows.recordings])[recording]
    assert (first - context >= 0).all()
    assert (first - context + windows.length <= samples).all()
    _, offsets = windows.offsets(np.arange(len(windows)))
    assert np.array_equal(offsets[:, -1], first - context + windows.length - 1)


def test_a_worked_example():
    windows = Windows.of(corpus((0, 17), (2, 5), (20, 33)), "train", 3, 2, 3, 4)
    assert (len(windows), windows.length, windows.targets_in_epoch) == (8, 8, 24)
    assert windows.left_out == 1 + 1 + 1
    recording, first = windows.locate(np.array([0, 1, 2, 3, 4, 5, 6, 7]))
    assert recording.tolist() == [0, 0, 0, 0, 2, 2, 2, 2]
    assert first.tolist() == [4, 5, 10, 11, 20, 21, 26, 27]
    assert windows.offsets(np.array([7]))[1].tolist() == [[27, 29, 31]]


def test_only_recordings_of_the_split_are_seen():
    recordings = (
        Recording("t", "s", 50, 1, 1, "", "", {"train": (0, 50)}),
        Recording("v", "s", 50, 1, 1, "", "", {"validation": (0, 50)}),
    )
    both = corpus().__class__(**{**vars(corpus()), "recordings": recordings})
    assert [entry.name for entry in Windows.of(both, "validation", 4).recordings] == ["v"]
    with pytest.raises(ManifestError, match="no samples in split 'test'"):
        Windows.of(both, "test", 4)


def test_targets_and_their_hash_do_not_depend_on_the_context():
    parts = corpus((0, 200), (50, 300))
    windows = [Windows.of(parts, "train", context, 4, 3, 40) for context in (1, 16, 40)]
    indexes = order_windows(np.arange(20), len(windows[0]), 0)
    assert all_targets(windows[0]) == all_targets(windows[1]) == all_targets(windows[2])
    assert len({hash_targets(each, indexes) for each in windows}) == 1
    assert [each.length for each in windows] == [10, 25, 49]


def test_the_hash_names_the_set_of_targets():
    windows = Windows.of(corpus((0, 200), (50, 300)), "train", 8, 4, 3)
    indexes = np.array([3, 1, 40, 55])
    assert hash_targets(windows, indexes) == hash_targets(windows, indexes[::-1])
    assert hash_targets(windows, indexes) != hash_targets(windows, indexes[:3])
    assert hash_targets(windows, indexes) != hash_targets(windows, np.array([3, 1, 40, 54]))
    grouped = Windows.of(corpus((0, 200), (50, 300)), "train", 8, 1, 12)
    # 192 and 242 eligible targets: blocks of 12 offsets either way, so the same sets of targets.
    every = (hash_targets(each, np.arange(len(each))) for each in (windows, grouped))
    assert len(set(every)) == 1


def test_the_hash_differs_between_recordings():
    one, two = (Windows.of(corpus((0, 20), part), "train", 4) for part in ((0, 20), (0, 21)))
    assert hash_targets(one, np.arange(16)) == hash_targets(two, np.arange(16))
    assert hash_targets(one, np.arange(16)) != hash_targets(one, np.arange(16, 32))


def test_an_epoch_is_without_replacement_and_epochs_differ():
    count = 101
    indexes = order_windows(np.arange(3 * count), count, 5).reshape(3, count)
    assert all(np.array_equal(np.sort(epoch), np.arange(count)) for epoch in indexes)
    assert not np.array_equal(indexes[0], indexes[1])
    assert not np.array_equal(indexes[0], order_windows(np.arange(count), count, 6))


@given(start=st.integers(0, 600), size=st.integers(0, 100), count=st.integers(20, 200))
@settings(deadline=None)
def test_the_order_can_be_entered_anywhere(start, size, count):
    positions = np.arange(start, start + size)
    whole = order_windows(np.arange(start + size), count, 1)
    assert np.array_equal(order_windows(positions, count, 1), whole[start:])


def test_targets_are_drawn_once_for_each_epoch():
    windows = Windows.of(corpus((0, 90), (10, 64)), "train", 7, 3, 2)
    drawn = all_targets(windows, order_windows(np.arange(2 * len(windows)), len(windows), 0))
    assert Counter(drawn) == {target: 2 for target in all_targets(windows)}


@pytest.mark.fault(
    "Corpora",
    "the context is longer than every recording",
    "it is refused, and the error names what to change",
)
def test_a_corpus_without_windows_is_refused_with_the_remedy():
    with pytest.raises(WindowError) as error:
        Windows.of(corpus((0, 30), (90, 100)), "train", 8, 4, 3, 95)
    assert str(error.value) == (
        "No window of 3 targets, 4 apart, after a history of 95 samples fits split 'train': it "
        "needs 12 targets in a row, and in the longest recording (r1, samples 90..99) 5 are left. "
        "Take a shorter history, fewer targets, a smaller spacing or longer recordings."
    )


@pytest.mark.parametrize(
    ("numbers", "sentence"),
    [
        ((-1, 1, 1, 5), "Context -1 must be 0 or more, and spacing 1 and targets 1 1 or more"),
        ((5, 0, 1, 5), "spacing 0"),
        ((5, 1, -2, 5), "targets -2"),
        ((5, 1, 1, 4), "History 4 is shorter than the context 5"),
    ],
)
def test_numbers_out_of_bounds_are_refused(numbers, sentence):
    with pytest.raises(WindowError, match=sentence):
        Windows.of(corpus((0, 100)), "train", *numbers)


@given(parts=PARTS, targets=st.integers(1, 7))
def test_windows_without_a_context_tile_each_recording_from_its_beginning(parts, targets):
    tiles = [
        (number, list(range(first, first + targets)))
        for number, (begin, end) in enumerate(parts)
        for first in range(begin, end - targets + 1, targets)
    ]
    if not tiles:
        with pytest.raises(WindowError, match=f"No window of {targets} targets"):
            Windows.of(corpus(*parts), "train", 0, 1, targets)
        return
    windows = Windows.of(corpus(*parts), "train", 0, 1, targets)
    assert windows.length == targets
    recording, offsets = windows.offsets(np.arange(len(windows)))
    assert list(zip(recording.tolist(), offsets.tolist(), strict=True)) == tiles
    assert windows.left_out == sum((end - begin) % targets for begin, end in parts)
    assert windows.padded_windows == 0


@pytest.mark.parametrize("index", [-1, 84])
def test_indexes_outside_are_refused(index):
    windows = Windows.of(corpus((0, 100)), "train", 16)
    assert len(windows) == 84
    with pytest.raises(IndexError, match=r"not all in 0\.\.83"):
        windows.locate(np.array([index]))


@given(parts=PARTS, context=st.integers(1, 12))
def test_the_hash_of_every_target_is_that_of_all_windows_of_one(parts, context):
    try:
        windows = Windows.of(corpus(*parts), "train", context)
    except WindowError:
        return
    assert hash_every_target(windows) == hash_targets(windows, np.arange(len(windows)))


def test_a_run_that_does_not_divide_the_spacing_is_refused():
    with pytest.raises(WindowError, match="A run of 2 targets does not divide the spacing 3"):
        Windows.of(corpus((0, 60)), "train", 4, spacing=3, run=2)


def test_the_targets_of_a_run_follow_each_other():
    windows = Windows.of(corpus((0, 60)), "train", 4, spacing=6, targets=2, run=3)
    _, offsets = windows.offsets(np.array([0, 1]))
    assert offsets.tolist() == [[4, 5, 6, 10, 11, 12], [7, 8, 9, 13, 14, 15]]
    assert windows.length == 4 + 6 + 3


@given(
    parts=PARTS,
    context=st.integers(1, 30),
    runs=st.integers(1, 6),
    run=st.integers(1, 3),
    targets=st.integers(1, 4),
    history=st.integers(1, 12),
)
@settings(max_examples=200, deadline=None)
def test_padded_windows_are_counted_and_reach_targets_with_less_than_a_context(
    parts, context, runs, run, targets, history
):
    spacing = runs * run
    try:
        windows = Windows.of(
            corpus(*parts), "train", context, spacing, targets, history, run, padded=True
        )
    except WindowError:
        return
    padding = windows.padding(np.arange(len(windows)))
    assert windows.padded_windows == np.count_nonzero(padding)
    _, first = windows.locate(np.arange(len(windows)))
    assert (first >= history).all()
    assert np.array_equal(padding, np.maximum(context - first, 0))
    long_enough = Windows.of(corpus(*parts), "train", history, spacing, targets, history, run)
    assert all_targets(windows) == all_targets(long_enough)
