from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import ray
from ray.data import ExecutionOptions

from datasets import shards
from datasets.storage import Folder
from datasets.stream import Stream
from datasets.windows import Windows


def stream_of(corpus, workers, batch=6, **changes):
    windows = Windows.of(corpus, "train", context=3_000, spacing=500, targets=4)
    stream = Stream(corpus.folder, windows, seed=3, batch=batch, workers=workers)
    return replace(stream, **changes)


@ray.remote(num_cpus=0)
def received(iterator):
    rows = []
    for batch in iterator.iter_batches(batch_size=256, batch_format="numpy"):
        positions = batch["position"].tolist()
        codes = [row.copy() for row in batch["codes"]] if "codes" in batch else [None] * 256
        rows += list(zip(positions, batch["window"].tolist(), codes, strict=False))
    return rows


def delivered(stream, first, last):
    """Return each worker's rows of steps [first, last), as Ray Train splits a dataset."""
    dataset = stream.dataset(first, last)
    dataset.context.execution_options = ExecutionOptions(preserve_order=True)
    splits = dataset.streaming_split(stream.workers, equal=True)
    return ray.get([received.remote(split) for split in splits])


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_every_worker_gets_its_positions_in_order(embedded_corpus, monkeypatch, workers):
    monkeypatch.setattr("datasets.stream.BLOCK_ROWS", 4)
    stream = stream_of(embedded_corpus, workers)
    for rank, rows in enumerate(delivered(stream, 2, 9)):
        expected = np.concatenate([stream.positions(step, rank) for step in range(2, 9)])
        assert [position for position, _, _ in rows] == expected.tolist()
        assert all(codes is None for _, _, codes in rows)


def test_rows_carry_codes_if_workers_cannot_map_the_shards(embedded_corpus, monkeypatch):
    monkeypatch.setattr("datasets.stream.BLOCK_BYTES", 30_000)
    elsewhere = Folder.of(f"file://{embedded_corpus.folder}")
    assert elsewhere.local is None
    stream = stream_of(embedded_corpus, 2, folder=elsewhere)
    here = stream_of(embedded_corpus, 2)
    for rank, rows in enumerate(delivered(stream, 2, 5)):
        positions = np.array([position for position, _, _ in rows])
        expected = np.concatenate([stream.positions(step, rank) for step in range(2, 5)])
        assert positions.tolist() == expected.tolist()
        assert np.array_equal(np.stack([codes for _, _, codes in rows]), here.read(positions))


def test_a_window_has_the_codes_of_its_recording(embedded_corpus):
    stream = stream_of(embedded_corpus, 1)
    place = embedded_corpus.recordings[0].location
    whole = shards.read(embedded_corpus.folder, place, 0, place.samples)
    positions = np.array([0, 5, 17, 100_000])
    for window, codes in zip(stream.indexes(positions), stream.read(positions), strict=True):
        _, first = stream.windows.locate(np.array([window]))
        begin = int(first[0]) - 3_000
        np.testing.assert_array_equal(codes, whole[begin : begin + stream.windows.length])


def test_the_filler_of_a_padded_window_is_silence_and_its_length_is_known(embedded_corpus):
    windows = Windows.of(
        embedded_corpus, "train", context=3_000, spacing=500, targets=4, history=500, padded=True
    )
    stream = stream_of(embedded_corpus, 1, windows=windows)
    place = embedded_corpus.recordings[0].location
    whole = shards.read(embedded_corpus.folder, place, 0, place.samples)
    positions = np.arange(len(windows))
    short = windows.padding(stream.indexes(positions)) > 0
    assert 0 < short.sum() < len(windows)
    assert short.sum() == windows.padded_windows
    for position in positions[short][::50]:
        index = stream.indexes(np.array([position]))
        padding = int(windows.padding(index)[0])
        first = int(windows.locate(index)[1][0])
        assert padding == 3_000 - first
        (codes,) = stream.read(np.array([position]))
        assert (codes[:padding] == 128).all()
        real = windows.length - padding
        np.testing.assert_array_equal(codes[padding:], whole[:real])


def test_polarity_is_drawn_from_seed_epoch_and_index_alone(embedded_corpus):
    plain, inverting = stream_of(embedded_corpus, 1), stream_of(embedded_corpus, 1, polarity=True)
    positions = np.array([0, 1, 2, 3, len(plain.windows) + 1, 7, 8, 9, 10, 11, 12, 13])
    codes, changed = plain.read(positions), inverting.read(positions)
    inverted = (changed == 255 - codes).all(1)
    assert (inverted | (changed == codes).all(1)).all()
    assert 0 < inverted.sum() < len(positions)
    backwards = inverting.read(positions[::-1])[::-1]
    assert np.array_equal(backwards, changed)
    other_workers = replace(inverting, workers=3).read(positions)
    assert np.array_equal(other_workers, changed)


@pytest.mark.fault(
    "Corpora",
    "a run stops at random steps and changes its number of workers, over two epochs",
    "every target is used once an epoch, in the same order",
)
def test_two_epochs_use_every_target_once_each_despite_stops_and_other_world_sizes(embedded_corpus):
    windows = Windows.of(embedded_corpus, "train", context=30_000, spacing=2_000, targets=40)
    # 24 windows a step, for 1, 2, 3 and 4 workers.
    stream = stream_of(embedded_corpus, 1, batch=24, windows=windows)
    steps = -(-2 * len(windows) // stream.batch)
    draws = np.random.default_rng(5)
    stops = sorted({0, steps, *draws.integers(1, steps, 6).tolist()})
    sequence = []
    for (start, stop), workers in zip(pairwise(stops), [1, 4, 2, 3, 1, 3, 2], strict=False):
        # A killed worker has read more than it has trained, so steps are repeated.
        ahead = min(steps, stop + 2)
        ranks = delivered(replace(stream, workers=workers), start, ahead)
        share = stream.batch // workers
        for step in range(stop - start):
            for rows in ranks:
                sequence += [window for _, window, _ in rows[step * share : (step + 1) * share]]
    assert len(sequence) == steps * stream.batch
    alone = stream.indexes(np.arange(steps * stream.batch))
    assert sequence == alone.tolist()
    for epoch in range(2):
        seen = np.array(sequence[epoch * len(windows) : (epoch + 1) * len(windows)])
        recordings, offsets = windows.offsets(seen)
        assert not recordings.any()
        expected = np.sort(windows.offsets(np.arange(len(windows)))[1].ravel())
        assert np.array_equal(np.sort(offsets.ravel()), expected)
        assert len(np.unique(offsets)) == windows.targets_in_epoch


@pytest.mark.parametrize("unique", [1, 7, 20])
def test_so_many_windows_alone_come_once_an_epoch_and_fewer_are_among_more(embedded_corpus, unique):
    stream = stream_of(embedded_corpus, 1, unique=unique)
    epochs = stream.indexes(np.arange(5 * unique)).reshape(5, unique)
    drawn = set(epochs[0].tolist())
    assert len(drawn) == unique < len(stream.windows)
    assert all(set(epoch.tolist()) == drawn for epoch in epochs)
    assert unique == 1 or not all(np.array_equal(epoch, epochs[0]) for epoch in epochs)
    more = replace(stream, unique=50).indexes(np.arange(50))
    assert drawn < set(more.tolist())
    other = replace(stream, seed=4).indexes(np.arange(unique))
    assert set(other.tolist()) != drawn


def test_all_windows_drawn_are_all_windows(embedded_corpus):
    every = len(stream_of(embedded_corpus, 1).windows)
    stream = stream_of(embedded_corpus, 1, unique=every)
    assert sorted(stream.indexes(np.arange(every))) == list(range(every))


@pytest.mark.fault(
    "Corpora", "a run has 1, 2, 3 or 4 workers", "the global batches and their order are the same"
)
def test_global_batches_do_not_depend_on_the_number_of_workers(embedded_corpus):
    for step in (0, 5, 1_000_003):
        batches = []
        for workers in (1, 2, 3, 6):
            stream = stream_of(embedded_corpus, workers)
            parts = [stream.positions(step, rank) for rank in range(workers)]
            batches.append(stream.indexes(np.concatenate(parts)).tolist())
        assert all(one == other for one, other in pairwise(batches))


def test_an_epoch_of_batches_has_every_window_once(embedded_corpus):
    stream = stream_of(embedded_corpus, 2)
    count = len(stream.windows)
    indexes = stream.indexes(np.arange(count, 2 * count))
    assert len(np.unique(indexes)) == count


def test_a_finished_run_streams_nothing(embedded_corpus):
    assert delivered(stream_of(embedded_corpus, 2), 7, 7) == [[], []]
