"""Unpack archives of audio (zip, tar, compressed tar) whole, or refuse them whole with the reason.

An archive is read twice: all members are checked before anything is written. The checks trust
neither the path, nor the kind, nor the size that a member declares. ``tarfile.data_filter`` does
not replace them: it accepts links, sparse files, "..", repeated paths and any size, and zip files
have no such filter.
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

MAX_MEMBERS = 1_000_000  # files and folders
MAX_BYTES = 2**40  # unpacked
MAX_RATIO = 200  # of unpacked bytes to the archive's own
MAX_NAME_BYTES = 255  # the limit of file systems for one name
MAX_PATH_BYTES = 1_000  # of a member's path: bounds the depth of folders
MAX_HEADER_BYTES = 2**16  # of the headers of one tar member
MAX_PADDING_BYTES = 2**24  # after the end mark of a tar
RATIO_FREE_BYTES = 2**26  # unpacked bytes allowed at any ratio, as silence compresses well
DISK_BLOCK_BYTES = 2**12  # disk space of a folder, or of the rest of a file
READ_BYTES = 2**16

ENCRYPTED = 0x41  # flag bits of an encrypted zip member, of either method
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
REPACK = "pack it again with plain files and folders only, each once, under relative paths"


class ArchiveError(ValueError):
    """An archive that is refused or cannot be read whole; the message is the reason."""


@dataclass(frozen=True)
class _Member:
    """A member as the archive declares it.

    ``end`` is its last byte in the unpacked archive. ``faults`` maps each reason to refuse it,
    apart from its path, to whether that reason applies.
    """

    name: str
    size: int
    end: int
    folder: bool
    faults: dict[str, bool]
    open: Callable[[], IO[bytes] | None]


def is_archive(path: Path) -> bool:
    """Return whether the name has an archive's ending (SUFFIXES, in any case)."""
    return path.name.lower().endswith(SUFFIXES)


def unpack(path: Path, destination: Path) -> None:
    """Unpack the archive ``path`` into the folder ``destination``, atomically.

    The parent of ``destination`` must exist. An existing ``destination`` is complete, and nothing
    is done. Archives inside stay files; modes, owners and times of members are ignored.
    ArchiveError if the archive is refused, cannot be read whole, or exceeds the limits or the
    free disk space; nothing of it is left then.
    """
    unfinished = destination.with_name(f"{destination.name}.{uuid4().hex}{PARTIAL}")
    try:
        if destination.exists():
            return
        # The last 5 % stay free for other writers to this disk.
        room = shutil.disk_usage(destination.parent).free * 95 // 100
        for _ in _checked(path, room):
            pass
        unfinished.mkdir()
        # Checked again, because the archive may have been replaced meanwhile.
        for name, member in _checked(path, room):
            _write(member, unfinished / name)
        try:
            unfinished.rename(destination)
        except OSError:
            if not destination.is_dir():  # else another process has unpacked it meanwhile
                raise
    except ArchiveError:
        raise
    except Exception as error:
        # zipfile and tarfile raise a dozen kinds of exception for damaged bytes.
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


def _checked(path: Path, room: int) -> Iterator[tuple[str, _Member]]:
    """Yield each member, once checked, with its normalised path; ``room`` is in bytes."""
    own = path.stat().st_size
    kinds = {"": "parent"}
    for member in _members(path):
        _refuse(member, member.faults | _faults_of_name(member.name))
        name = "/".join(part for part in member.name.split("/") if part not in ("", "."))
        _refuse(member, _faults_of_path(name, member.folder, kinds))
        count, most = len(kinds) - 1, max(RATIO_FREE_BYTES, MAX_RATIO * own)
        disk = member.end + DISK_BLOCK_BYTES * count
        so_far = f"takes it to {member.end} bytes unpacked"
        faults = {
            f"is file or folder {count}, but at most {MAX_MEMBERS} are allowed": count
            > MAX_MEMBERS,
            f"{so_far}, over the {MAX_BYTES} allowed": member.end > MAX_BYTES,
            f"{so_far}, over {MAX_RATIO} times its own {own}": member.end > most,
            f"{so_far} and {disk} on the disk, of which {room} may be used": disk > room,
        }
        _refuse(member, faults, "make room, or unpack it yourself if you trust it")
        yield name, member


def _refuse(member: _Member, faults: dict[str, bool], remedy: str = REPACK) -> None:
    for fault, applies in faults.items():
        if applies:
            shown = repr(member.name[:MAX_PATH_BYTES])
            raise ArchiveError(f"it is refused: its member {shown} {fault}: {remedy}")


def _faults_of_name(name: str) -> dict[str, bool]:
    parts = [os.fsencode(part) for part in name.split("/")]
    longest = max(map(len, parts))
    return {
        "has an empty name": not name,
        "has a NUL in its name": "\0" in name,
        "has an absolute path": name.startswith("/") or (name[:1].isalpha() and name[1:2] == ":"),
        "has a backslash in its path": "\\" in name,
        "has '..' in its path": b".." in parts,
        f"has a path of over {MAX_PATH_BYTES} bytes": len(b"/".join(parts)) > MAX_PATH_BYTES,
        f"has over {MAX_NAME_BYTES} bytes in a part of its path": longest > MAX_NAME_BYTES,
    }


def _faults_of_path(name: str, folder: bool, kinds: dict[str, str]) -> dict[str, bool]:
    """Return the conflicts of a normalised path with the earlier ones, and add it to them.

    ``kinds`` maps each path to "file", "folder", or "parent" (a folder that was no member yet).
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
    for suffix, open_tar in TARS.items():
        if path.name.lower().endswith(suffix):
            return _members_of_tar(path, open_tar)
    return _members_of_zip(path)


def _members_of_zip(path: Path) -> Iterator[_Member]:
    end = 0
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            # The archive's own name for it: ZipInfo.filename ends at a NUL.
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
            # zipfile stops at the declared size: a higher one shows if a member continues.
            info.file_size += 2 * READ_BYTES
            opened = partial(archive.open, info)
            yield _Member(name, size, end, name.endswith("/"), faults, opened)


def _members_of_tar(path: Path, open_tar: Callable[[Path], io.BufferedIOBase]) -> Iterator[_Member]:
    with open_tar(path) as file:
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
        # Read to the very end: a compressed file's checksum is compared only there.
        reader.left = MAX_PADDING_BYTES
        while block := reader.read(READ_BYTES):
            if any(block):
                raise ArchiveError(
                    "it is refused: it continues after its end mark, as joined archives do: "
                    "pack all files into one"
                )


class _Reader:
    """Reader of at most ``left`` bytes of a tar, because tarfile reads headers of any size."""

    def __init__(self, file: io.BufferedIOBase) -> None:
        self.file = file
        self.left = MAX_HEADER_BYTES
        self.tell, self.seek, self.seekable = file.tell, file.seek, file.seekable
        # Required by the type of tarfile's argument; reading calls neither.
        self.write, self.close = file.write, file.close

    def read(self, size: int) -> bytes:
        if not 0 <= size <= self.left:
            raise ArchiveError(
                f"it is refused: at byte {self.tell()} its headers or padding continue for {size} "
                f"bytes, but {self.left} are allowed: pack it again without extended attributes"
            )
        self.left -= size
        return self.file.read(size)


class _Header(tarfile.TarInfo):
    """Header that raises an error if it is damaged or missing; tarfile would end there silently."""

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
