"""Folders on any file system that pyarrow knows: a local path, ``s3://bucket/prefix`` and others.

What is written appears whole or not at all: locally by rename, in a bucket because an object is
there once its upload is complete.
"""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
from pyarrow import fs

from datasets.files import PARTIAL, replacing

COPY_BYTES = 2**23
"""Bytes that are copied at a time."""


class StorageError(ValueError):
    """A place that cannot be used, with the file system's reason."""


@dataclass(frozen=True)
class Folder:
    """A folder by its URI, or by its absolute path where it is local. It may be missing yet."""

    uri: str

    @classmethod
    def of(cls, place: "str | os.PathLike[str] | Folder") -> Self:
        """The folder at a URI or a local path; StorageError where no such file system is known."""
        if isinstance(place, Folder):
            return cls(place.uri)
        text = os.fspath(place)
        folder = cls(text if "://" in text else os.path.abspath(text))
        folder._system()
        return folder

    def __str__(self) -> str:
        return self.uri

    def subfolder(self, name: str) -> Self:
        """The folder ``name`` in this one."""
        if self.local is not None:
            return type(self)(str(self.local / name))
        place, mark, options = self.uri.partition("?")
        return type(self)(f"{place.rstrip('/')}/{name}{mark}{options}")

    @cached_property
    def local(self) -> Path | None:
        """The folder as a path of this machine; None where it is elsewhere."""
        return None if "://" in self.uri else Path(self.uri)

    def filesystem_path(self, name: str) -> "tuple[Any, str]":
        """The pyarrow file system and its path of the file ``name`` (relative, with slashes)."""
        system, root = self._system()
        return system, f"{root.rstrip('/')}/{name}" if name else root

    def exists(self, name: str) -> bool:
        """Whether there is a file of that name."""
        system, path = self.filesystem_path(name)
        return bool(system.get_file_info(path).type == fs.FileType.File)

    def list_files(self, under: str = "") -> dict[str, int]:
        """The size in bytes of every file below ``under``, by name; none where it is missing."""
        if self.local is not None:
            # Not by pyarrow, which takes every name for UTF-8.
            walked = os.walk(self.local / under)
            paths = [Path(top, name) for top, _, names in walked for name in names]
            return {
                path.relative_to(self.local).as_posix(): path.stat().st_size
                for path in paths
                if path.is_file()
            }
        system, path = self.filesystem_path(under)
        selector = fs.FileSelector(path, allow_not_found=True, recursive=True)
        prefix = len(self.filesystem_path("")[1].rstrip("/")) + 1
        return {
            entry.path[prefix:]: entry.size
            for entry in system.get_file_info(selector)
            if entry.type == fs.FileType.File
        }

    def read_bytes(self, name: str) -> bytes:
        """A whole file; OSError (FileNotFoundError where it is missing) with the reason."""
        if self.local is not None:
            return (self.local / name).read_bytes()
        system, path = self.filesystem_path(name)
        with system.open_input_file(path) as file:
            return bytes(file.read())

    def write_bytes(self, name: str, content: bytes) -> None:
        """Write a whole file, over one that is there."""
        with self.writing(name) as path:
            path.write_bytes(content)

    @contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        """A local path to write to; it becomes the file ``name`` when the block ends without error.

        Elsewhere than on this machine it lies in the temporary folder until it is uploaded.
        """
        if self.local is not None:
            whole = self.local / name
            whole.parent.mkdir(parents=True, exist_ok=True)
            with replacing(whole) as partial:
                yield partial
            return
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / "file"
            yield path
            system, target_path = self.filesystem_path(name)
            try:
                with path.open("rb") as source, system.open_output_stream(target_path) as target:
                    shutil.copyfileobj(source, target, COPY_BYTES)
            except BaseException:
                # To close a stream is to complete its upload, whatever it has been given.
                if self.exists(name):
                    system.delete_file(target_path)
                raise

    @contextmanager
    def reading(self, name: str) -> Iterator[Path]:
        """A local path with the content of the file ``name``, a copy where it is elsewhere."""
        if self.local is not None:
            yield self.local / name
            return
        with tempfile.TemporaryDirectory() as scratch:
            # The name's ending is kept: it says which formats need none of their own header.
            path = Path(scratch) / f"copy{os.path.splitext(name)[1]}"
            system, source_path = self.filesystem_path(name)
            with system.open_input_stream(source_path) as source, path.open("wb") as target:
                shutil.copyfileobj(source, target, COPY_BYTES)
            yield path

    def sha256(self, name: str) -> str:
        """The SHA-256 (hex) of a file; OSError with the reason where it cannot be read."""
        system, path = self.filesystem_path(name)
        digest = hashlib.sha256()
        with system.open_input_file(path) as file:
            while block := file.read(COPY_BYTES):
                digest.update(block)
        return digest.hexdigest()

    def make_folder(self, under: str) -> None:
        """Make a folder below this one where folders are made; OSError with the reason."""
        if self.local is not None:
            (self.local / under).mkdir(parents=True, exist_ok=True)

    def remove_partial(self, under: str) -> None:
        """Remove what a killed process left half-written in the folder ``under``."""
        if self.local is None:
            return
        for leftover in (self.local / under).glob(f"*{PARTIAL}"):
            if leftover.is_dir():
                shutil.rmtree(leftover, ignore_errors=True)
            else:
                leftover.unlink(missing_ok=True)

    def _system(self) -> "tuple[Any, str]":
        return _resolved(self.uri)


@lru_cache(maxsize=64)
def _resolved(place: str) -> "tuple[Any, str]":
    if "://" not in place:
        return fs.LocalFileSystem(), place
    try:
        system, path = fs.FileSystem.from_uri(place)
    except (pa.ArrowException, OSError) as error:
        raise StorageError(
            f"{place} names no file system that pyarrow can open ({error}): write a local path or, "
            "for example, s3://bucket/prefix."
        ) from error
    return system, path
