"""Amplitudes to 8- or 16-bit codes and back: mu-law and linear, pure functions.

Both codecs map [-1, 1] onto ``levels`` bins of equal width, mu-law after companding
``sign(x) ln(1 + mu |x|) / ln(1 + mu)`` with ``mu = levels - 1`` (ITU-T G.711; van den Oord et al.
2016, "WaveNet", section 2.2). A code is the bin's number and decodes to the bin's middle, so a
round trip errs by half a bin at most. Silence is code ``levels / 2``. ``encode_min_max`` is another
rule: that of the published baselines, which ``decode`` does not undo.
"""

from typing import Literal, get_args

import numpy as np

Codec = Literal["mulaw", "linear"]
CODECS: tuple[str, ...] = get_args(Codec)
LEVELS = 256
FINE_LEVELS = 65_536


def code_dtype(levels: int) -> np.dtype:
    """The type of codes in [0, levels): uint8 for 256, uint16 for 65,536; ValueError otherwise."""
    if levels == LEVELS:
        return np.dtype(np.uint8)
    if levels == FINE_LEVELS:
        return np.dtype(np.uint16)
    raise ValueError(f"{levels} levels are not known: write {LEVELS} or {FINE_LEVELS}.")


def encode(samples: np.ndarray, codec: str, levels: int = LEVELS) -> np.ndarray:
    """Float samples [T] in [-1, 1] to codes [T] in [0, levels), of ``dtype(levels)``.

    Amplitudes beyond [-1, 1] take the outermost code. ValueError where the codec or the number of
    levels is unknown, and for mu-law with 65,536 levels.
    """
    _check(codec, levels)
    companded = np.clip(samples.astype(np.float64), -1.0, 1.0)
    if codec == "mulaw":
        companded = np.sign(companded) * _compressed(np.abs(companded), levels)
    bins = np.floor((companded + 1.0) * (levels / 2))
    return np.minimum(bins, levels - 1).astype(code_dtype(levels))


def decode(codes: np.ndarray, codec: str, levels: int = LEVELS) -> np.ndarray:
    """Codes [T] in [0, levels) to the float32 amplitudes [T] of the middles of their bins.

    ValueError where the codec or the number of levels is unknown, and for mu-law with 65,536
    levels.
    """
    _check(codec, levels)
    companded = (codes.astype(np.float64) + 0.5) * (2 / levels) - 1.0
    if codec == "mulaw":
        mu = levels - 1
        companded = np.sign(companded) * np.expm1(np.abs(companded) * np.log1p(mu)) / mu
    return companded.astype(np.float32)


def encode_min_max(samples: np.ndarray, codec: str) -> np.ndarray:
    """One chunk of float samples [T] to uint8 codes [T] by the published baselines' min-max rule.

    The chunk's own minimum and maximum become the ends of the scale (state-spaces S4,
    ``src/dataloaders/audio.py``; Goel et al. 2022, "It's Raw! Audio Generation with State-Space
    Models"). One call is one chunk; theirs hold up to 131,072 samples. Where silence lies depends
    on the chunk. The middle of the scale is code 128; between a minimum and a maximum that mirror
    each other silence is 127 (their 1e-6 tilts the scale) and lower in very quiet chunks; in one of
    a single value it is 0. With mu-law 0.05 of the peak off the middle is already code 188 or 67.

    float64 throughout. The reference computes in float32 and may differ by one code where a value
    falls on the edge of a bin within float32's rounding: 1 or 2 samples in 100,000 of random chunks
    against a float32 twin. ValueError where the codec is unknown or the chunk empty.
    """
    _check(codec, LEVELS)
    if samples.size == 0:
        raise ValueError("A chunk of 0 samples has no minimum and maximum: write 1 sample or more.")
    chunk = samples.astype(np.float64)
    lowest, highest = chunk.min(), chunk.max()
    places: np.ndarray = (chunk - lowest) / (highest - lowest + 1e-6)
    if codec == "mulaw":
        scaled = 2 * places - 1
        # The sign is that of the value without the 1e-8, as in the reference: 0 stays 0.
        companded = np.sign(scaled) * _compressed(np.abs(scaled + 1e-8), LEVELS)
        places = (companded + 1) / 2
    return np.floor(places * (LEVELS - 0.01) + 0.005).astype(np.uint8)


def _compressed(magnitudes: np.ndarray, levels: int) -> np.ndarray:
    """ln(1 + mu m) / ln(1 + mu) of magnitudes m [T] (float64)."""
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
