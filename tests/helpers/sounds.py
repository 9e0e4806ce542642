"""Audio files and their preparation."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

import datasets.prepare
from datasets import audio, shards
from datasets.convert import Take
from datasets.inventory import HashedFile
from datasets.level import Level
from datasets.manifest import Corpus, Recording
from datasets.settings import Preparation, Settings
from datasets.sources import Patterns, Source
from datasets.splits import SplitRule
from datasets.storage import Folder

RATE = 16_000
SETTINGS = Settings(RATE, "mulaw", 256, "none")
TIME = SplitRule("time", (0.7, 0.15, 0.15))


def noise(samples, seed=0):
    """Return low-passed noise, which a linear predictor can partly predict."""
    white = np.random.default_rng(seed).normal(0, 0.05, samples + 31)
    return np.convolve(white, np.hanning(32), "valid").clip(-1, 1)


def sound(path: Path, samples, rate=RATE, **options: Any) -> Path:
    """Write a file of these samples, or of this many samples of noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, noise(samples) if isinstance(samples, int) else samples, rate, **options)
    return path


def take(root: Path, *names: str, epoch: int = 0) -> Take:
    """Return the take of these files below ``root``."""
    place = Folder.of(root).uri
    sources = tuple(Source(name, place, os.fsencode(name)) for name in names)
    return Take(sources, tuple(audio.file_sha256(root / name) for name in names), epoch)


def hashed(root: Path, *names: str) -> list[HashedFile]:
    """Return these files below ``root`` with their counts."""
    place = Folder.of(root).uri
    return [
        HashedFile(
            Source(name, place, os.fsencode(name)),
            audio.file_sha256(root / name),
            (root / name).stat().st_size,
        )
        for name in names
    ]


def asked(**changes: Any) -> Preparation:
    """Return a preparation of WAV and FLAC files split by time; ``changes`` replace its fields."""
    fields = {
        "name": "test",
        "licence": "CC0",
        "settings": SETTINGS,
        "split": TIME,
        "patterns": Patterns(("**/*.wav", "**/*.flac")),
    }
    return Preparation(**{**fields, **changes})


def prepare(root, destination, progress=lambda *step: None, **changes: Any) -> Corpus:
    """Prepare the files below ``root`` as :func:`asked`; Ray must be connected."""
    return datasets.prepare.prepare_corpus(
        asked(**changes), Folder.of(root), Folder.of(destination), progress
    )


def codes_of(corpus: Corpus, entry: Recording) -> np.ndarray:
    """Return all codes of a recording."""
    return shards.read(corpus.folder, entry.location, 0, entry.samples)


def recording(place, ranges, name="r", parts=(), epoch=0) -> Recording:
    """Return a manifest's entry for the codes at ``place``."""
    level = Level(0.5, 0.1, 0, 0)
    return Recording(name, place.shard, place.row, place.samples, parts, level, epoch, ranges)


def in_process(pieces, work):
    """Replace ``jobs.run`` without Ray: the pieces end in reversed order."""
    for piece in reversed(pieces):
        yield piece, work(piece)


def state(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Return the time and the bytes of each file below ``folder``."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {
        path.relative_to(folder).as_posix(): (path.stat().st_mtime_ns, path.read_bytes())
        for path in files
    }


def contents(folder: Path) -> dict[str, bytes]:
    """Return the bytes of each file below ``folder``."""
    return {name: content for name, (_, content) in state(folder).items()}


def decibels(samples):
    return float(10 * np.log10(np.square(samples).mean()))


CHUNK, LAG, LATENTS = 64, 8, 32


def lagged(chunks, seed):
    """Return noise; only the mean of the chunk LAG before predicts the loudness of a chunk."""
    generator = np.random.default_rng(seed)
    above = generator.random(chunks) < 0.5
    noise = (
        generator.standard_normal((chunks, CHUNK))
        * np.where(np.roll(above, LAG), 0.3, 0.03)[:, None]
    )
    return np.clip(noise + np.where(above, 0.2, -0.2)[:, None], -1, 1).ravel()
