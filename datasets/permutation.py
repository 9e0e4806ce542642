"""Keyed pseudo-random permutation of ``range(count)`` that needs no table.

A balanced Feistel network (Luby and Rackoff 1988, "How to construct pseudorandom permutations from
pseudorandom functions") permutes the next power of four. An image outside ``range(count)`` is
permuted again until it lands inside (cycle walking: Black and Rogaway 2002, "Ciphers with arbitrary
finite domains"), in fewer than four passes on average for any ``count``. The round function is the
finaliser of SplitMix64 (Steele, Lea and Flood 2014). It is good for shuffling, not for secrets.
"""

import hashlib
import json

import numpy as np

ROUNDS = 8
MAX_COUNT = 2**62


def derive_key(*parts: int | str) -> bytes:
    """Return a 16-byte key; parts that differ in value, type or grouping give different keys."""
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=16).digest()


def permute(indexes: np.ndarray, count: int, key: bytes) -> np.ndarray:
    """Return the images [n] (int64) of indexes [n] under the permutation that ``key`` selects.

    A pure function: the same index, count and key give the same image everywhere. ValueError if an
    index is outside ``range(count)``.
    """
    if not 1 <= count <= MAX_COUNT:
        raise ValueError(f"A permutation of {count} indexes is not possible: use 1 to 2**62.")
    images = np.asarray(indexes, dtype=np.int64)
    if images.size and (images.min() < 0 or images.max() >= count):
        raise ValueError(
            f"Indexes from {images.min()} to {images.max()} are not all in 0..{count - 1}."
        )
    half_bits = max(1, -(-(count - 1).bit_length() // 2))
    digest = hashlib.blake2b(key, digest_size=8 * ROUNDS).digest()
    round_keys = np.frombuffer(digest, dtype="<u8").astype(np.uint64)
    walking = _feistel(images.astype(np.uint64), half_bits, round_keys)
    outside = np.flatnonzero(walking >= count)
    while outside.size:
        walking[outside] = _feistel(walking[outside], half_bits, round_keys)
        outside = outside[walking[outside] >= count]
    return walking.astype(np.int64)


def _feistel(values: np.ndarray, half_bits: int, round_keys: np.ndarray) -> np.ndarray:
    """Apply a bijection of [0, 4**half_bits) to uint64 values [n]."""
    shift = np.uint64(half_bits)
    mask = np.uint64(2**half_bits - 1)
    left, right = values >> shift, values & mask
    for round_key in round_keys:
        left, right = right, left ^ (_mix(right ^ round_key) & mask)
    return np.asarray((left << shift) | right)


def _mix(values: np.ndarray) -> np.ndarray:
    """Apply the finaliser of SplitMix64 to uint64 values [n]; products wrap at 2**64 by intent."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(values ^ (values >> np.uint64(31)))
