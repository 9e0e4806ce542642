import bz2
import gzip
import io
import lzma
import os
import shutil
import stat
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets import archives
from datasets.archives import ArchiveError, Limits, is_archive, unpack
from datasets.files import PARTIAL

GOOD = {
    "a.wav": b"RIFF" + bytes(range(256)) * 300,
    "empty.wav": b"",
    "deep/er/with space.wav": b"space",
    "deep/quotes ' \" `.wav": b"quotes",
    "deep/new\nline.wav": b"line",
    "\N{GRINNING FACE}/\N{MUSICAL SYMBOL G CLEF}.wav": b"emoji",
    "__MACOSX/._a.wav": b"junk",
    "inner.zip": b"PK\x03\x04 stays a file",
}
PACKED = {
    ".tar": bytes,
    ".tar.gz": gzip.compress,
    ".tar.bz2": bz2.compress,
    ".tar.xz": lzma.compress,
}
FAMILIES = pytest.mark.parametrize("suffix", [".zip", *PACKED])


def zipped(members, compression=zipfile.ZIP_DEFLATED) -> bytes:
    """A zip of (name or ZipInfo, content) pairs, with names as they are given."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return stream.getvalue()


def tarred(members) -> bytes:
    """A tar of (name or TarInfo, content) pairs, with names as they are given."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in members:
            info = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def packed(members, suffix: str) -> bytes:
    return zipped(members) if suffix == ".zip" else PACKED[suffix](tarred(members))


def special(name: str, kind: bytes, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def unix(name: str, mode: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, mode << 16
    return info


def content(folder: Path) -> dict[str, bytes | None]:
    """Every path under a folder with the bytes of files, None for folders."""
    return {
        path.relative_to(folder).as_posix(): None if path.is_dir() else path.read_bytes()
        for path in folder.rglob("*")
    }


def files(folder: Path) -> dict[str, bytes]:
    return {name: data for name, data in content(folder).items() if data is not None}


@pytest.fixture
def place(tmp_path) -> Path:
    """A folder for archives, with neighbours that no archive may touch."""
    (tmp_path / "outside.wav").write_bytes(b"outside")
    (tmp_path / "work" / "other").mkdir(parents=True)
    (tmp_path / "work" / "other" / "kept.wav").write_bytes(b"kept")
    return tmp_path / "work"


def refused(place: Path, name: str, data: bytes, limits: Limits = archives.LIMITS) -> str:
    """The sentence that an archive is refused with, which leaves everything as it was."""
    path = place / name
    path.write_bytes(data)
    before = content(place.parent)
    with pytest.raises(ArchiveError) as caught:
        unpack(path, place / "out", limits)
    assert content(place.parent) == before
    assert str(path) not in str(caught.value)
    assert str(caught.value)[0].islower()
    return str(caught.value)


def test_an_archive_is_known_by_its_name_in_any_case():
    for suffix in archives.SUFFIXES:
        assert is_archive(Path(f"a.b{suffix}")) and is_archive(Path(f"A{suffix.upper()}"))
    for name in ("a.wav", "a.gz", "zip", "a.zip.part", "a.7z", "tar.gz"):
        assert not is_archive(Path(name))


@pytest.mark.parametrize("suffix", archives.SUFFIXES)
def test_a_good_archive_is_unpacked_whole(place, suffix):
    long = {".tgz": ".tar.gz", ".tbz2": ".tar.bz2", ".txz": ".tar.xz"}.get(suffix, suffix)
    path = place / f"Good{suffix.upper()}"
    path.write_bytes(packed(GOOD.items(), long))
    unpack(path, place / "out")
    assert files(place / "out") == GOOD
    assert sorted(each.name for each in place.iterdir()) == [path.name, "other", "out"]


@FAMILIES
def test_members_keep_no_modes(place, suffix):
    info = unix("a.wav", stat.S_IFREG | 0o4777) if suffix == ".zip" else tarfile.TarInfo("a.wav")
    if suffix != ".zip":
        info.mode = 0o4777
    (place / f"x{suffix}").write_bytes(packed([(info, b"a"), ("b/c.wav", b"c")], suffix))
    before = os.umask(0o022)
    try:
        unpack(place / f"x{suffix}", place / "out")
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in place.rglob("out/**/*")}
    assert modes == {"a.wav": 0o644, "b": 0o755, "c.wav": 0o644}


def test_what_the_tar_program_packs_is_unpacked(place):
    # A dot for the folder itself, explicit folders, and names that need GNU's or pax's long form.
    tree = place / "tree"
    (tree / "deep" / "empty").mkdir(parents=True)
    name = "deep/" + "n" * 200 + ".wav"
    (tree / name).write_bytes(b"long")
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        with tarfile.open(place / f"{form}.tgz", "w:gz", format=form) as archive:
            archive.add(tree, ".")
        unpack(place / f"{form}.tgz", place / f"out{form}")
        assert content(place / f"out{form}") == {"deep": None, "deep/empty": None, name: b"long"}


def test_folders_may_be_named_before_or_after_what_they_hold(place):
    (place / "x.zip").write_bytes(zipped([("a/b.wav", b"b"), ("a/", b""), ("c/", b"")]))
    unpack(place / "x.zip", place / "out")
    assert content(place / "out") == {"a": None, "a/b.wav": b"b", "c": None}


@FAMILIES
@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["../evil.wav"], "its member '../evil.wav' has '..' in its path: pack it again"),
        (["a/../../evil.wav"], "has '..' in its path"),
        (["a/.."], "has '..' in its path"),
        (["/abs.wav"], "its member '/abs.wav' has an absolute path"),
        (["C:/abs.wav"], "has an absolute path"),
        (["C:\\abs.wav"], "has an absolute path"),
        (["..\\evil.wav"], "has a backslash in its path"),
        (["\\\\host\\share\\evil.wav"], "has a backslash"),
        (["."], "is a file, and a folder of earlier members"),
        (["./."], "is a file, and a folder of earlier members"),
        (["a.wav", "a.wav"], "its member 'a.wav' has the path 'a.wav' of an earlier member"),
        (["a/b.wav", "./a//b.wav"], "'./a//b.wav' has the path 'a/b.wav' of an earlier"),
        (["a", "a/b"], "its member 'a/b' lies in 'a', which is a file"),
        (["a", "a/b/c"], "its member 'a/b/c' lies in 'a', which is a file"),
        (["a/b", "a"], "its member 'a' is a file, and a folder of earlier members"),
        (["a/b/c", "a"], "its member 'a' is a file, and a folder of earlier members"),
        (["n" * 256], "has over 255 bytes in a part of its path"),
        (["a/" + "\N{GRINNING FACE}" * 64], "has over 255 bytes in a part of its path"),
        (["a/" * 30_000 + "b"], "has a path of over 1000 bytes"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_path_that_could_do_harm_refuses_the_whole_archive(place, suffix, names, sentence):
    members = [("first.wav", b"first"), *((name, b"evil") for name in names)]
    said = refused(place, f"x{suffix}", packed(members, suffix))
    assert sentence in said and len(said) < 1_500


@pytest.mark.parametrize("again", ["a/", "a//", "./a/"])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_folder_is_named_once(place, again):
    assert "of an earlier member" in refused(place, "x.zip", zipped([("a/", b""), (again, b"")]))
    folders = [(special(name, tarfile.DIRTYPE), b"") for name in ("a", again)]
    assert "of an earlier member" in refused(place, "x.tar", tarred(folders))


def test_a_name_that_is_empty_or_holds_a_nul_refuses_the_archive(place):
    assert "'' has an empty name" in refused(place, "x.tar", tarred([("", b"a")]))
    data = zipped([("aXb.wav", b"a")]).replace(b"aXb.wav", b"a\0b.wav")
    assert "its member 'a\\x00b.wav' has a NUL in its name" in refused(place, "x.zip", data)
    # An empty name: both headers say that the name has no bytes, and the name becomes a comment.
    data = bytearray(zipped([("a", b"")]))
    local, directory = data.index(b"PK\3\4"), data.index(b"PK\1\2")
    struct.pack_into("<HH", data, local + 26, 0, 0)
    struct.pack_into("<HHH", data, directory + 28, 0, 0, 1)
    assert "'' has an empty name" in refused(place, "y.zip", bytes(data))


@pytest.mark.parametrize(
    ("member", "sentence"),
    [
        (special("l", tarfile.SYMTYPE, "/etc"), "its member 'l' is a link"),
        (special("l", tarfile.SYMTYPE, "first.wav"), "is a link"),
        (special("l", tarfile.LNKTYPE, "first.wav"), "is a link"),
        (special("d", tarfile.CHRTYPE), "its member 'd' is a device, a FIFO or the like"),
        (special("d", tarfile.BLKTYPE), "is a device, a FIFO or the like"),
        (special("d", tarfile.FIFOTYPE), "is a device, a FIFO or the like"),
        (special("d", b"V"), "is a device, a FIFO or the like"),
        (special("s", tarfile.GNUTYPE_SPARSE), "is stored as a sparse file"),
    ],
)
def test_only_plain_files_and_folders_are_taken_from_a_tar(place, member, sentence):
    for suffix, compress in PACKED.items():
        data = compress(tarred([("first.wav", b"first"), (member, b"")]))
        assert sentence in refused(place, f"x{suffix}", data)


def test_no_member_is_written_through_a_link(place):
    members = [(special("l", tarfile.SYMTYPE, "../.."), b""), ("l/evil.wav", b"evil")]
    assert "its member 'l' is a link" in refused(place, "x.tar", tarred(members))
    members = [(unix("l", stat.S_IFLNK | 0o777), b"../.."), ("l/evil.wav", b"evil")]
    assert "its member 'l' is a symbolic link" in refused(place, "x.zip", zipped(members))


@pytest.mark.parametrize("mode", [stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK])
def test_only_plain_files_and_folders_are_taken_from_a_zip(place, mode):
    data = zipped([("first.wav", b"first"), (unix("d", mode), b"")])
    assert "its member 'd' is a device, a FIFO or the like" in refused(place, "x.zip", data)


@pytest.mark.parametrize("bit", [0x01, 0x40])
def test_an_encrypted_member_refuses_the_archive(place, bit):
    data = bytearray(zipped([("a.wav", b"a")]))
    data[data.index(b"PK\3\4") + 6] |= bit
    data[data.index(b"PK\1\2") + 8] |= bit
    assert "its member 'a.wav' is encrypted" in refused(place, "x.zip", bytes(data))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_method_that_is_unpacked_without_a_bound_refuses_the_archive(place, method):
    said = refused(place, "x.zip", zipped([("a.wav", bytes(100))], method))
    assert f"is packed by method {method}, neither stored nor deflated" in said


def zeros_zipped(size: int) -> bytes:
    stream = io.BytesIO()
    with (
        zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("zeros.wav", "w") as member,
    ):
        for _ in range(size // 2**20):
            member.write(bytes(2**20))
    return stream.getvalue()


def zeros_tarred(size: int) -> bytes:
    """A tar.gz of one member of zeros: gzip members joined, each the compression of 1 MiB."""
    info = tarfile.TarInfo("zeros.wav")
    info.size = size
    ends = [gzip.compress(part) for part in (info.tobuf(), bytes(1024))]
    return ends[0] + gzip.compress(bytes(2**20)) * (size // 2**20) + ends[1]


@pytest.mark.parametrize("bomb", [zeros_zipped, zeros_tarred])
def test_a_bomb_is_refused_and_silence_is_not(place, bomb):
    suffix = ".zip" if bomb is zeros_zipped else ".tar.gz"
    data = bomb(200 * 2**20)
    assert len(data) < 2**20
    said = refused(place, f"x{suffix}", data)
    assert "its member 'zeros.wav' takes it to 2097" in said
    assert f"over 200 times its own {len(data)}" in said
    (place / f"y{suffix}").write_bytes(bomb(32 * 2**20))
    unpack(place / f"y{suffix}", place / "out")
    assert files(place / "out") == {"zeros.wav": bytes(32 * 2**20)}


@FAMILIES
def test_an_archive_over_a_limit_is_refused(place, suffix):
    data = packed([("a/b.wav", bytes(3_000)), ("a/c.wav", bytes(3_000))], suffix)
    said = refused(place, f"x{suffix}", data, Limits(members=2))
    assert "its member 'a/c.wav' is file or folder 3, allowed are 2" in said
    said = refused(place, f"x{suffix}", data, Limits(bytes=5_000))
    assert "its member 'a/c.wav' takes it to" in said and "over the 5000 allowed" in said
    unpack(place / f"x{suffix}", place / "out", Limits(members=3, bytes=8_000))
    assert len(files(place / "out")) == 2


@FAMILIES
def test_an_archive_over_the_free_disk_is_refused(place, suffix, monkeypatch):
    usage = shutil.disk_usage(place)._replace(free=100_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    for members in ([("a.wav", bytes(93_000))], [(f"{n}.wav", b"a") for n in range(24)]):
        said = refused(place, f"x{suffix}", packed(members, suffix))
        assert "on the disk, where 95000 may be used: make room" in said


def lying(true: int, declared: int, forged: bool) -> bytes:
    """A zip whose only member holds ``true`` bytes and declares others, with a fitting checksum."""
    content = bytes(true)
    data = bytearray(zipped([("a.wav", content)]))
    crc = zlib.crc32(content[:declared]) if forged else zlib.crc32(content)
    for signature, offset in ((b"PK\3\4", 14), (b"PK\1\2", 16)):
        at = data.index(signature) + offset
        packed_size = struct.unpack_from("<I", data, at + 4)[0]
        struct.pack_into("<III", data, at, crc, packed_size, declared)
    return bytes(data)


@pytest.mark.parametrize("forged", [False, True])
@pytest.mark.parametrize("declared", [0, 10, 99_999, 100_001, 200_000])
def test_a_zip_member_of_another_size_than_declared_is_refused(place, declared, forged):
    said = refused(place, "x.zip", lying(100_000, declared, forged))
    sized = f"bytes of its member 'a.wav' can be read, which declares {declared}"
    assert sized in said or said == "it cannot be unpacked: Bad CRC-32 for file 'a.wav'"


def test_a_member_is_stopped_where_it_passes_its_declared_size(place):
    said = refused(place, "x.zip", lying(50 * 2**20, 10, True))
    assert f"it is damaged: {archives.BLOCK} bytes of its member 'a.wav' can be read" in said


@pytest.mark.parametrize("size", [10_000, 2**40, -512, -1_024])
def test_a_tar_member_of_an_impossible_size_is_refused(place, size):
    for kind in (tarfile.REGTYPE, tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME):
        info = special("a.wav", kind)
        info.size = size
        data = info.tobuf(tarfile.GNU_FORMAT) + tarred([("b.wav", b"b")])
        for suffix, compress in PACKED.items():
            refused(place, f"x{suffix}", compress(data))


def test_a_header_that_unpacks_to_much_memory_is_refused(place):
    info = special("pax", tarfile.XHDTYPE)
    info.size = 2**27
    data = gzip.compress(info.tobuf()) + gzip.compress(bytes(2**20)) * 2**7
    said = refused(place, "x.tar.gz", data)
    assert "at byte 512 its headers or its padding go on for 134217728 bytes" in said
    chain = special("pax", tarfile.XHDTYPE)
    chain.size = 1
    refused(place, "y.tar", (chain.tobuf() + bytes(512)) * 1_000)


@FAMILIES
def test_a_truncated_archive_is_refused_wherever_it_is_cut(place, suffix):
    data = packed(GOOD.items(), suffix)
    # A tar may end at any zero block after its last member: all that was promised is there.
    end = len(data) if suffix != ".tar" else len(data.rstrip(b"\0")) + 512
    cuts = {0, 1, 2, 100, 511, 512, 513, end // 3, end // 2, end - 600, end - 2, end - 1}
    for cut in sorted(cut for cut in cuts if 0 <= cut < end):
        refused(place, f"x{suffix}", data[:cut])


def test_a_tar_is_refused_at_every_cut_between_its_blocks(place):
    data = tarred([("a.wav", b"a" * 1_024), ("b.wav", b"b" * 700)])
    for cut in range(0, 512 * 7, 512):
        refused(place, "x.tar", data[:cut])
    (place / "x.tar").write_bytes(data[: 512 * 8])
    unpack(place / "x.tar", place / "out")
    assert set(files(place / "out")) == {"a.wav", "b.wav"}


@pytest.mark.parametrize("suffix", [".zip", ".tar.gz", ".tar.bz2", ".tar.xz"])
def test_a_changed_byte_of_content_is_refused(place, suffix):
    members = [("a.wav", os.urandom(5_000)), ("b.wav", os.urandom(5_000))]
    data = bytearray(packed(members, suffix))
    data[len(data) // 2] ^= 0x10
    refused(place, f"x{suffix}", bytes(data))


def test_a_damaged_header_is_refused_and_not_taken_for_the_end(place):
    data = bytearray(tarred([("a.wav", b"a"), ("b.wav", b"b")]))
    data[1024] ^= 1
    said = refused(place, "x.tar", bytes(data))
    assert "it is damaged, truncated or no tar archive: bad checksum" in said


def test_joined_tars_are_refused_as_the_second_would_be_lost(place):
    one = tarred([("a.wav", b"a")])
    assert "it goes on after its end mark" in refused(place, "x.tar", one + one)
    gzipped = gzip.compress(one)
    assert "it goes on after its end mark" in refused(place, "x.tgz", gzipped + gzipped)


@pytest.mark.parametrize("suffix", archives.SUFFIXES)
def test_what_is_no_archive_is_refused(place, suffix):
    for data in (b"", b"text, not an archive\n" * 100, os.urandom(5_000), b"RIFF" + bytes(40)):
        refused(place, f"x{suffix}", data)


def test_what_cannot_be_opened_is_refused(place):
    (place / "folder.zip").mkdir()
    for name, reason in (("folder.zip", "Is a directory"), ("none.tar", "No such file")):
        with pytest.raises(ArchiveError, match=f"it cannot be unpacked: {reason}"):
            unpack(place / name, place / "out")
    (place / "x.zip").write_bytes(zipped([("a.wav", b"a")]))
    with pytest.raises(ArchiveError, match="it cannot be unpacked: No such file or directory"):
        unpack(place / "x.zip", place / "missing" / "out")


def test_a_disk_that_fails_leaves_nothing(place, monkeypatch):
    def fail(path: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "rename", fail)
    said = refused(place, "x.zip", zipped(GOOD.items()))
    assert said == "it cannot be unpacked: No space left on device"


def test_a_second_call_does_nothing(place):
    path = place / "x.zip"
    path.write_bytes(zipped(GOOD.items()))
    unpack(path, place / "out")
    before = {each: each.stat().st_mtime_ns for each in [place, *place.rglob("*")]}
    path.write_bytes(b"no archive any more")
    before[path] = path.stat().st_mtime_ns
    unpack(path, place / "out")
    assert {each: each.stat().st_mtime_ns for each in [place, *place.rglob("*")]} == before


def test_what_a_killed_process_left_does_not_matter(place):
    left = place / f"out.0123456789abcdef{PARTIAL}"
    left.mkdir()
    (left / "a.wav").write_bytes(b"half")
    (place / "x.zip").write_bytes(zipped(GOOD.items()))
    unpack(place / "x.zip", place / "out")
    assert files(place / "out") == GOOD


def test_processes_that_unpack_the_same_archive_at_once_all_succeed(place):
    (place / "x.zip").write_bytes(zipped(GOOD.items()))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: unpack(place / "x.zip", place / "out"), range(16)))
    assert files(place / "out") == GOOD
    assert not list(place.glob(f"*{PARTIAL}"))


def test_an_interrupted_call_leaves_nothing(place, monkeypatch):
    def interrupt(member: object, path: Path) -> None:
        path.mkdir()
        raise KeyboardInterrupt

    monkeypatch.setattr(archives, "_write", interrupt)
    (place / "x.zip").write_bytes(zipped(GOOD.items()))
    before = content(place.parent)
    with pytest.raises(KeyboardInterrupt):
        unpack(place / "x.zip", place / "out")
    assert content(place.parent) == before


def test_the_deepest_allowed_folders_can_be_written_and_removed(place):
    deepest = "a/" * 499 + "b"
    broken = bytearray(zipped([(deepest, b"deep"), ("c", b"content")], zipfile.ZIP_STORED))
    broken[broken.index(b"content")] ^= 1
    assert "CRC" in refused(place, "x.zip", bytes(broken))


MEMBERS = [("a.wav", b"a" * 700), ("b/c d.wav", bytes(range(256))), ("b/e/", b"")]
MUTATIONS: dict[str, tuple[bytes, Callable[[bytes], bytes]]] = {
    ".zip": (zipped(MEMBERS), bytes),
    ".tar": (tarred(MEMBERS[:2]), bytes),
    ".tar.gz": (gzip.compress(tarred(MEMBERS[:2])), bytes),
    ".tgz": (tarred(MEMBERS[:2]), gzip.compress),
    ".txz": (lzma.compress(tarred(MEMBERS[:2])), bytes),
}


@pytest.mark.parametrize("suffix", MUTATIONS)
@given(data=st.data())
def test_random_damage_is_refused_or_unpacked_and_never_leaves_the_folder(suffix, data):
    original, finish = MUTATIONS[suffix]
    damaged = bytearray(original)
    places = st.integers(0, min(len(damaged), 4_096) - 1)
    changes = st.lists(st.tuples(places, st.integers(0, 255)), min_size=1, max_size=6)
    for place, value in data.draw(changes):
        damaged[place] = value
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary, "work", f"x{suffix}")
        path.parent.mkdir()
        path.write_bytes(finish(bytes(damaged)))
        try:
            unpack(path, path.parent / "out")
        except ArchiveError:
            assert list(Path(temporary).rglob("*")) == [path.parent, path]
        else:
            assert sorted(path.parent.iterdir()) == [path.parent / "out", path]
            assert os.listdir(temporary) == ["work"]
