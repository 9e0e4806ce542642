import itertools
import math
from dataclasses import replace

import numpy as np
import pytest

from datasets import jobs, quantise, references, summary
from datasets.shards import ShardLocation, ShardWriter
from datasets.splits import SPLITS
from datasets.storage import Folder
from datasets.summary import SummaryError, summarise
from tests.helpers.sounds import in_process, noise, recording

RATE = 16_000
BLOCK = 256
# Samples of each recording, and the range of each split.
RECORDINGS = (
    (4_000, {"train": (0, 2_800), "validation": (2_800, 3_400), "test": (3_400, 4_000)}),
    (33, {"train": (0, 20), "validation": (20, 33)}),
    (1_000, {"test": (0, 1_000)}),
    (2_500, {"train": (0, 2_500)}),
    (700, {"train": (0, 10), "validation": (10, 700)}),
)


@pytest.fixture(autouse=True)
def small_and_without_ray(monkeypatch):
    """Make blocks and tasks so small that there are several; the last task ends first."""
    monkeypatch.setattr(jobs, "run_tasks", in_process)
    monkeypatch.setattr(references, "BLOCK", BLOCK)
    monkeypatch.setattr(summary, "TASK_PARTS", 2)


@pytest.fixture(params=[256, 65_536])
def prepared(request, tmp_path):
    """Return a folder with one shard, its recordings, their codes, and the levels."""
    folder, levels = Folder.of(tmp_path), request.param
    codes = [
        quantise.encode(noise(samples, seed), "linear", levels)
        for seed, (samples, _) in enumerate(RECORDINGS)
    ]
    entries = []
    with folder.writing("s") as path:
        writer = ShardWriter(path, levels)
        for own, (samples, ranges) in zip(codes, RECORDINGS, strict=True):
            row, _ = writer.add("r", [own])
            entries.append(recording(ShardLocation("s", row, samples), ranges))
        writer.close()
    return folder, entries, codes, levels


def silent(step, done, total):
    """Ignore the progress."""


def scorable(codes, split):
    """Return the blocks of a split with enough history, (recording, begin, end), in order."""
    blocks = []
    for number, (_, ranges) in enumerate(RECORDINGS):
        begin, end = ranges.get(split, (0, 0))
        for first in range(max(begin, 32), end, BLOCK):
            blocks.append((number, first, min(first + BLOCK, end)))
    return [(codes[number], begin, end) for number, begin, end in blocks]


def even(blocks, most, samples):
    """Choose block n if floor((n + 1) share) exceeds floor(n share)."""
    share = min(1.0, most / samples)
    return [b for n, b in enumerate(blocks) if math.floor((n + 1) * share) > math.floor(n * share)]


def runs(blocks):
    """Return every run of 33 codes whose last code is in one of the blocks."""
    return np.concatenate(
        [
            np.lib.stride_tricks.sliding_window_view(codes[begin - 32 : end], 33)
            for codes, begin, end in blocks
        ]
    ).astype(float)


def owned(codes, split):
    parts = zip(codes, RECORDINGS, strict=True)
    return [own[slice(*ranges[split])] for own, (_, ranges) in parts if split in ranges]


def expected_fit(codes, levels, scored, fitted):
    samples = sum(map(len, owned(codes, "train")))
    fitting = runs(even(scorable(codes, "train"), scored, samples))
    design = np.hstack([fitting[:, 31::-1], np.ones((len(fitting), 1))])
    solution = np.linalg.lstsq(design, fitting[:, 32], rcond=None)[0]
    scaling = runs(even(scorable(codes, "train"), fitted, samples))
    centres = np.hstack([scaling[:, 31::-1], np.ones((len(scaling), 1))]) @ solution
    return solution, references.fit_scale(scaling[:, 32], centres, levels)


@pytest.mark.parametrize(("scored", "fitted"), [(2**24, 2**22), (2_000, 1_200), (700, 300)])
def test_figures_are_those_of_the_whole_corpus_or_of_an_even_choice_of_its_blocks(
    prepared, monkeypatch, scored, fitted
):
    monkeypatch.setattr(summary, "MAX_SCORED_SAMPLES", scored)
    monkeypatch.setattr(summary, "MAX_FITTED_SAMPLES", fitted)
    folder, entries, codes, levels = prepared
    linear, found = summarise(entries, folder, RATE, levels, silent)
    solution, scale = expected_fit(codes, levels, scored, fitted)
    assert np.allclose(linear.coefficients, solution[:-1], atol=1e-6)
    assert linear.intercept == pytest.approx(solution[-1], rel=1e-5)
    assert linear.scale == pytest.approx(scale, rel=1e-3)
    for split in SPLITS:
        parts = owned(codes, split)
        every = np.concatenate(parts)
        chosen = even(scorable(codes, split), scored, len(every))
        nats = references.linear_nats(runs(chosen), linear, levels)
        assert found[split].linear_bits == pytest.approx(nats.mean() / math.log(2))
        assert found[split].linear_samples == len(nats) <= len(every)
        assert (found[split].recordings, found[split].samples) == (len(parts), len(every))
        assert found[split].seconds == len(every) / RATE


def direct_pair_bits(parts):
    pairs = [pair for part in parts for pair in itertools.pairwise(part.tolist())]
    joint = np.unique(np.array(pairs), axis=0, return_counts=True)[1] / len(pairs)
    before = np.unique([first for first, _ in pairs], return_counts=True)[1] / len(pairs)
    return (before * np.log2(before)).sum() - (joint * np.log2(joint)).sum()


def test_counts_are_of_all_samples_even_if_few_are_scored(prepared, monkeypatch):
    monkeypatch.setattr(summary, "MAX_SCORED_SAMPLES", 700)
    folder, entries, codes, levels = prepared
    _, found = summarise(entries, folder, RATE, levels, silent)
    for split in SPLITS:
        parts = owned(codes, split)
        every = np.concatenate(parts)
        shares = np.unique(every, return_counts=True)[1] / len(every)
        entropy = -(shares * np.log2(shares)).sum()
        assert found[split].histogram_bits == pytest.approx(entropy)
        bins = np.bincount(every // (levels // 256), minlength=256)
        assert found[split].histogram == tuple(bins.tolist())
        assert found[split].pair_bits == (
            pytest.approx(direct_pair_bits(parts)) if levels == 256 else None
        )


def test_a_choice_is_even_over_all_recordings_and_repeats(prepared):
    folder, entries, codes, _ = prepared
    parts = [part for part in summary._parts(entries) if part.split == "train"]
    samples = sum(part.end - part.begin for part in parts)
    share = summary._share(2_000, samples)
    chosen = [block for part in parts for block in summary._chosen(folder, part, share)]
    again = [block for part in parts for block in summary._chosen(folder, part, share)]
    assert all(map(np.array_equal, chosen, again))
    blocks = scorable(codes, "train")
    expected = even(blocks, 2_000, samples)
    assert [block.tolist() for block in chosen] == [
        own[begin - 32 : end].tolist() for own, begin, end in expected
    ]
    # 2,000 of 5,330 samples: chosen blocks are two or three apart.
    numbers = [[id(b) for b in blocks].index(id(block)) for block in expected]
    assert len(numbers) == math.floor(len(blocks) * share) == 7
    assert set(np.diff(numbers)) == {2, 3}
    assert {len(own) for own, _, _ in expected} == {4_000, 2_500}


def test_the_tasks_do_not_show(prepared, monkeypatch):
    folder, entries, _, levels = prepared
    expected = summarise(entries, folder, RATE, levels, silent)
    for parts, samples in ((1, 10**9), (100, 10**9), (100, 1), (3, 2_600)):
        monkeypatch.setattr(summary, "TASK_PARTS", parts)
        monkeypatch.setattr(summary, "TASK_SAMPLES", samples)
        linear, found = summarise(entries, folder, RATE, levels, silent)
        for split in SPLITS:
            assert found[split].histogram == expected[1][split].histogram
            assert found[split].linear_bits == pytest.approx(expected[1][split].linear_bits)
        if levels == 256:
            # The sums are of whole numbers, so their order does not matter.
            assert linear == expected[0]


def test_a_group_is_full_with_so_many_parts_or_samples(prepared):
    parts = summary._parts(prepared[1])
    for most, samples in ((2, 10**9), (100, 3_000), (100, 1)):
        groups = jobs.fill_groups(parts, lambda part: part.samples, samples, most)
        assert [part for group in groups for part in group] == parts
        assert all(len(group) <= most for group in groups)
        assert all(sum(part.samples for part in group[:-1]) < samples for group in groups)
    assert [len(group) for group in groups] == [1] * len(parts)


def test_a_split_without_samples_has_no_figures(prepared):
    folder, entries, _, levels = prepared
    rest = [replace(e, ranges={"train": (0, e.samples)}) for e in entries]
    assert list(summarise(rest, folder, RATE, levels, silent)[1]) == ["train"]


@pytest.mark.parametrize("split", SPLITS)
def test_a_split_in_which_nothing_has_a_history_is_an_error(prepared, split):
    folder, entries, _, levels = prepared
    others = [name for name in SPLITS if name != split]
    long = replace(entries[0], ranges={others[0]: (0, 2_000), others[1]: (2_000, 4_000)})
    short = replace(entries[4], ranges={split: (0, 31)})
    with pytest.raises(SummaryError, match=f"None of the 31 samples of split '{split}' has 32"):
        summarise([long, short], folder, RATE, levels, silent)


def test_progress_counts_the_parts_twice(prepared):
    folder, entries, _, levels = prepared
    steps = []
    summarise(entries, folder, RATE, levels, lambda *step: steps.append(step))
    # 9 parts in groups of 2, the last group first.
    done = [1, 3, 5, 7, 9]
    assert steps == [(name, number, 9) for name in ("count", "score") for number in done]
