"""Archives of audio (zip, tar and compressed tar) unpacked whole, or refused whole with the reason.

An archive is read twice: once to check every member before anything is written, once to unpack it.
Nothing that a member says of itself is believed: neither its path, nor its kind, nor its size.
"""

import bz2
import gzip
import io
import lzma
import os
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Self
from uuid import uuid4

from datasets.files import PARTIAL

TARS: dict[str, Callable[[Path], io.BufferedIOBase]] = {
    ".tar": lambda path: path.open("rb"),
    **dict.fromkeys((".tar.gz", ".tgz"), gzip.GzipFile),
    **dict.fromkeys((".tar.bz2", ".tbz2"), bz2.BZ2File),
    **dict.fromkeys((".tar.xz", ".txz"), lzma.LZMAFile),
}
SUFFIXES = (".zip", *TARS)

# All in bytes.
MAX_NAME_BYTES = 255  # the longest name that file systems take
MAX_PATH_BYTES = 1_000  # the longest path of a member: it bounds how deep folders go
MAX_HEADER_BYTES = 2**16  # the most that the headers of one tar member may take
MAX_PADDING_BYTES = 2**24  # the most that may follow the end mark of a tar
RATIO_FREE_BYTES = 2**26  # unpacked; up to here no ratio is too high, as silence compresses well
DISK_BLOCK_BYTES = 2**12  # what a folder or the rest of a file takes on a disk
READ_BYTES = 2**16  # read at once

ENCRYPTED = 0x41  # the flag bits of a zip member that is encrypted, in either way
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
REPACK = "pack it again with plain files and folders only, each once, under relative paths"


class ArchiveError(ValueError):
    """An archive that is refused or cannot be read whole; the message is the reason."""


@dataclass(frozen=True)
class Limits:
    """The most that an archive may come to: files and folders, bytes unpacked, times its size."""

    members: int = 1_000_000
    bytes: int = 2**40
    ratio: int = 200


LIMITS = Limits()


@dataclass(frozen=True)
class _Member:
    """A member as the archive declares it: ``end`` is the bytes of the archive, unpacked, up to it.

    ``faults`` says of each reason to refuse it, whatever its path, whether it holds.
    """

    name: str
    size: int
    end: int
    folder: bool
    faults: dict[str, bool]
    open: Callable[[], IO[bytes] | None]


def is_archive(path: Path) -> bool:
    """Whether the name ends as that of an archive does (SUFFIXES, in any case)."""
    return path.name.lower().endswith(SUFFIXES)


def unpack(path: Path, destination: Path, limits: Limits = LIMITS) -> None:
    """Everything in the archive ``path`` under the folder ``destination``, at once or not at all.

    The parent of ``destination`` must exist; where ``destination`` itself does, it is complete and
    nothing is done. Archives inside stay files; modes, owners and times of members are ignored.
    ArchiveError with the reason where the archive is refused, cannot be read whole, or is over
    ``limits`` or what the disk holds; then nothing of it is left.
    """
    unfinished = destination.with_name(f"{destination.name}.{uuid4().hex}{PARTIAL}")
    try:
        if destination.exists():
            return
        # Five parts in a hundred stay free for whatever else is writing to this disk.
        room = shutil.disk_usage(destination.parent).free * 95 // 100
        for _ in _checked(path, limits, room):
            pass
        unfinished.mkdir()
        # Checked again, because the archive may have been replaced meanwhile.
        for name, member in _checked(path, limits, room):
            _write(member, unfinished / name)
        try:
            unfinished.rename(destination)
        except OSError:
            if not destination.is_dir():  # else another process has unpacked it meanwhile
                raise
    except ArchiveError:
        raise
    except Exception as error:
        # zipfile and tarfile answer damaged bytes with a dozen kinds of exception.
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise ArchiveError(f"it cannot be unpacked: {reason.rstrip('.')}") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _write(member: _Member, path: Path) -> None:
    (path if member.folder else path.parent).mkdir(parents=True, exist_ok=True)
    if member.folder:
        return
    source = member.open()
    assert source is not None, "tarfile opens every member that is a file"
    written = 0
    with source, path.open("xb") as target:
        while written <= member.size and (block := source.read(READ_BYTES)):
            written += target.write(block)
    if written != member.size:
        raise ArchiveError(
            f"it is damaged: {written} bytes of its member {member.name!r} can be read, "
            f"which declares {member.size}"
        )


def _checked(path: Path, limits: Limits, room: int) -> Iterator[tuple[str, _Member]]:
    """Every member with its normalised path, as soon as all up to it are known to be harmless.

    ``room`` is the bytes of disk that may be used.
    """
    own = path.stat().st_size
    kinds = {"": "parent"}
    for member in _members(path):
        _refuse(member, member.faults | _faults_of_name(member.name))
        name = "/".join(part for part in member.name.split("/") if part not in ("", "."))
        _refuse(member, _faults_of_place(name, member.folder, kinds))
        count, most = len(kinds) - 1, max(RATIO_FREE_BYTES, limits.ratio * own)
        disk = member.end + DISK_BLOCK_BYTES * count
        so_far = f"takes it to {member.end} bytes unpacked"
        faults = {
            f"is file or folder {count}, allowed are {limits.members}": count > limits.members,
            f"{so_far}, over the {limits.bytes} allowed": member.end > limits.bytes,
            f"{so_far}, over {limits.ratio} times its own {own}": member.end > most,
            f"{so_far} and {disk} on the disk, where {room} may be used": disk > room,
        }
        _refuse(member, faults, "make room, or unpack it yourself if you trust it")
        yield name, member


def _refuse(member: _Member, faults: dict[str, bool], remedy: str = REPACK) -> None:
    """Raise ArchiveError for the first fault that holds."""
    for fault, holds in faults.items():
        if holds:
            shown = repr(member.name[:MAX_PATH_BYTES])
            raise ArchiveError(f"it is refused: its member {shown} {fault}: {remedy}")


def _faults_of_name(name: str) -> dict[str, bool]:
    parts = [os.fsencode(part) for part in name.split("/")]
    return {
        "has an empty name": not name,
        "has a NUL in its name": "\0" in name,
        "has an absolute path": name.startswith("/") or (name[:1].isalpha() and name[1:2] == ":"),
        "has a backslash in its path": "\\" in name,
        "has '..' in its path": b".." in parts,
        f"has a path of over {MAX_PATH_BYTES} bytes": len(b"/".join(parts)) > MAX_PATH_BYTES,
        f"has over {MAX_NAME_BYTES} bytes in a part of its path": max(map(len, parts))
        > MAX_NAME_BYTES,
    }


def _faults_of_place(name: str, folder: bool, kinds: dict[str, str]) -> dict[str, bool]:
    """The faults of a normalised path among the earlier ones; it is added to them.

    ``kinds`` says which paths are a "file", a "folder", or a "parent" that no member was yet.
    """
    above = name.rpartition("/")[0]
    while above not in kinds:
        kinds[above] = "parent"
        above = above.rpartition("/")[0]
    before = kinds.get(name)
    faults = {
        f"lies in {above!r}, which is a file": kinds[above] == "file",
        f"has the path {name!r} of an earlier member": before in ("file", "folder"),
        "is a file, and a folder of earlier members": before == "parent" and not folder,
    }
    kinds[name] = "folder" if folder else "file"
    return faults


def _members(path: Path) -> Iterator[_Member]:
    for suffix, opened in TARS.items():
        if path.name.lower().endswith(suffix):
            return _members_of_tar(path, opened)
    return _members_of_zip(path)


def _members_of_zip(path: Path) -> Iterator[_Member]:
    end = 0
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            # The name as the archive has it: ZipInfo.filename ends at a NUL.
            name, size, method = info.orig_filename, info.file_size, info.compress_type
            kind = stat.S_IFMT(info.external_attr >> 16)
            faults = {
                "is encrypted": bool(info.flag_bits & ENCRYPTED),
                "is a symbolic link": kind == stat.S_IFLNK,
                "is a device, a FIFO or the like": kind not in (0, stat.S_IFREG, stat.S_IFDIR),
                # zipfile decompresses other methods without a bound on memory.
                f"is packed by method {method}, neither stored nor deflated": method not in METHODS,
            }
            end += size
            # zipfile stops at the declared size: with a higher one, a member that goes on shows.
            info.file_size += 2 * READ_BYTES
            opened = partial(archive.open, info)
            yield _Member(name, size, end, name.endswith("/"), faults, opened)


def _members_of_tar(path: Path, opened: Callable[[Path], io.BufferedIOBase]) -> Iterator[_Member]:
    with opened(path) as file:
        reader = _Reader(file)
        archive = _Tar(fileobj=reader)
        while (info := archive.next()) is not None:
            archive.members.clear()  # else the headers of all members stay in memory
            faults = {
                "is a link": info.issym() or info.islnk(),
                "is a device, a FIFO or the like": not (info.isreg() or info.isdir()),
                "is stored as a sparse file": info.issparse(),
                f"declares {info.size} bytes": info.size < 0,
            }
            end = info.offset_data + info.size
            reader.left = info.size
            content = partial(archive.extractfile, info)
            yield _Member(info.name, info.size, end, info.isdir(), faults, content)
            reader.left = MAX_HEADER_BYTES
        # To the very end, because only there a compressed file's checksum is compared.
        reader.left = MAX_PADDING_BYTES
        while block := reader.read(READ_BYTES):
            if any(block):
                raise ArchiveError(
                    "it is refused: it goes on after its end mark, as joined archives do: "
                    "pack all files into one"
                )


class _Reader:
    """A tar of which ``left`` bytes may be read, as tarfile reads headers of any size at once."""

    def __init__(self, file: io.BufferedIOBase) -> None:
        self.file = file
        self.left = MAX_HEADER_BYTES
        self.tell, self.seek, self.seekable = file.tell, file.seek, file.seekable
        # tarfile is typed to want these two; reading calls neither.
        self.write, self.close = file.write, file.close

    def read(self, size: int) -> bytes:
        if not 0 <= size <= self.left:
            raise ArchiveError(
                f"it is refused: at byte {self.tell()} its headers or its padding go on for {size} "
                f"bytes, {self.left} are allowed: pack it again without extended attributes"
            )
        self.left -= size
        return self.file.read(size)


class _Header(tarfile.TarInfo):
    """A header that is an error where it is damaged or missing; tarfile takes that for the end."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        try:
            return super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if buf == bytes(tarfile.BLOCKSIZE):  # the end mark
                raise
            raise ArchiveError(f"it is damaged, truncated or no tar archive: {error}") from error


class _Tar(tarfile.TarFile):
    tarinfo = _Header
    members: list[tarfile.TarInfo]
