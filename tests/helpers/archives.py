"""Archives, shards, tables and manifests for tests of corpora."""

import bz2
import gzip
import io
import lzma
import struct
import tarfile
import zipfile
from pathlib import Path
from unittest import mock

import numpy as np
import pyarrow
import pytest
from pyarrow import csv, parquet

from datasets import archives, quantise
from datasets.archives import ArchiveError, unpack
from datasets.augment import Augmentation
from datasets.columns import Series
from datasets.level import Level
from datasets.manifest import (
    Corpus,
    Recording,
    RecordingPart,
    Reference,
    Rejected,
    Shard,
    SplitSummary,
)
from datasets.shards import ShardLocation, ShardWriter
from datasets.storage import Folder

COMPRESS = {".tar": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}
COMPRESS |= {".tgz": gzip.compress, ".tbz2": bz2.compress, ".txz": lzma.compress}
FAMILIES = pytest.mark.parametrize("suffix", [".zip", ".tar", ".tar.gz", ".tar.bz2", ".tar.xz"])
MIB = 2**20


def zipped(members, method=zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method, compresslevel=1) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return stream.getvalue()


def tarred(members) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name) if isinstance(name, str) else name
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def packed(members, suffix: str) -> bytes:
    """Write an archive of (name or info, content) pairs, with the names unchanged."""
    compress = COMPRESS.get(suffix.removeprefix(".tar") or suffix)
    return compress(tarred(members)) if compress else zipped(members)


def patched(data: bytes, local: int, directory: int, form: str, *values: int) -> bytes:
    """Write a zip of one member with other values at these offsets of its two headers."""
    changed = bytearray(data)
    struct.pack_into(form, changed, data.index(b"PK\3\4") + local, *values)
    struct.pack_into(form, changed, data.index(b"PK\1\2") + directory, *values)
    return bytes(changed)


def tree(folder: Path) -> dict[str, bytes | None]:
    """Return every path below a folder with the bytes of files, None for folders."""
    paths = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*")}
    return {name: None if path.is_dir() else path.read_bytes() for name, path in paths.items()}


def place_in(folder: Path) -> Path:
    """Make a folder for archives, with neighbours that no archive may change."""
    (folder / "work" / "other").mkdir(parents=True)
    (folder / "outside.wav").write_bytes(b"outside")
    return folder / "work"


def unpacked(place: Path, name: str, data: bytes, **limits: int) -> Path:
    (place / name).write_bytes(data)
    with mock.patch.dict(vars(archives), limits):
        unpack(place / name, place / "out")
    return place / "out"


def refused(place: Path, name: str, data: bytes, early=True, **limits: int) -> str:
    """Return the sentence of a refusal that changes no file; ``early`` if it writes nothing."""
    (place / name).write_bytes(data)
    before = tree(place.parent)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(ArchiveError) as caught:
        if early:
            patch.delattr(archives, "_write")
        for limit, value in limits.items():
            patch.setattr(archives, limit, value)
        unpack(place / name, place / "out")
    assert tree(place.parent) == before
    said = str(caught.value)
    assert said.startswith("it ") and len(said) < 1_500
    assert str(place) not in said and "_write" not in said
    return said


MEMBERS = [("a.wav", b"a" * 700), ("b/c d.wav", bytes(range(256))), ("b/e.wav", b"")]


COLUMN = Series("level", -20.0, 60.0)


def table(path, values, column="level"):
    """Write a table of this column, one of dates and one of words."""
    made = pyarrow.table(
        {
            "date": [f"2010-01-{day % 28 + 1:02}" for day in range(len(values))],
            column: pyarrow.array(values),
            "word": ["x"] * len(values),
        }
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write = parquet.write_table if path.suffix == ".parquet" else csv.write_csv
    write(made, path)
    return path


LEVEL = Level(0.5, 0.125, 3, 40)
PARTS = (
    RecordingPart("a.wav", "ab" * 32, 44_100, 2, 0),
    RecordingPart("b.wav", "cd" * 32, 16_000, 1, 60),
)


def recording(name, samples, ranges, row=0):
    return Recording(name, "shards/s.parquet", row, samples, PARTS, LEVEL, 0, ranges)


CORPUS = Corpus(
    name="two takes",
    rate=16000,
    codec="mulaw",
    levels=256,
    scaling="chunk",
    chunk=1000,
    split_rule="time 0.70/0.15/0.15",
    contexts_cross_splits=True,
    licence="public domain",
    augmentation=Augmentation(3.0, 1.5, True, 7),
    differences=("3 files can be used",),
    recordings=(
        recording("a", 100, {"train": (0, 70), "validation": (70, 85)}),
        recording("b \N{MUSICAL SYMBOL G CLEF}\n", 90, {"train": (0, 90)}, row=1),
    ),
    rejected=(Rejected("c.wav", "it is truncated", "test"),),
    shards={"shards/s.parquet": Shard(1234, "ef" * 32)},
    splits={"train": SplitSummary(2, 160, 0.01, (1,) * 256, 7.5, None, 6.5, 100)},
    linear=Reference(2, (1.5, -0.5), 0.25, 3.0),
    versions={"numpy": "2"},
)


SHARD = "shards/s.parquet"


def random_codes(samples, levels=256):
    codes = np.random.default_rng(samples).integers(0, levels, samples)
    return codes.astype(quantise.code_dtype(levels))


def written(folder, recordings, levels=256, name=SHARD):
    """Write a shard of these recordings (each [any] or a list of blocks); return locations."""
    places = []
    with Folder.of(folder).writing(name) as path:
        writer = ShardWriter(path, levels)
        for number, blocks in enumerate(recordings):
            row, samples = writer.add(
                f"r{number}", blocks if isinstance(blocks, list) else [blocks]
            )
            places.append(ShardLocation(name, row, samples))
        writer.close()
    return places
