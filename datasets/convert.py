"""Convert takes of audio to one shard, with the facts of that shard as a small JSON beside it.

A shard's file name is a hash of its audio files (names and SHA-256), their changes and the
settings. A shard is therefore present or missing, never outdated, and an earlier manifest stays
valid while a new one is made.
"""

import dataclasses
import hashlib
import itertools
import json
import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from pydantic import TypeAdapter

from datasets import audio, augment, columns, quantise, references, shards
from datasets.audio import AudioError
from datasets.augment import UNCHANGED, Change
from datasets.blocks import reblocked
from datasets.columns import SeriesError
from datasets.level import Level, LevelMeter, merge_levels
from datasets.manifest import RecordingPart, Rejected
from datasets.settings import Settings
from datasets.sources import Source
from datasets.storage import Folder

SPOOL_BYTES = 2**24  # of a recording's codes: more go from memory to the disk


@dataclass(frozen=True)
class Take:
    """Consecutive files that become a recording, with their SHA-256; ``epoch`` numbers the copy."""

    sources: tuple[Source, ...]
    sha256: tuple[str, ...]
    epoch: int = 0

    def identity(self, settings: Settings) -> str:
        """Return a hash (hex) of everything that decides its codes."""
        names = [source.name for source in self.sources]
        content = json.dumps([names, self.sha256, self.epoch, settings.identity()])
        return hashlib.sha256(content.encode()).hexdigest()


@dataclass(frozen=True)
class ConvertedRecording:
    """A recording of a shard: its manifest entry without the splits."""

    name: str
    row: int
    samples: int
    parts: tuple[RecordingPart, ...]
    level: Level
    epoch: int


@dataclass(frozen=True)
class ConvertedTake:
    """The recordings of a take: several if a file in its middle is rejected."""

    identity: str
    entries: tuple[ConvertedRecording, ...]
    rejected: tuple[Rejected, ...]


@dataclass(frozen=True)
class ShardFacts:
    """A finished shard: its path below the corpus folder, bytes, SHA-256, and its takes."""

    shard: str
    size: int
    sha256: str
    made: tuple[ConvertedTake, ...]

    @classmethod
    def from_json(cls, text: bytes) -> Self:
        """Parse the facts from JSON text; ValueError if it is malformed."""
        facts: Self = TypeAdapter(cls).validate_json(text)
        return facts


def write_shard(takes: Iterable[Take], folder: Folder, settings: Settings) -> ShardFacts:
    """Write the shard of these takes below ``folder``, then its facts beside it (``.json``).

    Unusable files are left out, each with its reason. A shard without any recording is not written
    and has no SHA-256.
    """
    takes = tuple(takes)
    shard = _shard_name(takes, settings)
    converted: list[ConvertedTake] = []
    recordings = _convert_takes(takes, settings, converted, folder)
    size, sha256 = 0, ""
    first = next(recordings, None)
    if first is not None:
        with folder.writing(shard) as path:
            writer = shards.ShardWriter(path, settings.levels)
            for recording in itertools.chain([first], recordings):
                recording.row, _ = writer.add(recording.name, recording.codes(settings.levels))
            writer.close()
            size, sha256 = path.stat().st_size, audio.file_sha256(path)
    facts = ShardFacts(shard, size, sha256, tuple(converted))
    content = json.dumps(dataclasses.asdict(facts)) + "\n"
    folder.write_bytes(f"{shard}.json", content.encode())
    return facts


@dataclass
class _Recording:
    """A recording whose codes wait in ``spool``; ``row`` is set once it is written."""

    spool: Any
    epoch: int
    parts: list[RecordingPart]
    levels: list[tuple[Level, int]]
    row: int = 0

    @property
    def samples(self) -> int:
        return sum(count for _, count in self.levels)

    @property
    def name(self) -> str:
        """The file's name, or those of the first and the last, and the number of the copy."""
        first, last = self.parts[0].name, self.parts[-1].name
        copy = f" copy {self.epoch}" if self.epoch else ""
        return (first if first == last else f"{first}..{last}") + copy

    def codes(self, levels: int) -> Iterator[np.ndarray]:
        self.spool.seek(0)
        while content := self.spool.read(SPOOL_BYTES):
            yield np.frombuffer(content, dtype=quantise.code_dtype(levels))

    def entry(self) -> ConvertedRecording:
        parts, level = tuple(self.parts), merge_levels(self.levels)
        return ConvertedRecording(self.name, self.row, self.samples, parts, level, self.epoch)


def _convert_takes(
    takes: Iterable[Take], settings: Settings, converted: list[ConvertedTake], folder: Folder
) -> Iterator[_Recording]:
    """Yield the recordings of the takes; append each take to ``converted`` once it is finished."""
    for take in takes:
        entries: list[ConvertedRecording] = []
        rejected: list[Rejected] = []
        for recording in _convert_take(take, settings, rejected, folder):
            with recording.spool:
                yield recording
            entries.append(recording.entry())
        converted.append(ConvertedTake(take.identity(settings), tuple(entries), tuple(rejected)))


def _convert_take(
    take: Take, settings: Settings, rejected: list[Rejected], folder: Folder
) -> Iterator[_Recording]:
    # Long recordings spool to the corpus's own disk: the temporary folder may be memory.
    scratch = str(folder.local / "shards") if folder.local else None

    def begin_recording() -> _Recording:
        spool = tempfile.SpooledTemporaryFile(SPOOL_BYTES, dir=scratch)
        return _Recording(spool, take.epoch, [], [])

    change = settings.augmentation.draw_change(take.epoch, take.sources[0].name)
    recording = begin_recording()
    for source, sha256 in zip(take.sources, take.sha256, strict=True):
        end = recording.spool.tell()
        try:
            # Opened here to raise OSError: a file that was hashed and now cannot be opened is no
            # fault of its own.
            with source.folder.reading(os.fsdecode(source.path)) as path, path.open("rb"):
                series = (settings.rate, 1) if settings.series else None
                rate, channels = series or audio.read_properties(path)
                meter, samples = LevelMeter(settings.rate), 0
                for codes in encode_file(path, settings, change, meter):
                    recording.spool.write(codes.tobytes())
                    samples += len(codes)
        except (AudioError, SeriesError) as error:
            # OSError is not caught: a full disk or a lost connection must not be remembered as a
            # fault of the file.
            rejected.append(Rejected(source.name, str(error)))
            recording.spool.seek(end)
            recording.spool.truncate()
            if recording.parts:
                yield recording
                recording = begin_recording()
            continue
        begin = recording.samples
        recording.parts.append(RecordingPart(source.name, sha256, rate, channels, begin))
        recording.levels.append((meter.level, samples))
    if recording.parts:
        yield recording
    else:
        recording.spool.close()


def _shard_name(takes: tuple[Take, ...], settings: Settings) -> str:
    """Return a readable path that no other takes or settings share."""
    readable = re.sub(r"[^A-Za-z0-9]+", "_", takes[0].sources[0].name)[-48:].strip("_")
    identity = json.dumps([take.identity(settings) for take in takes])
    return f"shards/{readable}-{hashlib.sha256(identity.encode()).hexdigest()[:16]}.parquet"


def _read_amplitudes(path: Path, settings: Settings, ratio: float) -> Iterator[np.ndarray]:
    if settings.series:
        return columns.read_blocks(path, settings.series)
    return audio.read_blocks(path, settings.rate, ratio=ratio)


def encode_file(
    path: Path, settings: Settings, change: Change = UNCHANGED, meter: LevelMeter | None = None
) -> Iterator[np.ndarray]:
    """Yield the codes of a file in blocks, measured by ``meter``; AudioError if it is unusable."""
    meter = meter or LevelMeter(settings.rate)
    peak = 0.0
    if settings.scaling == "file":
        for block in _read_amplitudes(path, settings, change.ratio):
            peak = max(peak, float(np.abs(block).max(initial=0.0)))
    scaled = (block / (peak or 1.0) for block in _read_amplitudes(path, settings, change.ratio))
    blocks = meter.measure(augment.apply_change(scaled, change))
    samples = 0
    if settings.scaling == "chunk":
        blocks = reblocked(blocks, settings.chunk)
    for block in blocks:
        samples += len(block)
        if settings.scaling == "chunk":
            yield quantise.encode_min_max(block, settings.codec)
        else:
            yield quantise.encode(block, settings.codec, settings.levels)
    if samples <= references.ORDER:
        raise AudioError(
            f"it has {samples} samples at {settings.rate} Hz, fewer than the "
            f"{references.ORDER + 1} that the linear reference needs"
        )
