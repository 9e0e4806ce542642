import hashlib
import os
import pickle

import pytest

from datasets import storage
from datasets.storage import Folder, StorageError


@pytest.fixture(params=["local", "s3"])
def folder(request, tmp_path):
    """Return a folder that does not exist yet, on this machine or in a bucket."""
    if request.param == "local":
        return Folder.of(tmp_path / "folder")
    return Folder.of(f"{request.getfixturevalue('bucket')}/{tmp_path.name}")


def test_files_are_read_as_they_were_written(folder):
    content = os.urandom(3_000_000)
    folder.write_bytes("a/b.bin", content)
    assert folder.read_bytes("a/b.bin") == content
    assert folder.sha256("a/b.bin") == hashlib.sha256(content).hexdigest()
    folder.write_bytes("a/b.bin", b"another")
    assert folder.read_bytes("a/b.bin") == b"another"


def test_files_are_listed_by_name_with_their_sizes(folder):
    assert folder.list_files() == folder.list_files("under") == {}
    for name in ("c.txt", "under/b.txt", "under/deep/a b.txt"):
        folder.write_bytes(name, name.encode())
    below = {"under/b.txt": 11, "under/deep/a b.txt": 18}
    assert folder.list_files() == {"c.txt": 5, **below}
    assert folder.list_files("under") == below


def test_a_file_appears_when_it_is_complete(folder):
    for content in (b"first", b"second"):
        before = folder.list_files()
        with folder.writing("sub/file") as path:
            path.write_bytes(content[:2])
            assert {k: v for k, v in folder.list_files().items() if ".partial" not in k} == before
            path.write_bytes(content)
        assert folder.list_files() == {"sub/file": len(content)}
        assert folder.read_bytes("sub/file") == content


@pytest.mark.fault("Storage", "a write fails half-way", "the earlier file stays")
def test_a_failed_write_keeps_the_earlier_file(folder):
    for before in ({}, {"file": b"old"}):
        for name, content in before.items():
            folder.write_bytes(name, content)
        with pytest.raises(RuntimeError, match="half-way"), folder.writing("file") as path:
            path.write_bytes(b"half")
            raise RuntimeError("half-way")
        assert {name: folder.read_bytes(name) for name in folder.list_files()} == before


@pytest.mark.fault("Storage", "an upload to a bucket breaks", "no object is left")
def test_an_upload_that_breaks_leaves_no_object(bucket, tmp_path, monkeypatch):
    folder = Folder.of(f"{bucket}/{tmp_path.name}")

    def breaks(source, target, length):
        target.write(source.read(5))
        raise ConnectionError("the network went away")

    with monkeypatch.context() as patch:
        patch.setattr(storage.shutil, "copyfileobj", breaks)
        with pytest.raises(ConnectionError):
            folder.write_bytes("file", b"0123456789")
    assert folder.list_files() == {}


def test_a_file_is_read_under_its_own_ending(folder):
    folder.write_bytes("takes/a take.Wav", b"RIFF")
    with folder.reading("takes/a take.Wav") as path:
        assert (path.read_bytes(), path.suffix) == (b"RIFF", ".Wav")
    if folder.local is not None:
        assert path == folder.local / "takes" / "a take.Wav"
    assert path.exists() == (folder.local is not None)


def test_a_missing_file_is_an_os_error(folder):
    with pytest.raises(FileNotFoundError):
        folder.read_bytes("missing")
    with pytest.raises(OSError, match="missing"):
        folder.sha256("missing")


@pytest.mark.fault(
    "Storage",
    "a killed `prepare` leaves a half-written file",
    "the next call removes it, and nothing else",
)
def test_only_half_written_files_of_a_killed_process_are_removed(tmp_path):
    folder = Folder.of(tmp_path)
    folder.make_folder("shards")
    folder.make_folder("shards")
    (tmp_path / "shards" / "a.0123.partial").write_text("half")
    (tmp_path / "shards" / "b.4567.partial" / "deep").mkdir(parents=True)
    folder.write_bytes("shards/a", b"whole")
    folder.remove_partial("shards")
    assert [path.name for path in (tmp_path / "shards").iterdir()] == ["a"]


def test_folders_of_a_bucket_need_not_be_made(bucket, tmp_path):
    folder = Folder.of(f"{bucket}/{tmp_path.name}")
    folder.make_folder("shards")
    folder.remove_partial("shards")
    assert folder.list_files() == {}


def test_a_local_place_is_an_absolute_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for place in ("sub/../here", tmp_path / "here", str(tmp_path / "here")):
        folder = Folder.of(place)
        assert (folder.uri, folder.local) == (str(tmp_path / "here"), tmp_path / "here")
    assert Folder.of(folder) == pickle.loads(pickle.dumps(folder)) == folder


def test_a_remote_place_is_written_as_its_uri(bucket):
    folder = Folder.of(f"{bucket}/sub")
    assert (str(folder), folder.local) == ("s3://longwave/sub", None)
    assert folder.filesystem_path("a/b")[1] == "longwave/sub/a/b"


def test_a_subfolder_keeps_the_query_of_a_uri(tmp_path):
    options = "region=eu-central-1&allow_bucket_creation=true"
    inner = Folder.of(f"s3://longwave/sub?{options}").subfolder("unpacked")
    assert str(inner) == f"s3://longwave/sub/unpacked?{options}"
    assert inner.filesystem_path("a")[1] == "longwave/sub/unpacked/a"
    assert Folder.of(tmp_path / "what?").subfolder("in") == Folder.of(tmp_path / "what?" / "in")


@pytest.mark.parametrize("place", ["wasm://bucket/x", "http://host/x", "s3://bad bucket/x"])
def test_an_unknown_file_system_is_refused_with_the_remedy(place):
    with pytest.raises(StorageError) as error:
        Folder.of(place)
    assert str(error.value).startswith(f"{place} names no file system that pyarrow can open (")
    assert "write a local path or, for example, s3://bucket/prefix" in str(error.value)


def test_files_of_any_name_are_listed(tmp_path):
    name = os.fsdecode(b"caf\xe9.wav")
    (tmp_path / name).write_bytes(b"12")
    (tmp_path / "dangling").symlink_to(tmp_path / "gone")
    (tmp_path / "b").write_bytes(b"1")
    assert Folder.of(tmp_path).list_files() == {"b": 1, name: 2}
