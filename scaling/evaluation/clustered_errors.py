"""Standard errors of mean losses over correlated targets, by clusters of targets.

Targets of one recording resemble each other. With 20 or more recordings, each is a cluster.
With fewer, the clusters are blocks of time, as long as possible with 20 blocks left.
"""

from collections.abc import Sequence

import numpy as np
import scipy

FEWEST = 20
"""Fewest clusters for longer blocks: an error from fewer clusters is itself uncertain."""


def assign_clusters(recording: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, str]:
    """Return the cluster (n,) of each value, and the kind of the clusters in words.

    ``recording`` and ``second`` are (n,). Blocks have 1, 2, 4, ... seconds, at least one.
    """
    if len(np.unique(recording)) >= FEWEST:
        return recording, "recordings"
    _, number = np.unique(recording, return_inverse=True)
    length = 1
    while len(np.unique(_blocks(number, second, 2 * length))) >= FEWEST:
        length *= 2
    return _blocks(number, second, length), f"blocks of {length} s" if length > 1 else "seconds"


def _blocks(number: np.ndarray, second: np.ndarray, length: int) -> np.ndarray:
    """Return the block (n,) of each value, ``length`` seconds long."""
    return np.asarray(number * (int(second.max()) + 1) + second // length)


def mean_and_error(values: np.ndarray, cluster: np.ndarray) -> tuple[float, float]:
    """Return the mean of ``values`` (n,) and its standard error, robust to ``cluster`` (n,)."""
    _, counts = np.unique(cluster, return_counts=True)
    return clustered_mean(cluster_sums(values, cluster), counts)


def cluster_sums(values: Sequence[float] | np.ndarray, cluster: np.ndarray) -> np.ndarray:
    """Sum the values (n,) of each cluster: (G,), in the order of the sorted clusters."""
    _, member = np.unique(cluster, return_inverse=True)
    return np.bincount(member, weights=values)


def clustered_mean(sums: np.ndarray, counts: np.ndarray) -> tuple[float, float]:
    """Return the mean and its standard error, from each cluster's sum (G,) and count (G,).

    The error is cluster-robust. With G clusters and e their summed deviations from the mean:
    ``sqrt(G / (G - 1) * sum(e^2)) / targets`` (Liang and Zeger 1986, Biometrika 73, 13-22).
    """
    targets, groups = counts.sum(), len(counts)
    mean = sums.sum() / targets
    deviations = sums - mean * counts
    error = np.sqrt(groups / max(groups - 1, 1) * (deviations**2).sum()) / targets
    return float(mean), float(error)


def half_interval(error: float, clusters: int) -> float:
    """Return half of the 95 % interval of a mean by Student's t with ``clusters - 1`` degrees."""
    return float(scipy.special.stdtrit(max(clusters - 1, 1), 0.975) * error)
