import hashlib

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets import shards

BLOCK = shards.BLOCK


def random_codes(samples):
    return np.random.default_rng(samples).integers(0, 256, samples, dtype=np.uint8)


@pytest.fixture(scope="module")
def long(tmp_path_factory):
    codes = random_codes(3 * BLOCK + 12_345)
    path = tmp_path_factory.mktemp("shards") / "long.parquet"
    shards.write(path, "long", np.array_split(codes, 7))
    return path, codes


@given(data=st.data())
@settings(max_examples=200, deadline=None)
def test_any_slice_is_the_slice_of_the_codes(long, data):
    path, codes = long
    begin = data.draw(st.integers(0, len(codes)))
    length = data.draw(st.integers(0, len(codes) - begin))
    assert np.array_equal(shards.read(path, begin, length), codes[begin : begin + length])


@pytest.mark.parametrize("edge", [BLOCK, 2 * BLOCK, 3 * BLOCK])
def test_slices_at_the_edges_of_blocks(long, edge):
    path, codes = long
    for begin, end in [(edge - 1, edge), (edge, edge + 1), (edge - 1, edge + 1)]:
        assert np.array_equal(shards.read(path, begin, end - begin), codes[begin:end])


@given(sizes=st.lists(st.sampled_from([0, 1, 77, BLOCK - 1, BLOCK, 2 * BLOCK + 3]), max_size=5))
@settings(max_examples=20, deadline=None)
def test_the_file_depends_on_the_codes_not_on_how_they_came(tmp_path_factory, sizes):
    folder = tmp_path_factory.mktemp("blocks")
    codes = random_codes(sum(sizes))
    pieces = np.split(codes, np.cumsum(sizes))
    samples, digest = shards.write(folder / "pieces", "name", iter(pieces))
    assert samples == len(codes)
    assert digest == shards.write(folder / "whole", "name", [codes])[1]
    assert digest == hashlib.sha256((folder / "pieces").read_bytes()).hexdigest()
    blocks = list(shards.codes(folder / "pieces"))
    assert all(len(block) == BLOCK for block in blocks[:-1])
    assert np.array_equal(np.concatenate([*blocks, codes[:0]]), codes)


def test_the_layout_is_the_documented_one(long):
    path, codes = long
    file = pq.ParquetFile(path)
    assert file.schema_arrow.equals(shards.SCHEMA)
    assert [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)] == [1] * 4
    table = file.read()
    assert table["offset"].to_pylist() == [0, BLOCK, 2 * BLOCK, 3 * BLOCK]
    assert set(table["recording"].to_pylist()) == {"long"}
    column = file.metadata.row_group(0).column(2)
    assert column.compression == "UNCOMPRESSED" and not column.is_stats_set
    assert path.stat().st_size < len(codes) * 1.01


@pytest.mark.parametrize(("begin", "length"), [(-1, 5), (5, -1), (0, 10**9), (3 * BLOCK, 12_346)])
def test_reads_beyond_the_ends_are_refused(long, begin, length):
    with pytest.raises(shards.ShardError, match=rf"holds samples 0\.\.798776; {length} from"):
        shards.read(long[0], begin, length)


def test_a_source_that_fails_leaves_no_file(tmp_path):
    def blocks():
        yield random_codes(2 * BLOCK)
        raise OSError("the disk went away")

    with pytest.raises(OSError, match="the disk went away"):
        shards.write(tmp_path / "half.parquet", "half", blocks())
    assert list(tmp_path.iterdir()) == []


def test_a_replaced_shard_is_opened_again(tmp_path):
    path = tmp_path / "shard"
    for samples in (1000, 2000):
        codes = random_codes(samples)
        shards.write(path, "name", [codes])
        assert np.array_equal(shards.read(path, 0, samples), codes)
