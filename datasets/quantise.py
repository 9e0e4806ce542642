"""Quantise amplitudes to 8- or 16-bit codes and back: mu-law and linear, pure functions.

Both codecs map [-1, 1] onto ``levels`` bins of equal width, mu-law after companding
``sign(x) ln(1 + mu |x|) / ln(1 + mu)`` with ``mu = levels - 1`` (ITU-T G.711; van den Oord et al.
2016, "WaveNet", section 2.2). A code is the bin's number and decodes to the bin's middle, so the
error of a round trip is at most half a bin. Silence is code ``levels / 2``. ``encode_min_max`` is
the rule of the published baselines instead; ``decode`` does not invert it.
"""

from typing import Literal, get_args

import numpy as np

Codec = Literal["mulaw", "linear"]
CODECS: tuple[str, ...] = get_args(Codec)
LEVELS = 256
FINE_LEVELS = 65_536


def code_dtype(levels: int) -> np.dtype:
    """Return the type of codes: uint8 for 256 levels, uint16 for 65,536; ValueError otherwise."""
    if levels == LEVELS:
        return np.dtype(np.uint8)
    if levels == FINE_LEVELS:
        return np.dtype(np.uint16)
    raise ValueError(f"{levels} levels are not known: write {LEVELS} or {FINE_LEVELS}.")


def encode(samples: np.ndarray, codec: str, levels: int = LEVELS) -> np.ndarray:
    """Return the codes [T] in [0, levels) of float samples [T] in [-1, 1].

    Amplitudes beyond [-1, 1] get the outermost code. ValueError for an unknown codec or number of
    levels, and for mu-law with 65,536 levels.
    """
    _check(codec, levels)
    companded = np.clip(samples.astype(np.float64), -1.0, 1.0)
    if codec == "mulaw":
        companded = np.sign(companded) * _compressed(np.abs(companded), levels)
    bins = np.floor((companded + 1.0) * (levels / 2))
    return np.minimum(bins, levels - 1).astype(code_dtype(levels))


def decode(codes: np.ndarray, codec: str, levels: int = LEVELS) -> np.ndarray:
    """Return the middles [T] (float32) of the bins of codes [T]; ValueError as :func:`encode`."""
    _check(codec, levels)
    companded = (codes.astype(np.float64) + 0.5) * (2 / levels) - 1.0
    if codec == "mulaw":
        mu = levels - 1
        companded = np.sign(companded) * np.expm1(np.abs(companded) * np.log1p(mu)) / mu
    return companded.astype(np.float32)


def encode_min_max(samples: np.ndarray, codec: str) -> np.ndarray:
    """Return the uint8 codes [T] of one chunk [T] by the published baselines' min-max rule.

    The chunk's own minimum and maximum become the ends of the scale (state-spaces S4,
    ``src/dataloaders/audio.py``; Goel et al. 2022, "It's Raw! Audio Generation with State-Space
    Models"). One call is one chunk; theirs have up to 131,072 samples.

    The code of silence depends on the chunk. The middle of the scale is code 128. If minimum and
    maximum mirror each other, silence is 127 (their 1e-6 tilts the scale), and lower in very quiet
    chunks. In a chunk of a single value it is 0. With mu-law, 0.05 of the peak off the middle is
    already code 188 or 67.

    The computation is in float64. The original computes in float32 and may differ by one code if a
    value falls on the edge of a bin within float32's rounding: in 1 or 2 of 100,000 samples of
    random chunks, measured against a float32 copy.

    Raises:
        ValueError: The codec is unknown or the chunk is empty.
    """
    _check(codec, LEVELS)
    if samples.size == 0:
        raise ValueError("A chunk of 0 samples has no minimum and maximum: write 1 sample or more.")
    chunk = samples.astype(np.float64)
    lowest, highest = chunk.min(), chunk.max()
    scaled: np.ndarray = (chunk - lowest) / (highest - lowest + 1e-6)
    if codec == "mulaw":
        signed = 2 * scaled - 1
        # The sign is taken without the 1e-8, as in the original: 0 stays 0.
        companded = np.sign(signed) * _compressed(np.abs(signed + 1e-8), LEVELS)
        scaled = (companded + 1) / 2
    return np.floor(scaled * (LEVELS - 0.01) + 0.005).astype(np.uint8)


def _compressed(magnitudes: np.ndarray, levels: int) -> np.ndarray:
    """Return ln(1 + mu m) / ln(1 + mu) of magnitudes m [T] (float64)."""
    mu = levels - 1
    return np.asarray(np.log1p(mu * magnitudes) / np.log1p(mu))


def _check(codec: str, levels: int) -> None:
    if codec not in CODECS:
        raise ValueError(f"Codec {codec!r} is unknown: write one of {', '.join(CODECS)}.")
    if code_dtype(levels) != np.uint8 and codec == "mulaw":
        raise ValueError(
            f"Codec 'mulaw' with {levels} levels is not known: "
            f"write {LEVELS} levels, or the codec 'linear'."
        )
