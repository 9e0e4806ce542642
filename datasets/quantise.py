"""Amplitudes to 8-bit codes and back: mu-law and linear, pure functions.

Both codecs map [-1, 1] onto ``levels`` bins of equal width, mu-law after companding
``sign(x) ln(1 + mu |x|) / ln(1 + mu)`` with ``mu = levels - 1`` (ITU-T G.711; van den Oord et al.
2016, "WaveNet", section 2.2). A code is the bin's number and decodes to the bin's middle, so a
round trip errs by half a bin at most. Silence is code ``levels / 2``.
"""

from typing import Literal, get_args

import numpy as np

Codec = Literal["mulaw", "linear"]
CODECS: tuple[str, ...] = get_args(Codec)
LEVELS = 256


def encode(samples: np.ndarray, codec: str, levels: int = LEVELS) -> np.ndarray:
    """Float samples [T] in [-1, 1] to codes [T], uint8 in [0, levels).

    Amplitudes beyond [-1, 1] take the outermost code. ValueError where the codec or the number of
    levels is unknown.
    """
    _check(codec, levels)
    companded = np.clip(samples.astype(np.float64), -1.0, 1.0)
    if codec == "mulaw":
        mu = levels - 1
        companded = np.sign(companded) * np.log1p(mu * np.abs(companded)) / np.log1p(mu)
    bins = np.floor((companded + 1.0) * (levels / 2))
    return np.minimum(bins, levels - 1).astype(np.uint8)


def decode(codes: np.ndarray, codec: str, levels: int = LEVELS) -> np.ndarray:
    """Codes [T] in [0, levels) to the float32 amplitudes [T] of the middles of their bins.

    ValueError where the codec or the number of levels is unknown.
    """
    _check(codec, levels)
    companded = (codes.astype(np.float64) + 0.5) * (2 / levels) - 1.0
    if codec == "mulaw":
        mu = levels - 1
        companded = np.sign(companded) * np.expm1(np.abs(companded) * np.log1p(mu)) / mu
    return companded.astype(np.float32)


def _check(codec: str, levels: int) -> None:
    if codec not in CODECS:
        raise ValueError(f"Codec {codec!r} is unknown: write one of {', '.join(CODECS)}.")
    if not 2 <= levels <= LEVELS:
        raise ValueError(f"{levels} levels do not fit 8-bit codes: write 2 to {LEVELS}.")
