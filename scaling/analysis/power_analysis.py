"""Power of a comparison of two configurations: the seeds and targets that it needs.

Both are trained with k seeds each and scored on the same targets. Their difference is a contrast of
two means, so its seed variance is ``2 s^2 / k``: s is the standard deviation between seeds. Its
target variance is ``d^2 / n (1 + (m - 1) r)``: d is the standard deviation of a target's paired
difference, and the n targets come in recordings of m, with correlation r (design effect of Kish
1965, Survey Sampling, section 5.4). The two-sided t-test has the degrees of freedom of
Satterthwaite (1946, Biometrics Bulletin 2, 110-114), and the power of the noncentral t
distribution.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, inf, sqrt
from statistics import median
from typing import Self

import numpy as np
from scipy import stats

from scaling.analysis.series import seed_noise
from scaling.config.load import ConfigError
from scaling.fitting.slope import contrast_variances
from scaling.runs.record import RunRecord

LEVEL = 0.05
POWER = 0.8
MAX_SEEDS = 10
MAX_TARGETS = 10**9
NEARLY_NORMAL = 1e4  # degrees of freedom from which scipy's noncentral t fails: t counts as normal


@dataclass(frozen=True)
class Noise:
    """Noise of a difference between two configurations, in nats per sample.

    ``seeds`` is the standard deviation of a run's loss between seeds, estimated with ``freedom``
    degrees of freedom. ``targets`` is that of the paired difference of one target, and
    ``correlation`` that of the differences of two targets of a recording.
    """

    seeds: float
    targets: float
    correlation: float = 0.0
    freedom: float = inf

    @classmethod
    def of(
        cls, records: Sequence[RunRecord], seeds: float | None = None, targets: float | None = None
    ) -> tuple[Self, int]:
        """Return the noise of a study's runs, and the number of targets per cluster.

        The target noise is that of the difference between the contexts of a run, whose errors are
        clustered in the records. ConfigError if the records lack a noise that is not given.
        """
        spread: tuple[float, float] | None = (seeds, inf) if seeds is not None else None
        spread = spread or seed_noise(records)
        errors = [
            (other.excess_standard_error * sqrt(run.validation.targets), run)
            for run in records
            for other in run.validation.by_context
            if other.excess_standard_error
        ]
        problems = []
        if spread is None:
            problems.append(
                "no configuration has runs with two seeds, so the scatter between seeds is "
                "unknown: add --seed-noise NATS"
            )
        if not errors and targets is None:
            problems.append(
                "no run was scored at several contexts, so the noise of targets is unknown: add "
                "--target-noise NATS"
            )
        if spread is None or problems:
            raise ConfigError(problems)
        if targets is not None:
            return cls(spread[0], targets, 0.0, spread[1]), 1
        size = median(run.validation.targets / run.validation.clusters for _, run in errors)
        noise = cls(spread[0], median(error for error, _ in errors), 0.0, spread[1])
        return noise, max(1, round(size))


@dataclass(frozen=True)
class RequiredRuns:
    """Recordings and targets that ``seeds`` runs of each configuration need; None if none suffice.

    ``detectable`` is the least difference, in nats, that they detect with a billion targets.
    """

    seeds: int
    recordings: int | None
    targets: int | None
    detectable: float


def power_of(
    difference: float, noise: Noise, seeds: int, recordings: int, per_recording: float
) -> float:
    """Return the probability that a difference (nats) is significant at the 5 % level."""
    contrast = np.array([[noise.seeds], [-noise.seeds]])
    of_seeds = float(contrast_variances(contrast, np.array([seeds, seeds])).sum())
    design_effect = 1 + (per_recording - 1) * noise.correlation
    of_targets = noise.targets**2 * design_effect / (recordings * per_recording)
    variance = of_seeds + of_targets
    if variance == 0:
        return 1.0
    parts = ((of_seeds, noise.freedom + 2 * (seeds - 1)), (of_targets, recordings - 1))
    rest = sum(part**2 / freedom for part, freedom in parts if freedom and part)
    freedom = variance**2 / rest if rest else inf
    shift = difference / sqrt(variance)
    if freedom > NEARLY_NORMAL:
        critical = float(stats.norm.ppf(1 - LEVEL / 2))
        return float(stats.norm.sf(critical - shift) + stats.norm.cdf(-critical - shift))
    critical = float(stats.t.ppf(1 - LEVEL / 2, freedom))
    upper, lower = stats.nct.sf(critical, freedom, shift), stats.nct.cdf(-critical, freedom, shift)
    return float(upper + lower)


def required_runs(
    difference: float, noise: Noise, *, recordings: int | None = None, per_recording: int = 1
) -> list[RequiredRuns]:
    """Return what 1 to 10 seeds need to detect a difference (nats) with the power 0.8.

    Either ``recordings`` get more targets each, or more recordings of ``per_recording`` are added.
    """
    return [
        _required(difference, noise, seeds, recordings, per_recording)
        for seeds in range(1, MAX_SEEDS + 1)
    ]


def _required(
    difference: float, noise: Noise, seeds: int, recordings: int | None, per_recording: int
) -> RequiredRuns:
    def shape(targets: int) -> tuple[int, float]:
        if recordings is not None:
            return recordings, max(1.0, targets / recordings)
        return max(2, ceil(targets / per_recording)), per_recording

    def power(targets: int, size: float = difference) -> float:
        return power_of(size, noise, seeds, *shape(targets))

    detectable = _least(lambda size: power(MAX_TARGETS, size) >= POWER)
    if power(MAX_TARGETS) < POWER:
        return RequiredRuns(seeds, None, None, detectable)
    targets = bisect_left(range(MAX_TARGETS), POWER, lo=1, key=power)
    groups, each = shape(targets)
    return RequiredRuns(seeds, groups, ceil(groups * each), detectable)


def _least(enough: Callable[[float], bool]) -> float:
    """Return the least size that is enough, by bisection."""
    low, high = 0.0, 1e-6
    while not enough(high):
        low, high = high, 2 * high
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return (low + high) / 2
