"""Read audio files as mono float blocks at the corpus rate, and refuse files that are not whole.

libsndfile decodes (WAV, FLAC, OGG Vorbis and Opus, MP3, AIFF and more, by content, not by
extension); soxr resamples at high quality.

libsndfile reads a cut WAV, AIFF, AU, RF64 or W64 short without an error, and skips damaged pages of
an Ogg file. Each file is therefore checked against the size or the checksums that its container
states, and the frames read are compared with the frames promised. FLAC has its own checksums.
"""

import hashlib
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
import soxr

BLOCK_FRAMES = 2**18
MAX_AMPLITUDE = 2.0**30  # louder floats are no audio: a mean or a resampler can overflow
MIN_RATE = 1_000  # Hz: a lower one in a damaged header could blow kilobytes up to gigabytes

HEADER_BYTES = 28  # that state the size of a file
# Writers that stream leave sizes at these values, which then mean nothing.
UNKNOWN_SIZES = (0, 2**32 - 1, 2**64 - 1)

OGG = b"OggS"
PAGE_BYTES = 27  # of an Ogg page's header, before the lengths of its segments
CHECKSUM = slice(22, 26)
# Each byte with its bits in reverse order: Ogg's checksum is zlib's of such bytes.
REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


class AudioError(ValueError):
    """A file that cannot be read whole, or no file at all; the message is the reason."""


def file_sha256(path: Path) -> str:
    """Return the SHA-256 (hex) of a file; AudioError if it cannot be opened."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise AudioError(f"it cannot be opened: {error.strerror}") from error


def read_properties(path: Path) -> tuple[int, int]:
    """Return the file's own rate in Hz and its number of channels; AudioError if unreadable."""
    with _open(path) as file:
        return file.samplerate, file.channels


def read_blocks(
    path: Path, rate: int, frames: int = BLOCK_FRAMES, ratio: float = 1.0
) -> Iterator[np.ndarray]:
    """Yield the file as mono float32 blocks (each [any]) at ``rate`` Hz, ``frames`` at a time.

    ``ratio`` shifts the pitch: the file is read as if its own rate were ``ratio`` times as high, so
    it sounds higher and lasts shorter by this factor. AudioError if the file cannot be read whole,
    possibly after some blocks.
    """
    _check_container(path)
    with _open(path) as file:
        if file.samplerate < MIN_RATE:
            raise AudioError(f"its rate is {file.samplerate} Hz, below {MIN_RATE} Hz")
        mono = _read_mono(file, frames)
        source_rate = file.samplerate * ratio
        if source_rate == rate:
            yield from mono
            return
        resampler = soxr.ResampleStream(source_rate, rate, 1, dtype="float32")
        for block in mono:
            yield resampler.resample_chunk(block)
        yield resampler.resample_chunk(np.empty(0, dtype=np.float32), last=True)


def read(path: Path, rate: int) -> np.ndarray:
    """Return the whole file as mono float32 samples [T] at ``rate`` Hz; AudioError as above."""
    return np.concatenate(list(read_blocks(path, rate)))


def _open(path: Path) -> soundfile.SoundFile:
    try:
        return soundfile.SoundFile(os.fsencode(path))
    except (soundfile.SoundFileError, TypeError) as error:
        # TypeError: soundfile takes a file named .raw for samples without a header.
        raise AudioError(f"it cannot be decoded: {_reason(error)}") from error


def _read_mono(file: soundfile.SoundFile, frames: int) -> Iterator[np.ndarray]:
    """Yield the mean of the channels (float32 [up to frames]), checked as it is read."""
    promised, done = file.frames, 0
    if promised == 0:
        raise AudioError("it has no audio (0 frames)")
    while True:
        try:
            block = file.read(frames, dtype="float32", always_2d=True)
        except soundfile.SoundFileError as error:
            raise AudioError(
                f"it cannot be decoded after frame {done} of {promised}: {_reason(error)}"
            ) from error
        if len(block) == 0:
            break
        # The comparison is False for NaN too.
        if not (np.abs(block) <= MAX_AMPLITUDE).all():
            raise AudioError(_describe_invalid(block, done))
        done += len(block)
        yield _mean(block)
    if done < promised:
        raise AudioError(f"it is truncated: {done} of the {promised} frames promised can be read")


def _describe_invalid(block: np.ndarray, done: int) -> str:
    """Describe the invalid frames of a block [frames, channels] that follows ``done`` frames."""
    bad = int(np.count_nonzero(~np.isfinite(block).all(axis=1)))
    if bad:
        return f"{bad} frames after frame {done} are NaN or infinite"
    loud = int(np.count_nonzero((np.abs(block) > MAX_AMPLITUDE).any(axis=1)))
    return f"{loud} frames after frame {done} are over {MAX_AMPLITUDE:,.0f} times full scale"


def _mean(block: np.ndarray) -> np.ndarray:
    """Return the mean over the channels [frames] of a block [frames, channels]."""
    if block.shape[1] == 2:
        # Equal to numpy's mean, which takes longer than decoding over so short an axis.
        return np.asarray((block[:, 0] + block[:, 1]) / 2)
    return np.asarray(block.mean(axis=1))


def _reason(error: Exception) -> str:
    """Return libsndfile's message without the path, which the caller adds."""
    return str(getattr(error, "error_string", error)).rstrip(".")


def _check_container(path: Path) -> None:
    """Raise AudioError if the file differs from what its container states."""
    try:
        with path.open("rb") as file:
            header = file.read(HEADER_BYTES)
            if header.startswith(OGG):
                _check_pages(file)
        stated, actual = _stated_size(header.ljust(HEADER_BYTES, b"\0")), path.stat().st_size
    except OSError as error:
        raise AudioError(f"it cannot be opened: {error.strerror}") from error
    # One byte of leeway: some writers leave out the byte that pads an odd chunk.
    if stated is not None and stated > actual + 1:
        raise AudioError(f"it is truncated: {actual} bytes of the {stated} that its header states")


def _stated_size(header: bytes) -> int | None:
    """Return the bytes of the whole file by its header, or None if it does not state them."""
    kind = header[:4]
    if kind in (b"RIFF", b"RIFX", b"FORM"):
        size, more = _number(header, "<I" if kind == b"RIFF" else ">I", 4), 8
    elif kind == b"RF64" and header[12:16] == b"ds64":
        size, more = _number(header, "<Q", 20), 8
    elif kind == b"riff":
        size, more = _number(header, "<Q", 16), 0
    elif kind in (b".snd", b"dns."):
        order = ">I" if kind == b".snd" else "<I"
        size, more = _number(header, order, 8), _number(header, order, 4)
    else:
        return None
    return None if size in UNKNOWN_SIZES else size + more


def _number(header: bytes, form: str, offset: int) -> int:
    return int(struct.unpack_from(form, header, offset)[0])


def _check_pages(file: BinaryIO) -> None:
    """Raise AudioError for the first damaged page of an Ogg file."""
    offset = 0
    file.seek(offset)
    while header := file.read(PAGE_BYTES):
        lengths = file.read(header[-1]) if len(header) == PAGE_BYTES else b""
        body = file.read(sum(lengths))
        if header[:4] != OGG or len(body) < sum(lengths) or len(lengths) < header[-1]:
            raise AudioError(f"it is damaged: no whole page of Ogg begins at its byte {offset}")
        if _checksum(header, lengths, body) != int.from_bytes(header[CHECKSUM], "little"):
            raise AudioError(
                f"it is damaged: the page of Ogg at its byte {offset} has another checksum"
            )
        offset += PAGE_BYTES + len(lengths) + len(body)


def _checksum(header: bytes, lengths: bytes, body: bytes) -> int:
    """Return the CRC-32 of a page with polynomial 0x04C11DB7, highest bit first, started at 0."""
    page = header[: CHECKSUM.start] + bytes(4) + header[CHECKSUM.stop :] + lengths + body
    reflected = zlib.crc32(page.translate(REVERSED), 2**32 - 1) ^ (2**32 - 1)
    return int(f"{reflected:032b}"[::-1], 2)
