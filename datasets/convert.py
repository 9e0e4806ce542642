"""One audio file to its shard, and the facts of that shard as a small JSON beside it.

A shard's file name is a hash of the audio file's SHA-256 and of the settings, so that a shard is
there or is missing, never outdated, and an earlier manifest stays true while a new one is made.
"""

import dataclasses
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from datasets import audio, quantise, references, shards
from datasets.audio import AudioError
from datasets.files import replacing

SCALINGS = ("none", "file")


class SettingsError(ValueError):
    """Settings that no shard can be made with, with what is allowed."""


@dataclass(frozen=True)
class Settings:
    """What decides the codes of an audio file, beside the file itself. ``rate`` is in Hz."""

    rate: int
    codec: str
    levels: int
    scaling: str

    def __post_init__(self) -> None:
        """Raise SettingsError for a value that this preparation does not know."""
        if self.codec not in quantise.CODECS or self.levels != quantise.LEVELS:
            raise SettingsError(
                f"Codec {self.codec!r} with {self.levels} levels is not known: "
                f"write {' or '.join(quantise.CODECS)} with {quantise.LEVELS} levels."
            )
        if self.scaling not in SCALINGS:
            raise SettingsError(
                f"Scaling {self.scaling!r} is not known: write {' or '.join(SCALINGS)}."
            )


@dataclass(frozen=True)
class Facts:
    """What is known of a finished shard (path relative to the corpus folder)."""

    shard: str
    source_sha256: str
    source_rate: int
    channels: int
    samples: int
    sha256: str

    @classmethod
    def of(cls, text: str) -> Self:
        """The facts from their JSON text."""
        return cls(**json.loads(text))

    def text(self) -> str:
        """The facts as JSON text."""
        return json.dumps(dataclasses.asdict(self), indent=1) + "\n"


def convert(path: Path, name: str, folder: Path, settings: Settings) -> Facts:
    """The facts of the shard of one audio file, which is written first where it is missing.

    AudioError with the reason where the file cannot be used; then no shard is left.
    """
    source_sha256 = audio.digest(path)
    shard = _shard(name, source_sha256, settings)
    beside = folder / f"{shard}.json"
    if (folder / shard).exists() and beside.exists():
        return Facts.of(beside.read_text())
    source_rate, channels = audio.properties(path)
    samples, sha256 = shards.write(folder / shard, name, _encoded(path, settings))
    facts = Facts(shard, source_sha256, source_rate, channels, samples, sha256)
    with replacing(beside) as partial:
        partial.write_text(facts.text())
    return facts


def _shard(name: str, source_sha256: str, settings: Settings) -> str:
    """A readable path that no other recording, audio or settings share."""
    readable = re.sub(r"[^A-Za-z0-9]+", "_", name)[-48:].strip("_")
    identity = json.dumps([name, source_sha256, dataclasses.asdict(settings)])
    return f"shards/{readable}-{hashlib.sha256(identity.encode()).hexdigest()[:16]}.parquet"


def _encoded(path: Path, settings: Settings) -> Iterator[np.ndarray]:
    """The codes of an audio file in blocks (uint8 [any])."""
    peak = 0.0
    if settings.scaling == "file":
        for block in audio.blocks(path, settings.rate):
            peak = max(peak, float(np.abs(block).max(initial=0.0)))
    samples = 0
    for block in audio.blocks(path, settings.rate):
        samples += len(block)
        yield quantise.encode(block / (peak or 1.0), settings.codec, settings.levels)
    if samples <= references.ORDER:
        raise AudioError(
            f"it holds {samples} samples at {settings.rate} Hz, fewer than the "
            f"{references.ORDER + 1} that the linear reference needs"
        )
