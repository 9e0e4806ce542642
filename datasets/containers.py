"""Check an audio file against the size and the checksums that its container states.

libsndfile reads a cut WAV, AIFF, AU, RF64 or W64 short without an error, and skips damaged pages of
an Ogg file. FLAC has its own checksums, and an MP3 states its number of frames.
"""

import struct
import zlib
from pathlib import Path
from typing import BinaryIO

HEADER_BYTES = 28
"""Bytes at the beginning of a file that state its size."""
# Writers that stream leave sizes at these values, which then mean nothing.
UNKNOWN_SIZES = (0, 2**32 - 1, 2**64 - 1)

OGG = b"OggS"
PAGE_BYTES = 27
"""Bytes of an Ogg page's header, before the lengths of its segments."""
CHECKSUM = slice(22, 26)
REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
"""Each byte with its bits in reverse order: Ogg's checksum is zlib's of such bytes."""


def find_damage(path: Path) -> str | None:
    """Return how a file differs from what its container states, or None; raise OSError."""
    with path.open("rb") as file:
        header = file.read(HEADER_BYTES)
        if header.startswith(OGG):
            return _find_damaged_page(file)
    stated, actual = _stated_size(header.ljust(HEADER_BYTES, b"\0")), path.stat().st_size
    # One byte of leeway: some writers leave out the byte that pads an odd chunk.
    if stated is not None and stated > actual + 1:
        return f"it is truncated: {actual} bytes of the {stated} that its header states"
    return None


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


def _find_damaged_page(file: BinaryIO) -> str | None:
    """Describe the first damaged page of an Ogg file."""
    offset = 0
    file.seek(offset)
    while header := file.read(PAGE_BYTES):
        lengths = file.read(header[-1]) if len(header) == PAGE_BYTES else b""
        body = file.read(sum(lengths))
        if header[:4] != OGG or len(body) < sum(lengths) or len(lengths) < header[-1]:
            return f"it is damaged: no whole page of Ogg begins at its byte {offset}"
        if _checksum(header, lengths, body) != int.from_bytes(header[CHECKSUM], "little"):
            return f"it is damaged: the page of Ogg at its byte {offset} has another checksum"
        offset += PAGE_BYTES + len(lengths) + len(body)
    return None


def _checksum(header: bytes, lengths: bytes, body: bytes) -> int:
    """Return the CRC-32 of a page with polynomial 0x04C11DB7, highest bit first, started at 0."""
    page = header[: CHECKSUM.start] + bytes(4) + header[CHECKSUM.stop :] + lengths + body
    reflected = zlib.crc32(page.translate(REVERSED), 2**32 - 1) ^ (2**32 - 1)
    return int(f"{reflected:032b}"[::-1], 2)
