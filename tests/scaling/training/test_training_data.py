from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch

from datasets.storage import Folder
from scaling.orchestration.train import make_job
from scaling.runs.job import WorkerStart
from scaling.training.data import (
    batches,
    held_out_rows,
    held_out_stream,
    training_shards,
    training_stream,
)
from tests.helpers.runs import small_run


def test_held_out_windows_do_not_depend_on_seed_context_or_workers(embedded_corpus, tmp_path):
    def indexes(workers=1, **changes):
        run = small_run(embedded_corpus, tmp_path, windows__history=4_000, **changes)
        stream = held_out_stream(run, embedded_corpus, workers)
        return stream.indexes(stream.positions(0, 0))[0], stream.windows.offsets([3])[1].tolist()

    assert indexes() == indexes(workers=2, seed=7, model__context=2_000)


@pytest.mark.parametrize("elsewhere", [False, True])
@pytest.mark.parametrize("workers", [1, 2, 4])
def test_every_held_out_window_is_read_by_one_worker(embedded_corpus, tmp_path, workers, elsewhere):
    run = small_run(embedded_corpus, tmp_path, validation__windows=6)
    mapped = held_out_stream(run, embedded_corpus, workers)
    stream = replace(mapped, folder=Folder.of(f"file://{mapped.folder}")) if elsewhere else mapped
    rows = [held_out_rows(run, stream, rank) for rank in range(workers)]
    found = list(batches(rows, stream, 1, torch.device("cpu")))
    positions = [batch["position"].item() for batch in found]
    # Four workers do not divide six windows: each scores as many, and the last two do not count.
    assert sorted(positions) == list(range(-(-6 // workers) * workers))
    codes = torch.cat([batch["codes"] for batch in found])
    assert np.array_equal(codes.numpy(), mapped.read(np.array(positions)))


def test_the_seed_changes_the_order_of_training(embedded_corpus, tmp_path):
    one, other = (
        training_stream(small_run(embedded_corpus, tmp_path, seed=seed), embedded_corpus)
        for seed in (0, 1)
    )
    positions = one.positions(0, 0)
    assert one.indexes(positions).tolist() != other.indexes(positions).tolist()


def test_the_stream_continues_from_the_step_of_the_start_for_any_number_of_workers(
    embedded_corpus, tmp_path
):
    run = small_run(embedded_corpus, tmp_path)

    def read(shard):
        return [row["position"] for row in shard.iter_rows()]

    for workers in (1, 2, 4):
        start = WorkerStart(id="s", workers=workers, micro_batches=1, step=6)
        shards = training_shards(make_job(run, {}), start)
        # A shard ends when all of them have been asked for.
        with ThreadPoolExecutor(workers) as pool:
            found = list(pool.map(read, shards))
        stream = training_stream(run, embedded_corpus, workers)
        for rank, positions in enumerate(found):
            steps = [stream.positions(step, rank) for step in (6, 7)]
            assert positions == np.concatenate(steps).tolist()
