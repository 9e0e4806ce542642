"""A worker's batches, without Ray: its rows come from a list."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from datasets import shards
from datasets.storage import Folder
from datasets.stream import Stream
from datasets.windows import Windows
from scaling.training.data import AHEAD, batches, iterate_blocks
from tests.helpers.sounds import recording

CPU = torch.device("cpu")
SAMPLES = 50_000


class Rows:
    """Stand-in for a shard of Ray Data: the rows of some steps, block by block."""

    def __init__(self, stream, steps, rank=0):
        self.stream, self.steps, self.rank, self.begun = stream, steps, rank, 0

    def iter_batches(self, batch_size, **_options):
        assert batch_size % self.stream.windows_per_worker == 0
        positions = [self.stream.positions(step, self.rank) for step in range(self.steps)]
        rows = np.concatenate(positions)
        for first in range(0, len(rows), batch_size):
            self.begun += 1
            block = {"position": rows[first : first + batch_size]}
            block["window"] = self.stream.indexes(block["position"])
            if self.stream.carries_codes:
                block["codes"] = self.stream.read(block["position"])
            for column in block.values():
                column.flags.writeable = False
            yield block


@pytest.fixture
def stream(tmp_path):
    codes = np.random.default_rng(0).integers(0, 256, SAMPLES, dtype=np.uint8)
    writer = shards.ShardWriter(tmp_path / "s.parquet", 256)
    writer.add("r", [codes])
    writer.close()
    only = recording(shards.ShardLocation("s.parquet", 0, SAMPLES), {"train": (0, SAMPLES)})
    windows = Windows((only,), ((0, SAMPLES),), 999, 1, 1, 999)
    return Stream(Folder.of(tmp_path), windows, seed=1, batch=12, workers=2)


def carried(stream):
    return replace(stream, folder=Folder.of(f"file://{stream.folder}"))


@pytest.mark.parametrize("elsewhere", [False, True])
@pytest.mark.parametrize("size", [6, 3, 1])
def test_batches_have_the_windows_of_a_worker_in_order(stream, monkeypatch, elsewhere, size):
    monkeypatch.setattr("datasets.stream.BLOCK_ROWS", 20)
    monkeypatch.setattr("datasets.stream.BLOCK_BYTES", 20_000)
    given = carried(stream) if elsewhere else stream
    found = list(batches(iterate_blocks(Rows(given, 9, rank=1), given), given, size, CPU))
    assert len(found) == 9 * 6 // size
    assert {tuple(batch["codes"].shape) for batch in found} == {(size, 1_000)}
    positions = torch.cat([batch["position"] for batch in found]).numpy()
    assert positions.tolist() == [12 * step + 6 + k for step in range(9) for k in range(6)]
    windows = torch.cat([batch["window"] for batch in found]).numpy()
    assert np.array_equal(windows, stream.indexes(positions))
    codes = torch.cat([batch["codes"] for batch in found])
    assert codes.dtype == torch.uint8
    assert np.array_equal(codes.numpy(), stream.read(positions))


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_batch_is_its_taker_s_own(stream, elsewhere):
    given = carried(stream) if elsewhere else stream
    first, second = batches(iterate_blocks(Rows(given, 2), given), given, 6, CPU)
    kept = second["codes"].clone()
    first["codes"].zero_()
    assert torch.equal(second["codes"], kept)
    assert np.array_equal(given.read(first["position"].numpy())[0], stream.read(np.array([0]))[0])


def test_windows_that_begin_before_their_recording_have_padding(stream):
    windows = replace(stream.windows, history=200, padded=True)
    padded = replace(stream, windows=windows)
    for batch in batches(iterate_blocks(Rows(padded, 40), padded), padded, 6, CPU):
        expected = windows.padding(batch["window"].numpy())
        assert batch["padding"].tolist() == expected.tolist()
    plain = batches(iterate_blocks(Rows(stream, 2), stream), stream, 6, CPU)
    assert all("padding" not in batch for batch in plain)


def test_no_more_batches_than_stated_are_made_ahead(stream, monkeypatch):
    monkeypatch.setattr("datasets.stream.BLOCK_ROWS", 6)
    rows = Rows(stream, 50)
    taken = batches(iterate_blocks(rows, stream), stream, 6, CPU)
    next(taken)
    next(taken)
    taken.close()
    assert rows.begun <= 2 + AHEAD


@pytest.mark.fault(
    "Processes",
    "the stream fails while a step computes",
    "the error is raised when the batch is taken",
)
def test_an_error_of_prefetching_is_raised_when_the_batch_is_taken(stream):
    def broken():
        yield next(Rows(stream, 2).iter_batches(6))
        raise OSError("the disk is gone")

    taken = batches(broken(), stream, 6, CPU)
    assert next(taken)["position"].tolist() == [0, 1, 2, 3, 4, 5]
    with pytest.raises(OSError, match="the disk is gone"):
        next(taken)


def test_no_rows_are_no_batches(stream):
    assert list(batches([], stream, 6, CPU)) == []
