"""Folders on any file system of pyarrow: a local path, ``s3://bucket/prefix`` and others.

Writes are atomic: locally by rename, in a bucket because an object exists only once its upload is
complete.
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

COPY_BYTES = 2**23  # at a time


class StorageError(ValueError):
    """A folder that cannot be used, with the file system's reason."""


@dataclass(frozen=True)
class Folder:
    """A folder by its URI or, if it is local, by its absolute path. It need not exist yet."""

    uri: str

    @classmethod
    def of(cls, place: "str | os.PathLike[str] | Folder") -> Self:
        """Return the folder at a URI or a local path; StorageError for an unknown file system."""
        if isinstance(place, Folder):
            return cls(place.uri)
        text = os.fspath(place)
        folder = cls(text if "://" in text else os.path.abspath(text))
        _resolve(folder.uri)
        return folder

    def __str__(self) -> str:
        return self.uri

    def subfolder(self, name: str) -> Self:
        """Return the folder ``name`` in this one."""
        if self.local is not None:
            return type(self)(str(self.local / name))
        path, mark, options = self.uri.partition("?")
        return type(self)(f"{path.rstrip('/')}/{name}{mark}{options}")

    @cached_property
    def local(self) -> Path | None:
        """The folder as a path of this machine; None if it is elsewhere."""
        return None if "://" in self.uri else Path(self.uri)

    def filesystem_path(self, name: str) -> "tuple[Any, str]":
        """Return the pyarrow file system, and its path of the file ``name`` (with slashes)."""
        system, root = _resolve(self.uri)
        return system, f"{root.rstrip('/')}/{name}" if name else root

    def list_files(self, under: str = "") -> dict[str, int]:
        """Return the size in bytes of every file below ``under``, by name; {} if it is missing."""
        if self.local is not None:
            # pyarrow's listing takes every name for UTF-8, and local names may be any bytes.
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
        """Read a whole file; OSError with the reason (FileNotFoundError if it is missing)."""
        if self.local is not None:
            return (self.local / name).read_bytes()
        system, path = self.filesystem_path(name)
        with system.open_input_file(path) as file:
            return bytes(file.read())

    def write_bytes(self, name: str, content: bytes) -> None:
        """Write a whole file, replacing an existing one."""
        with self.writing(name) as path:
            path.write_bytes(content)

    @contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        """Yield a temporary local path; it becomes the file ``name`` if the block succeeds."""
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
                # Closing the stream completes the upload, even of a part of the content.
                if system.get_file_info(target_path).type == fs.FileType.File:
                    system.delete_file(target_path)
                raise

    @contextmanager
    def reading(self, name: str) -> Iterator[Path]:
        """Yield a local path with the content of the file ``name``: a copy if it is remote."""
        if self.local is not None:
            yield self.local / name
            return
        with tempfile.TemporaryDirectory() as scratch:
            # Keep the ending: readers recognise formats without a header by it.
            path = Path(scratch) / f"copy{os.path.splitext(name)[1]}"
            system, source_path = self.filesystem_path(name)
            with system.open_input_stream(source_path) as source, path.open("wb") as target:
                shutil.copyfileobj(source, target, COPY_BYTES)
            yield path

    def sha256(self, name: str) -> str:
        """Return the SHA-256 (hex) of a file; OSError with the reason if it cannot be read."""
        system, path = self.filesystem_path(name)
        with system.open_input_stream(path, buffer_size=COPY_BYTES) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def make_folder(self, under: str) -> None:
        """Make a folder below this one, if its file system has folders; OSError with the reason."""
        if self.local is not None:
            (self.local / under).mkdir(parents=True, exist_ok=True)

    def remove_partial(self, under: str) -> None:
        """Remove the half-written files of a killed process from the folder ``under``."""
        if self.local is None:
            return
        for leftover in (self.local / under).glob(f"*{PARTIAL}"):
            if leftover.is_dir():
                shutil.rmtree(leftover, ignore_errors=True)
            else:
                leftover.unlink(missing_ok=True)


@lru_cache(maxsize=64)
def _resolve(uri: str) -> "tuple[Any, str]":
    if "://" not in uri:
        return fs.LocalFileSystem(), uri
    try:
        system, path = fs.FileSystem.from_uri(uri)
    except (pa.ArrowException, OSError) as error:
        raise StorageError(
            f"{uri} names no file system that pyarrow can open ({error}): write a local path or, "
            "for example, s3://bucket/prefix."
        ) from error
    return system, path
