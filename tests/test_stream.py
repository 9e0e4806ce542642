from itertools import pairwise

import numpy as np
import pytest
import ray
from ray.data import ExecutionOptions

from datasets import shards
from datasets.stream import Stream
from datasets.windows import Windows, order


def stream_of(corpus, workers, batch=6):
    windows = Windows.of(corpus, "train", context=3_000, spacing=500, targets=4)
    return Stream(corpus.folder, windows, seed=3, batch=batch, workers=workers)


@ray.remote(num_cpus=0)
def received(iterator):
    rows = []
    for batch in iterator.iter_batches(batch_size=1, batch_format="numpy"):
        rows.append((int(batch["position"][0]), int(batch["window"][0]), batch["codes"][0].copy()))
    return rows


def delivered(stream, first, last):
    """What each worker gets of steps [first, last), as Ray Train splits a dataset."""
    dataset = stream.dataset(first, last)
    dataset.context.execution_options = ExecutionOptions(preserve_order=True)
    splits = dataset.streaming_split(stream.workers, equal=True)
    return ray.get([received.remote(split) for split in splits])


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_every_worker_gets_its_positions_in_order(embedded_corpus, monkeypatch, workers):
    monkeypatch.setattr("datasets.stream.BLOCK_BYTES", 30_000)
    stream = stream_of(embedded_corpus, workers)
    for rank, rows in enumerate(delivered(stream, 2, 9)):
        expected = np.concatenate([stream.positions(step, rank) for step in range(2, 9)])
        assert [position for position, _, _ in rows] == expected.tolist()


def test_a_row_holds_the_codes_of_its_window(embedded_corpus):
    stream = stream_of(embedded_corpus, 1)
    (rows,) = delivered(stream, 0, 2)
    count = len(stream.windows)
    shard = embedded_corpus.folder / embedded_corpus.recordings[0].shard
    whole = shards.read(shard, 0, embedded_corpus.recordings[0].samples)
    for position, window, codes in rows:
        assert window == order(np.array([position]), count, 3)[0]
        _, first = stream.windows.locate(np.array([window]))
        begin = int(first[0]) - 3_000
        np.testing.assert_array_equal(codes, whole[begin : begin + stream.windows.length])


def test_global_batches_do_not_depend_on_the_number_of_workers(embedded_corpus):
    for step in (0, 5, 1_000_003):
        batches = []
        for workers in (1, 2, 3, 6):
            stream = stream_of(embedded_corpus, workers)
            parts = [stream.positions(step, rank) for rank in range(workers)]
            batches.append(stream.indexes(np.concatenate(parts)).tolist())
        assert all(one == other for one, other in pairwise(batches))


def test_an_epoch_of_batches_holds_every_window_once(embedded_corpus):
    stream = stream_of(embedded_corpus, 2)
    count = len(stream.windows)
    indexes = stream.indexes(np.arange(count, 2 * count))
    assert len(np.unique(indexes)) == count


def test_a_finished_run_streams_nothing(embedded_corpus):
    assert delivered(stream_of(embedded_corpus, 2), 7, 7) == [[], []]
