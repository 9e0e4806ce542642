"""A keyed pseudo-random permutation of ``range(count)`` that needs no table.

A balanced Feistel network (Luby and Rackoff 1988, "How to construct pseudorandom permutations from
pseudorandom functions") permutes the next power of four; an index that lands outside ``count`` is
permuted again until it lands inside (cycle walking: Black and Rogaway 2002, "Ciphers with arbitrary
finite domains"). Fewer than four passes are expected for an index, whatever ``count`` is. The round
function is the finaliser of SplitMix64 (Steele, Lea and Flood 2014). Good for shuffling, not for
secrets.
"""

import hashlib
import json

import numpy as np

ROUNDS = 8
MAX_COUNT = 2**62


def derive_key(*parts: int | str) -> bytes:
    """A 16-byte key from its parts; parts that differ in value, type or grouping differ in key."""
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=16).digest()


def permute(indexes: np.ndarray, count: int, key: bytes) -> np.ndarray:
    """Images [n] (int64) of the indexes [n] under the permutation of ``range(count)`` by ``key``.

    A pure function: the same index, count and key give the same image everywhere. ValueError where
    an index is outside ``range(count)``.
    """
    if not 1 <= count <= MAX_COUNT:
        raise ValueError(f"A permutation of {count} indexes is not possible: 1 to 2**62 are.")
    images = np.asarray(indexes, dtype=np.int64)
    if images.size and (images.min() < 0 or images.max() >= count):
        raise ValueError(
            f"Indexes from {images.min()} to {images.max()} are not all in 0..{count - 1}."
        )
    half_bits = max(1, -(-(count - 1).bit_length() // 2))
    round_keys = np.frombuffer(
        hashlib.blake2b(key, digest_size=8 * ROUNDS).digest(), dtype="<u8"
    ).astype(np.uint64)
    walking = _feistel(images.astype(np.uint64), half_bits, round_keys)
    outside = np.flatnonzero(walking >= count)
    while outside.size:
        walking[outside] = _feistel(walking[outside], half_bits, round_keys)
        outside = outside[walking[outside] >= count]
    return walking.astype(np.int64)


def _feistel(values: np.ndarray, half_bits: int, round_keys: np.ndarray) -> np.ndarray:
    """One bijection of [0, 4**half_bits) on uint64 values [n]."""
    shift = np.uint64(half_bits)
    mask = np.uint64(2**half_bits - 1)
    left, right = values >> shift, values & mask
    for round_key in round_keys:
        left, right = right, left ^ (_mix(right ^ round_key) & mask)
    return np.asarray((left << shift) | right)


def _mix(values: np.ndarray) -> np.ndarray:
    """The finaliser of SplitMix64 on uint64 values [n]; products wrap at 2**64 by intent."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(values ^ (values >> np.uint64(31)))
