"""Audio files to mono float blocks at the corpus rate, or the reason why a file cannot be used.

Decoding is libsndfile's (WAV, FLAC, OGG Vorbis and Opus, MP3, AIFF and more, by content, not by
extension), resampling is soxr's high quality. libsndfile reads truncated and damaged files short
without an error, so a file is held to what its container says (:mod:`datasets.containers`), and the
frames promised are compared with those read.
"""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
import soxr

from datasets import containers

BLOCK_FRAMES = 2**18
# Floats can be anything: what is louder than this is no audio, and the mean of two such samples, or
# what a resampler makes of them, is no number.
MAX_AMPLITUDE = 2.0**30
MIN_RATE = 1_000
"""In Hz: below, a few kilobytes of a damaged header's file would be resampled to gigabytes."""


class AudioError(ValueError):
    """A file that cannot be read whole, or no file at all; the message is the reason."""


def file_sha256(path: Path) -> str:
    """The SHA-256 (hex) of a file; AudioError where it cannot be opened."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise AudioError(f"it cannot be opened: {error.strerror}") from error


def read_properties(path: Path) -> tuple[int, int]:
    """The file's own rate in Hz and its number of channels; AudioError as ``blocks``."""
    with _opened(path) as file:
        return file.samplerate, file.channels


def read_blocks(
    path: Path, rate: int, frames: int = BLOCK_FRAMES, ratio: float = 1.0
) -> Iterator[np.ndarray]:
    """The file as mono float32 blocks (each [any]) at ``rate`` Hz, ``frames`` decoded at a time.

    ``ratio`` shifts its pitch by resampling: the file is read as if its own rate were that many
    times what it is, so that it sounds higher, and is shorter, by this ratio.

    AudioError with the reason, possibly after some blocks, where the file cannot be read whole.
    """
    _check_container(path)
    with _opened(path) as file:
        if file.samplerate < MIN_RATE:
            raise AudioError(f"its rate is {file.samplerate} Hz, below {MIN_RATE} Hz")
        mono = _mono(file, frames)
        source_rate = file.samplerate * ratio
        if source_rate == rate:
            yield from mono
            return
        resampler = soxr.ResampleStream(source_rate, rate, 1, dtype="float32")
        for block in mono:
            yield resampler.resample_chunk(block)
        yield resampler.resample_chunk(np.empty(0, dtype=np.float32), last=True)


def read(path: Path, rate: int) -> np.ndarray:
    """The whole file as mono float32 samples [T] at ``rate`` Hz; AudioError as ``blocks``."""
    return np.concatenate(list(read_blocks(path, rate)))


def _opened(path: Path) -> soundfile.SoundFile:
    try:
        return soundfile.SoundFile(os.fsencode(path))
    except (soundfile.SoundFileError, TypeError) as error:
        # TypeError: a file named .raw, which soundfile takes for samples without a header.
        raise AudioError(f"it cannot be decoded: {_reason(error)}") from error


def _mono(file: soundfile.SoundFile, frames: int) -> Iterator[np.ndarray]:
    """The mean of the channels (float32 [up to frames]), checked while it is read."""
    promised, done = file.frames, 0
    if promised == 0:
        raise AudioError("it holds no audio (0 frames)")
    while True:
        try:
            block = file.read(frames, dtype="float32", always_2d=True)
        except soundfile.SoundFileError as error:
            raise AudioError(
                f"it cannot be decoded after frame {done} of {promised}: {_reason(error)}"
            ) from error
        if len(block) == 0:
            break
        # False for what is no number, too.
        if not (np.abs(block) <= MAX_AMPLITUDE).all():
            raise AudioError(_no_amplitudes(block, done))
        done += len(block)
        yield _mean(block)
    if done < promised:
        raise AudioError(f"it is truncated: {done} of the {promised} frames promised can be read")


def _no_amplitudes(block: np.ndarray, done: int) -> str:
    """What is wrong with a block [frames, channels] that comes after ``done`` frames."""
    bad = int(np.count_nonzero(~np.isfinite(block).all(axis=1)))
    if bad:
        return f"{bad} frames after frame {done} are NaN or infinite"
    loud = int(np.count_nonzero((np.abs(block) > MAX_AMPLITUDE).any(axis=1)))
    return f"{loud} frames after frame {done} are over {MAX_AMPLITUDE:,.0f} times full scale"


def _mean(block: np.ndarray) -> np.ndarray:
    """The mean of the channels [frames] of a block [frames, channels]."""
    if block.shape[1] == 2:
        # The same values as below; numpy's mean over so short an axis takes longer than decoding.
        return np.asarray((block[:, 0] + block[:, 1]) / 2)
    return np.asarray(block.mean(axis=1))


def _check_container(path: Path) -> None:
    """Refuse a file that is not what its container says."""
    try:
        found = containers.problem(path)
    except OSError as error:
        raise AudioError(f"it cannot be opened: {error.strerror}") from error
    if found is not None:
        raise AudioError(found)


def _reason(error: Exception) -> str:
    """libsndfile's own words, without the path that the caller names anyway."""
    return str(getattr(error, "error_string", error)).rstrip(".")
