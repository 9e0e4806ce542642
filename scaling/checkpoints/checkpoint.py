"""A run's checkpoints: folders of safetensors with a manifest of hashes, written atomically.

The content of a checkpoint does not depend on the number of workers: every tensor is whole, in the
part of one of them. The folder has a temporary name until all parts and the manifest are on disk.
Nothing in it is ever unpickled.
"""

import hashlib
import json
import os
import shutil
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from datasets.files import PARTIAL, replacing
from scaling.checkpoints.train_state import TrainState

FOLDER = "checkpoints"
MANIFEST = "manifest.json"
VERSION = 1
KEPT = 2
"""Number of committed checkpoints that are kept, the newest ones."""
DAMAGED = ".damaged"
BLOCK = 2**23
PART_POLL_SECONDS = 0.05


class CheckpointError(RuntimeError):
    """A checkpoint cannot be used or written; the text has the remedy."""


# A manifest may name files in its own folder only: /dev/zero has no end.
PartName = Annotated[str, Field(pattern=r"^part-[0-9]{5,}\.safetensors$")]


class CheckpointFile(BaseModel):
    """Hash and size of one file of a checkpoint."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: str
    bytes: int


class Checkpoint(BaseModel):
    """The manifest of a committed checkpoint, and its folder.

    ``place`` is the train state, ``workers`` the number of workers that wrote the parts.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int
    place: TrainState
    workers: int
    parts: Annotated[dict[PartName, CheckpointFile], Field(min_length=1)]
    folder: Path

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the manifest in a folder; raise CheckpointError if it cannot be used."""
        path = folder / MANIFEST
        try:
            content = json.loads(path.read_text())
            if not isinstance(version := content["version"], int):
                raise ValueError("its version is not an integer")
            if version != VERSION:
                raise CheckpointError(
                    f"{path} has version {version} and this Longwave reads version {VERSION}: "
                    "continue with the Longwave that wrote it, or remove the run's folder"
                )
            return cls.model_validate({**content, "folder": folder})
        except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
            reason = str(error).splitlines()[0]
            raise CheckpointError(f"{path} cannot be used: {reason}") from error

    def problems(self) -> list[str]:
        """Read all files. Return a sentence for each that differs from what was written."""
        with ThreadPoolExecutor(min(8, len(self.parts))) as pool:
            found = pool.map(self._problem, self.parts)
        return [sentence for sentence in found if sentence]

    def _problem(self, name: str) -> str | None:
        path = self.folder / name
        try:
            if _hashed(path) == self.parts[name]:
                return None
        except OSError as error:
            return f"{path} cannot be read ({error.strerror})"
        return f"{path} is damaged: its SHA-256 is not that of the manifest"

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Iterate over all tensors by name, without reading them all at once.

        Raises:
            CheckpointError: if a part is no safetensors file, in spite of its correct hash.
        """
        for name in self.parts:
            try:
                with safe_open(self.folder / name, "pt") as part:
                    for key in part.keys():
                        yield key, part.get_tensor(key)
            except (OSError, SafetensorError) as error:
                raise CheckpointError(f"{self.folder / name} cannot be read: {error}") from error


class Writer:
    """Writer of one rank's part of each checkpoint; rank 0 commits all parts.

    ``attempt`` is the id of the start, so that parts of an earlier start are not mixed in.
    """

    def __init__(self, run_folder: Path, attempt: str, rank: int, workers: int) -> None:
        self._folder = run_folder / FOLDER
        self._attempt = attempt
        self._rank = rank
        self._workers = workers
        self.abandoned = threading.Event()

    def write(self, tensors: Mapping[str, Tensor], state: TrainState) -> None:
        """Write this rank's part. Rank 0 then waits for the other parts and commits them.

        Raises:
            OSError: if the storage refuses.
            CheckpointError: if the wait was ``abandoned``.
        """
        whole = self._folder / f"{state.step:09d}"
        partial = whole.with_name(f"{whole.name}.{self._attempt}{PARTIAL}")
        try:
            partial.mkdir(parents=True, exist_ok=True)
            name = _part_name(self._rank)
            save_tensors(tensors, partial / name)
            _to_disk(partial / name)
            with replacing(_note(partial, self._rank)) as note:
                note.write_text(_hashed(partial / name).model_dump_json())
            if self._rank == 0:
                self._commit(partial, whole, state)
        except BaseException:
            if self._rank == 0:
                shutil.rmtree(partial, ignore_errors=True)
            raise

    def _commit(self, partial: Path, whole: Path, state: TrainState) -> None:
        notes = [_note(partial, rank) for rank in range(self._workers)]
        while not all(note.exists() for note in notes):
            if self.abandoned.wait(PART_POLL_SECONDS):
                raise CheckpointError("another worker could not write its part")
        parts = {
            _part_name(rank): CheckpointFile.model_validate_json(note.read_text())
            for rank, note in enumerate(notes)
        }
        manifest = {
            "version": VERSION,
            "place": asdict(state),
            "workers": self._workers,
            "parts": {name: part.model_dump() for name, part in parts.items()},
        }
        (partial / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")
        for note in notes:
            note.unlink()
        _to_disk(partial / MANIFEST)
        _to_disk(partial)
        os.replace(partial, whole)
        _to_disk(self._folder)
        for old in committed(self._folder.parent)[KEPT:]:
            shutil.rmtree(old, ignore_errors=True)
        for old in self._folder.glob(f"*{DAMAGED}"):
            shutil.rmtree(old, ignore_errors=True)


def save_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write a safetensors file atomically; raise OSError if the storage refuses."""
    try:
        with replacing(path) as partial:
            save_file(dict(tensors), partial)
    except SafetensorError as error:
        raise OSError(str(error)) from error


def committed(run_folder: Path) -> list[Path]:
    """Return the folders of the run's committed checkpoints, the newest first."""
    manifests = run_folder.glob(f"{FOLDER}/*/{MANIFEST}")
    # Folders with a suffix are partial or damaged.
    return sorted((path.parent for path in manifests if not path.parent.suffix), reverse=True)


def newest(run_folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """Return the newest undamaged checkpoint, and a sentence for each newer one that is damaged.

    Damaged ones are renamed. None if the run has no checkpoint yet.

    Raises:
        CheckpointError: if all checkpoints are damaged. A run never restarts at step 0 by itself.
    """
    damaged: list[Path] = []
    damage: list[str] = []
    for folder in committed(run_folder):
        try:
            checkpoint = Checkpoint.read(folder)
            problems = checkpoint.problems()
        except CheckpointError as error:
            problems = [str(error)]
        if not problems:
            for other in damaged:
                other.rename(other.with_name(f"{other.name}.{time.time_ns()}{DAMAGED}"))
            return checkpoint, damage
        damaged.append(folder)
        damage.append("; ".join(problems))
    if damage:
        raise CheckpointError(
            f"no checkpoint of {run_folder} can be used: {'. '.join(damage)}. Restore one of them "
            "from a copy, or remove the run's folder to start the run again"
        )
    return None, []


def forget_partial(run_folder: Path) -> None:
    """Remove partial checkpoints. No writer may be at work."""
    for leftover in run_folder.glob(f"{FOLDER}/*{PARTIAL}"):
        shutil.rmtree(leftover, ignore_errors=True)


def _part_name(rank: int) -> str:
    return f"part-{rank:05d}.safetensors"


def _note(partial: Path, rank: int) -> Path:
    return partial / f"{_part_name(rank)}.json"


def _hashed(path: Path) -> CheckpointFile:
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
            size += len(block)
    return CheckpointFile(sha256=digest.hexdigest(), bytes=size)


def _to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
