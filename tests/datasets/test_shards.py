import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets import audio, quantise, shards
from datasets.convert import write_shard
from datasets.shards import ShardError, ShardLocation
from datasets.storage import Folder
from tests.helpers.archives import SHARD, random_codes, written
from tests.helpers.sounds import RATE, SETTINGS, noise, sound, take

REAL_BLOCK = shards.BLOCK
BLOCK = 1_000
LENGTHS = (3 * BLOCK + 345, 1, BLOCK, BLOCK - 1, 2 * BLOCK, 77)


@pytest.fixture(scope="module", autouse=True)
def small_blocks():
    """Set blocks of a thousand codes, so that recordings have several."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "BLOCK", BLOCK)
        yield


@pytest.fixture(scope="module", params=[256, 65_536])
def several(request, tmp_path_factory):
    """Return a folder with a shard of several recordings, their codes and their locations."""
    folder = tmp_path_factory.mktemp("several")
    codes = [random_codes(length, request.param) for length in LENGTHS]
    return folder, codes, written(folder, codes, request.param)


@given(data=st.data())
@settings(max_examples=100)
@pytest.mark.parametrize("uri", ["{}", "file://{}"])
def test_any_read_is_the_slice_of_the_recordings_codes(several, uri, data):
    folder, codes, places = several
    number = data.draw(st.integers(0, len(codes) - 1))
    begin = data.draw(st.integers(0, len(codes[number])))
    length = data.draw(st.integers(0, len(codes[number]) - begin))
    found = shards.read(Folder.of(uri.format(folder)), places[number], begin, length)
    assert found.dtype == codes[number].dtype
    assert np.array_equal(found, codes[number][begin : begin + length])
    copied = np.empty_like(found)
    shards.read_into(copied, Folder.of(uri.format(folder)), places[number], begin)
    assert np.array_equal(copied, found)


@pytest.mark.parametrize("edge", [BLOCK, 2 * BLOCK, 3 * BLOCK])
def test_reads_at_the_edges_of_blocks_are_the_codes(several, edge):
    folder, codes, places = several
    for begin, end in [(edge - 1, edge), (edge, edge + 1), (edge - 1, edge + 1), (0, edge)]:
        found = shards.read(Folder.of(folder), places[0], begin, end - begin)
        assert np.array_equal(found, codes[0][begin:end])


def test_pyarrow_reads_the_same_codes(several):
    folder, codes, _ = several
    table = pq.read_table(folder / SHARD)
    for number, own in enumerate(codes):
        rows = table.filter(pa.compute.equal(table["recording"], f"r{number}"))
        assert rows["offset"].to_pylist() == list(range(0, len(own), BLOCK))
        content = b"".join(rows["codes"].to_pylist())
        assert np.array_equal(np.frombuffer(content, own.dtype), own)


@pytest.mark.parametrize(("levels", "bytes_a_code"), [(256, 1), (65_536, 2)])
def test_the_layout_is_the_documented_one(tmp_path, monkeypatch, levels, bytes_a_code):
    monkeypatch.setattr(shards, "BLOCK", REAL_BLOCK)
    codes = random_codes(2**24 + 12_345, levels)
    (place,) = written(tmp_path, [codes], levels)
    file = pq.ParquetFile(tmp_path / SHARD)
    assert [str(field.type) for field in file.schema_arrow] == ["string", "int64", "large_binary"]
    assert file.schema_arrow.names == ["recording", "offset", "codes"]
    assert file.schema_arrow.metadata[b"levels"] == str(levels).encode()
    assert [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)] == [1, 1]
    column = file.metadata.row_group(0).column(2)
    assert column.compression == "UNCOMPRESSED"
    assert not column.is_stats_set and not column.has_dictionary_page
    assert file.read_row_group(1)["offset"].to_pylist() == [2**24]
    assert (tmp_path / SHARD).stat().st_size < len(codes) * bytes_a_code + 10_000
    for begin, length in [(0, len(codes)), (2**24 - 3, 6), (2**23, 9)]:
        found = shards.read(Folder.of(tmp_path), place, begin, length)
        assert np.array_equal(found, codes[begin : begin + length])


@given(sizes=st.lists(st.sampled_from([0, 1, 77, BLOCK - 1, BLOCK, 2 * BLOCK + 3]), max_size=5))
@settings(max_examples=30)
def test_the_file_depends_on_the_codes_not_on_how_they_came(tmp_path_factory, sizes):
    folder = tmp_path_factory.mktemp("blocks")
    codes = random_codes(sum(sizes))
    (pieces,) = written(folder, [np.split(codes, np.cumsum(sizes))], name="pieces")
    (whole,) = written(folder, [codes], name="whole")
    assert pieces.samples == whole.samples == len(codes)
    assert (folder / "pieces").read_bytes() == (folder / "whole").read_bytes()


@pytest.mark.parametrize(("begin", "length"), [(-1, 5), (5, -1), (0, 10**9), (3 * BLOCK, 346)])
def test_reads_beyond_the_ends_are_refused(several, begin, length):
    folder, _, places = several
    with pytest.raises(ShardError, match=rf"has samples 0\.\.3344 of the rec.*; {length} from"):
        shards.read(Folder.of(folder), places[0], begin, length)


def test_a_local_read_inside_a_block_is_a_view_of_the_file_that_cannot_be_written(several):
    folder, _, places = several
    one, other = (shards.read(Folder.of(folder), places[0], begin, 300) for begin in (100, 250))
    assert np.shares_memory(one, other)
    assert one.__array_interface__["data"][1] and not one.flags.writeable
    assert np.shares_memory(one[150:], other[:150]) and not np.shares_memory(one[:150], other)
    across = shards.read(Folder.of(folder), places[0], BLOCK - 100, 300)
    assert not np.shares_memory(across, shards.read(Folder.of(folder), places[0], BLOCK, 300))


def test_a_replaced_file_is_opened_again(tmp_path):
    for samples in (900, 1_100, 1_000):
        codes = random_codes(samples)
        (place,) = written(tmp_path, [codes])
        # As if both were written within one tick of the clock.
        os.utime(tmp_path / SHARD, ns=(1, 1))
        assert np.array_equal(shards.read(Folder.of(tmp_path), place, 0, samples), codes)


def damaged(path, kind):
    content = path.read_bytes()
    table = pq.read_table(path)
    if kind == "gone":
        path.unlink()
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("no Parquet at all")
    elif kind == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif kind == "no footer":
        path.write_bytes(content[:-8] + bytes(8))
    elif kind == "without levels":
        pq.write_table(table.replace_schema_metadata({}), path, row_group_size=1)
    elif kind == "other levels":
        pq.write_table(table.replace_schema_metadata({b"levels": b"300"}), path, row_group_size=1)
    elif kind == "compressed":
        codes = pa.array(
            [bytes(len(code)) for code in table["codes"].to_pylist()], pa.large_binary()
        )
        pq.write_table(
            table.set_column(2, "codes", codes), path, compression="zstd", row_group_size=1
        )
    elif kind == "other columns":
        pq.write_table(table.select(["recording", "offset"]), path, row_group_size=1)
    elif kind == "a name that is no text":
        path.write_bytes(content.replace(b"offset", b"off\x80et"))
    elif kind == "one row group":
        pq.write_table(table, path, compression="none")


KINDS = ["gone", "empty", "text", "cut", "no footer", "without levels", "other levels"]
KINDS += ["compressed", "other columns", "one row group", "a name that is no text"]


@pytest.mark.fault(
    "Corpora",
    "a shard is no Parquet, or is another shard",
    "an error names the problem before any code is read",
)
@pytest.mark.parametrize("uri", ["{}", "file://{}"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_or_foreign_file_is_refused_with_the_reason(tmp_path, uri, kind):
    codes = random_codes(2 * BLOCK + 10)
    (place,) = written(tmp_path, [codes])
    damaged(tmp_path / SHARD, kind)
    with pytest.raises(ShardError, match=r"shards/s\.parquet.*prepare the corpus again"):
        shards.read(Folder.of(uri.format(tmp_path)), place, 10, 20)


@pytest.mark.parametrize("name", [b"ofgset", b"off\x80et"])
def test_one_changed_bit_in_the_name_of_a_column_makes_rows_that_cannot_be_read(tmp_path, name):
    written(tmp_path, [random_codes(10)])
    path = tmp_path / SHARD
    path.write_bytes(path.read_bytes().replace(b"offset", name))
    with pytest.raises(OSError, match="it is no shard: "):
        shards.read_row_groups(Folder.of(tmp_path), SHARD)


@pytest.mark.parametrize("uri", ["{}", "file://{}"])
@pytest.mark.parametrize(
    ("row", "samples"), [(0, 2 * BLOCK), (1, 2 * BLOCK + 9), (2, 2 * BLOCK + 10), (9, 10), (0, 9)]
)
def test_a_place_outside_of_the_file_is_refused(tmp_path, uri, row, samples):
    written(tmp_path, [random_codes(10), random_codes(2 * BLOCK + 10)])
    folder = Folder.of(uri.format(tmp_path))
    assert (
        len(shards.read(folder, ShardLocation(SHARD, 1, 2 * BLOCK + 10), 0, 2 * BLOCK + 10))
        == 2_010
    )
    with pytest.raises(ShardError, match="prepare the corpus again"):
        shards.read(folder, ShardLocation(SHARD, row, samples), 0, samples)


def test_a_shard_in_a_bucket_is_read_by_ranges(bucket, tmp_path):
    folder = Folder.of(f"{bucket}/{tmp_path.name}")
    codes = [random_codes(length) for length in LENGTHS[:3]]
    places = written(folder, codes)
    for number, begin, length in [(0, 0, 3_345), (0, 995, 10), (1, 0, 1), (2, 17, 100)]:
        found = shards.read(folder, places[number], begin, length)
        assert np.array_equal(found, codes[number][begin : begin + length])
    with pytest.raises(ShardError, match=r"The shard gone\.parquet of s3://.* cannot be read"):
        shards.read(folder, ShardLocation("gone.parquet", 0, 10), 0, 10)


def test_a_hundred_thousand_random_reads_are_the_codes_of_the_audio_files(tmp_path):
    root = tmp_path / "audio"
    files = {"a.wav": RATE, "b.flac": 44_100, "c.wav": 48_000, "d.ogg": RATE, "e.wav": 8_000}
    for seed, (name, rate) in enumerate(files.items()):
        stereo = np.stack([noise(9_000 + seed, seed), noise(9_000 + seed, 9 - seed)], axis=1)
        sound(root / name, stereo, rate)
    folder = Folder.of(tmp_path / "corpus")
    folder.make_folder("shards")
    takes = [take(root, name) for name in files]
    made = [write_shard(takes[:3], folder, SETTINGS), write_shard(takes[3:], folder, SETTINGS)]
    places = [
        ShardLocation(facts.shard, entry.row, entry.samples)
        for facts in made
        for each in facts.made
        for entry in each.entries
    ]
    slow = [quantise.encode(audio.read(root / name, RATE), "mulaw") for name in files]
    generator = np.random.default_rng(0)
    recordings = generator.integers(0, len(files), 100_000)
    begins = generator.integers(0, [len(slow[number]) for number in recordings])
    lengths = np.minimum(
        generator.integers(1, 80, 100_000), [len(slow[n]) for n in recordings] - begins
    )
    for number, begin, length in zip(
        recordings.tolist(), begins.tolist(), lengths.tolist(), strict=True
    ):
        found = shards.read(folder, places[number], begin, length)
        assert found.tobytes() == slow[number][begin : begin + length].tobytes()
    assert len(os.listdir(tmp_path / "corpus" / "shards")) == 4
