"""Times real time at which one core makes codes of audio files: decoded, resampled, quantised."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from scipy import signal

from datasets.audio import read_blocks
from datasets.convert import encode_file
from datasets.settings import Settings
from scaling.stream_rate import Spread

SETTINGS = Settings(rate=16_000, codec="mulaw", levels=256, scaling="none")
SECONDS = 30
REPEATS = 7
SEED = 0
FRAMES = 2**13
"""Frames that are written at a time: libsndfile crashes where it is given millions for OGG."""
FORMATS = (("wav", "PCM_16"), ("flac", "PCM_16"), ("ogg", "VORBIS"), ("mp3", "MPEG_LAYER_III"))
SOURCES = ((44_100, 2), (16_000, 1))
"""Rates in Hz and numbers of channels."""


@dataclass(frozen=True)
class Encoding:
    """One kind of file: seconds of audio a second of CPU time, to mono codes at 16,000 Hz.

    ``decoded`` is that of decoding and resampling alone.
    """

    format: str
    rate: int
    channels: int
    encoded: Spread
    decoded: Spread


def encodings(folder: Path, seconds: float = SECONDS, repeats: int = REPEATS) -> Iterator[Encoding]:
    """Measure every kind of file, each made in ``folder``."""
    for rate, channels in SOURCES:
        sound = music(rate, channels, seconds)
        for extension, subtype in FORMATS:
            path = folder / f"{rate}.{extension}"
            with soundfile.SoundFile(path, "w", rate, channels, subtype) as file:
                for begin in range(0, len(sound), FRAMES):
                    file.write(sound[begin : begin + FRAMES])
            encoded, decoded = [], []
            for _ in range(repeats):
                encoded.append(seconds / _cpu_seconds(encode_file(path, SETTINGS)))
                decoded.append(seconds / _cpu_seconds(read_blocks(path, SETTINGS.rate)))
            yield Encoding(extension, rate, channels, Spread.of(encoded), Spread.of(decoded))


def music(rate: int, channels: int, seconds: float) -> np.ndarray:
    """A chord and noise that falls by 6 dB an octave (float32 [frames, channels])."""
    frames = round(rate * seconds)
    noise = np.random.default_rng(SEED).normal(0, 0.01, (frames, channels))
    times = np.arange(frames)[:, None] / rate
    chord = sum(np.sin(2 * np.pi * hertz * times) for hertz in (220.0, 277.2, 329.6))
    falling = signal.lfilter([1.0], [1.0, -0.99], noise, axis=0)
    return np.asarray(0.1 * chord + falling, dtype=np.float32)


def _cpu_seconds(made: Iterator[np.ndarray]) -> float:
    began = time.process_time()
    for _ in made:
        pass
    return time.process_time() - began
