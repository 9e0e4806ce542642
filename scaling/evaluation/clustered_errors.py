"""Standard errors of losses whose neighbours are alike: targets are grouped, groups are counted.

Targets of one recording resemble each other, so where there are many recordings each is a cluster.
Where there are few, the clusters are blocks of time, as long as leaves enough of them.
"""

from collections.abc import Sequence

import numpy as np
import scipy

FEWEST = 20
"""Clusters below which blocks are not made longer: an error from fewer is itself uncertain."""


def assign_clusters(recording: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, str]:
    """The cluster (n,) of values by recording (n,) and second in it (n,), and what clusters are.

    They are recordings where there are 20 or more, else blocks of 1, 2, 4, ... seconds, the longest
    of which there are 20 or more, or of one second.
    """
    if len(np.unique(recording)) >= FEWEST:
        return recording, "recordings"
    _, number = np.unique(recording, return_inverse=True)
    length = 1
    while len(_blocks(number, second, 2 * length)[1]) >= FEWEST:
        length *= 2
    member, _ = _blocks(number, second, length)
    return member, f"blocks of {length} s" if length > 1 else "seconds"


def _blocks(number: np.ndarray, second: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    """The block (n,) of values, and the blocks that there are."""
    member = number * (int(second.max()) + 1) + second // length
    return member, np.unique(member)


def mean_and_error(values: np.ndarray, cluster: np.ndarray) -> tuple[float, float]:
    """Mean of ``values`` (targets,) and its standard error with correlation within clusters."""
    _, member = np.unique(cluster, return_inverse=True)
    return clustered_mean(np.bincount(member, weights=values), np.bincount(member))


def cluster_sums(values: Sequence[float], member: np.ndarray) -> np.ndarray:
    """The sums (G,) of values (n,) in each cluster."""
    _, number = np.unique(member, return_inverse=True)
    return np.bincount(number, weights=values)


def clustered_mean(sums: np.ndarray, counts: np.ndarray) -> tuple[float, float]:
    """The mean and its standard error, from each cluster's sum (G,) and number of values (G,).

    The cluster-robust error of a mean: with G clusters and e their sums of deviations,
    ``sqrt(G / (G - 1) * sum(e^2)) / targets`` (Liang and Zeger 1986, Biometrika 73, 13-22).
    """
    targets, groups = counts.sum(), len(counts)
    mean = sums.sum() / targets
    deviations = sums - mean * counts
    error = np.sqrt(groups / max(groups - 1, 1) * (deviations**2).sum()) / targets
    return float(mean), float(error)


def half_interval(error: float, clusters: int) -> float:
    """Half of the 95 % interval around a mean with this standard error, by Student's t."""
    return float(scipy.special.stdtrit(max(clusters - 1, 1), 0.975) * error)
