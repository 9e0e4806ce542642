import gzip
import os
import shutil
import stat
import tarfile
import tempfile
import zipfile
from pathlib import Path
from random import Random
from unittest.mock import Mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets import archives
from datasets.archives import ArchiveError, is_archive, unpack
from datasets.files import PARTIAL
from tests.helpers.archives import (
    FAMILIES,
    MEMBERS,
    packed,
    patched,
    place_in,
    refused,
    tarred,
    tree,
    unpacked,
    zipped,
)

# Expected content after unpacking: the bytes of files, None for folders.
GOOD = {
    "a.wav": bytes(range(256)) * 300,
    "empty.wav": b"",
    "deep": None,
    "deep/with space.wav": b"space",
    "deep/\N{GRINNING FACE}": None,
    "deep/\N{GRINNING FACE}/quotes ' \" `, new\nline.wav": b"emoji",
    ".DS_Store": b"junk",
    "inner.zip": b"PK\x03\x04 stays a file",
}
FILES = [(name, data) for name, data in GOOD.items() if data is not None]
REFUSED = "the archive is refused whole, by the member's name, before anything is written"
RANDOM = Random(0).randbytes(9_000)


def of_tar(name: str, kind: bytes, link: str = "", size: int = 0) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, size
    return info


def of_zip(name: str, mode: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, mode << 16
    return info


@pytest.fixture
def place(tmp_path) -> Path:
    return place_in(tmp_path)


@pytest.mark.parametrize("suffix", archives.SUFFIXES)
def test_an_archive_is_known_by_its_name_in_any_case_and_unpacked_whole(place, suffix):
    assert is_archive(Path(f"a.b{suffix}")) and is_archive(Path(f"A{suffix.upper()}"))
    assert not any(is_archive(Path(f"a{suffix}{more}")) for more in ("x", ".part", ".wav"))
    # A folder may have a name that ends like a file's.
    members = [*FILES, ("deep/", b"")] if suffix == ".zip" else FILES
    assert tree(unpacked(place, f"A{suffix.upper()}", packed(members, suffix))) == GOOD


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_are_kept_and_modes_are_not(place, form):
    name = "deep/" + "n" * 200 + ".wav"
    (place / "tree" / "deep" / "empty").mkdir(parents=True)
    (place / "tree" / name).write_bytes(b"long")
    (place / "tree" / name).chmod(0o4711)
    with tarfile.open(place / "x.tgz", "w:gz", format=form) as archive:
        archive.add(place / "tree", ".")
    unpack(place / "x.tgz", place / "out")
    assert tree(place / "out") == {"deep": None, "deep/empty": None, name: b"long"}
    assert (place / "out" / name).stat().st_mode == (place / "x.tgz").stat().st_mode


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        pytest.param(
            ["../evil.wav"],
            "its member '../evil.wav' has '..' in its path: pack it again",
            marks=pytest.mark.fault(
                "Archives and folders", "a member's path leads out of the folder", REFUSED
            ),
            id="upwards",
        ),
        (["a/../../evil.wav"], "has '..' in its path"),
        pytest.param(
            ["/abs.wav"],
            "its member '/abs.wav' has an absolute path",
            marks=pytest.mark.fault("Archives and folders", "a member's path is absolute", REFUSED),
            id="absolute",
        ),
        (["C:/abs.wav"], "has an absolute path"),
        (["..\\evil.wav"], "has a backslash in its path"),
        (["./."], "is a file, and a folder of earlier members"),
        pytest.param(
            ["a.wav", "a.wav"],
            "its member 'a.wav' has the path 'a.wav' of an earlier member",
            marks=pytest.mark.fault("Archives and folders", "two members have one path", REFUSED),
            id="twice",
        ),
        (["a/b.wav", "./a//b.wav"], "'./a//b.wav' has the path 'a/b.wav' of an earlier"),
        (["a", "a/b/c"], "its member 'a/b/c' lies in 'a', which is a file"),
        (["a/b/c", "a"], "its member 'a' is a file, and a folder of earlier members"),
        (["a/" + "\N{GRINNING FACE}" * 64], "has over 255 bytes in a part of its path"),
        (["a/" * 30_000 + "b"], "has a path of over 1000 bytes"),
    ],
)
@FAMILIES
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_path_that_could_do_harm_refuses_the_whole_archive(place, suffix, names, sentence):
    members = [("first.wav", b"first"), *((name, b"evil") for name in names)]
    assert sentence in refused(place, f"x{suffix}", packed(members, suffix))


@pytest.mark.fault(
    "Archives and folders",
    "an archive has a link, a device, a sparse or an encrypted member",
    REFUSED,
)
@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (zipped([("aXb", b"")]).replace(b"aXb", b"a\0b"), r"'a\x00b' has a NUL in its name"),
        (patched(zipped([("a.wav", b"a")]), 6, 8, "B", 1), "'a.wav' is encrypted"),
        (patched(zipped([("a.wav", b"a")]), 6, 8, "B", 64), "'a.wav' is encrypted"),
        (zipped([("a", b"a")], zipfile.ZIP_BZIP2), "by method 12, neither stored nor deflated"),
        (zipped([(of_zip("l", stat.S_IFLNK), b"../.."), ("l/x", b"")]), "'l' is a symbolic link"),
        (zipped([(of_zip("d", stat.S_IFIFO), b"")]), "'d' is a device, a FIFO or the like"),
        (zipped([("a/", b""), ("./a//", b"")]), "'./a//' has the path 'a' of an earlier member"),
        (tarred([("", b"")]), "'' has an empty name"),
        (tarred([(of_tar("l", tarfile.SYMTYPE, "../.."), b""), ("l/x", b"")]), "'l' is a link"),
        (tarred([("a", b"a"), (of_tar("l", tarfile.LNKTYPE, "a"), b"")]), "'l' is a link"),
        (tarred([(of_tar("d", tarfile.CHRTYPE), b"")]), "'d' is a device, a FIFO or the like"),
        (tarred([(of_tar("d", tarfile.FIFOTYPE), b"")]), "'d' is a device, a FIFO or the like"),
        (tarred([(of_tar("s", tarfile.GNUTYPE_SPARSE), b"")]), "'s' is stored as a sparse file"),
        (of_tar("a", b"0", size=-512).tobuf(tarfile.GNU_FORMAT), "'a' declares -512 bytes"),
        (of_tar("a", b"x", size=2**27).tobuf(), "continue for 134217728 bytes"),
        (of_tar("a", b"x", size=-512).tobuf(tarfile.GNU_FORMAT), "continue for -512 bytes"),
        ((of_tar("a", b"x", size=1).tobuf() + bytes(512)) * 1_000, "continue for 512 bytes"),
        (tarred([("a", b"a")]) + tarred([("b", b"b")]), "it continues after its end mark"),
        (tarred([("a", b"a")])[:1024] + b"\1" * 512, "it is damaged, truncated or no tar archive"),
    ],
)
def test_only_plain_files_and_folders_are_taken(place, data, sentence):
    name, data = ("x.zip", data) if data[:2] == b"PK" else ("x.tar.gz", gzip.compress(data, 1))
    assert sentence in refused(place, name, data)


@pytest.mark.fault(
    "Archives and folders", "an archive is cut", "the archive is refused whole, and no file is left"
)
@FAMILIES
def test_a_truncated_archive_is_refused_wherever_it_is_cut(place, suffix):
    data = packed(FILES, suffix)
    # A tar is complete with the first zero block after its last member.
    end = len(data) if suffix != ".tar" else -(-len(data.rstrip(b"\0")) // 512) * 512 + 512
    cuts = {0, 1, 2, 511, 512, 513, 1024, end // 3, end // 2, end - 512, end - 2, end - 1}
    for cut in cuts & {*range(end)}:
        assert refused(place, f"x{suffix}", data[:cut])


@pytest.mark.fault(
    "Archives and folders",
    "an archive is damaged, or is no archive",
    "the archive is refused whole, and no file is left",
)
@pytest.mark.parametrize("suffix", archives.SUFFIXES)
def test_damaged_archives_and_other_files_are_refused(place, suffix):
    for data in (b"", b"text, not an archive\n" * 100, RANDOM, b"RIFF" + bytes(40)):
        assert refused(place, f"x{suffix}", data)
    if suffix != ".tar":  # a plain tar has no checksum of its content
        damaged = bytearray(packed([("a.wav", RANDOM)], suffix))
        damaged[len(damaged) // 2] ^= 16
        assert refused(place, f"x{suffix}", bytes(damaged), early=suffix != ".zip")


def test_a_failed_unpacking_leaves_no_file(place, monkeypatch):
    for name, reason in ((".", "Is a directory"), ("none", "No such file or directory")):
        with pytest.raises(ArchiveError, match=f"it cannot be unpacked: {reason}"):
            unpack(place / name, place / "out")
    # The deepest allowed folders are written before the damage is found.
    damaged = zipped([("a/" * 499 + "b", b"deep"), ("c", b"content")], zipfile.ZIP_STORED)
    assert "CRC" in refused(place, "x.zip", damaged.replace(b"cont", b"mint"), early=False)
    for error in (OSError(28, "No space left on device"), KeyboardInterrupt()):
        monkeypatch.setattr(Path, "rename", Mock(side_effect=error))
        with pytest.raises((ArchiveError, KeyboardInterrupt)):
            unpacked(place, "x.zip", zipped(FILES))
        assert {path.name for path in place.iterdir()} == {"other", "x.zip"}


@pytest.mark.fault("Archives and folders", "unpacking is killed", "the next call unpacks it whole")
def test_a_second_call_does_nothing_and_ignores_remains_of_a_killed_one(place):
    (place / f"out.0123{PARTIAL}" / "a.wav").mkdir(parents=True)
    assert tree(unpacked(place, "x.zip", zipped(FILES))) == GOOD
    (place / "x.zip").write_bytes(b"no archive any more")
    before = {path: path.stat().st_mtime_ns for path in [place, *place.rglob("*")]}
    unpack(place / "x.zip", place / "out")
    assert {path: path.stat().st_mtime_ns for path in [place, *place.rglob("*")]} == before


@pytest.mark.fault(
    "Archives and folders", "two processes unpack one archive at once", "only one unpacks it"
)
def test_an_archive_that_another_process_unpacked_first_is_used(place, monkeypatch):
    actual = Path.rename
    monkeypatch.setattr(Path, "rename", lambda *two: (shutil.copytree(*two), actual(*two)))
    assert tree(unpacked(place, "x.zip", zipped(FILES))) == GOOD
    assert {path.name for path in place.iterdir()} == {"other", "out", "x.zip"}


DAMAGED = {suffix: packed(MEMBERS, suffix) for suffix in (".zip", ".tar", ".tar.gz", ".tar.xz")}


@pytest.mark.parametrize("suffix", DAMAGED)
@given(data=st.data())
def test_random_damage_is_refused_or_unpacked_and_never_leaves_the_folder(suffix, data):
    damaged = bytearray(DAMAGED[suffix])
    places = st.integers(0, min(len(damaged), 4_096) - 1)
    for place, value in data.draw(st.dictionaries(places, st.integers(0, 255), min_size=1)).items():
        damaged[place] = value
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary, "work")
        work.mkdir()
        try:
            assert unpacked(work, f"x{suffix}", bytes(damaged)).is_dir()
        except ArchiveError:
            assert list(tree(work)) == [f"x{suffix}"]
        assert {*os.listdir(work)} <= {"out", f"x{suffix}"} and os.listdir(temporary) == ["work"]
