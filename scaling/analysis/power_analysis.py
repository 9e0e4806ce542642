"""Power analysis: the seeds and targets that are needed to distinguish two contexts.

Two configurations are trained with k seeds each and scored on the same targets. The variance of
their difference is ``2 s^2 / k`` from the seeds plus ``d^2 / n (1 + (m - 1) r)`` from the targets.
Here s is the standard deviation between seeds, d that of a target's paired difference. Targets come
in recordings of m, whose differences correlate by r (design effect: Kish 1965, Survey Sampling,
section 5.4). The test is a two-sided t-test with the degrees of freedom of Satterthwaite (1946,
Biometrics Bulletin 2, 110-114); its power follows from the noncentral t distribution.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, inf, sqrt
from statistics import median
from typing import Self

from scipy import stats

from scaling.analysis.series import seed_noise
from scaling.config.load import ConfigError
from scaling.runs.record import RunRecord

LEVEL = 0.05
POWER = 0.8
MOST_SEEDS = 10
MOST_TARGETS = 10**9
NEARLY_NORMAL = 1e4
"""Degrees of freedom beyond which t counts as normal: scipy's noncentral t gives NaN there."""


@dataclass(frozen=True)
class Noise:
    """Noise of the difference between two configurations, in nats a sample.

    ``seeds`` is the standard deviation of a run's loss between seeds, estimated with ``freedom``
    degrees of freedom. ``targets`` is that of one target's paired difference, ``correlation`` that
    between two targets of a recording.
    """

    seeds: float
    targets: float
    correlation: float = 0.0
    freedom: float = inf

    @classmethod
    def of(
        cls,
        records: Sequence[RunRecord],
        seeds: float | None = None,
        targets: float | None = None,
    ) -> tuple[Self, int]:
        """Return the noise of a study's runs, and its targets a cluster.

        The noise of the targets is that between two contexts of one run on the same targets; the
        records already account for clusters. ``seeds`` and ``targets`` (nats) replace estimates.
        Raises ConfigError if the records have no estimate and none is given.
        """
        spread: tuple[float, float] | None = seed_noise(records)
        if seeds is not None:
            spread = (seeds, inf)
        errors = [
            (other.excess_standard_error * sqrt(run.validation.targets), run)
            for run in records
            for other in run.validation.by_context
            if other.excess_standard_error
        ]
        problems = []
        if spread is None:
            problems.append(
                "no configuration was run with two seeds, so the noise between seeds is unknown: "
                "add --seed-noise NATS"
            )
        if not errors and targets is None:
            problems.append(
                "no run was scored at several contexts, so the noise of a target's difference is "
                "unknown: add --target-noise NATS"
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
    """Recordings and targets that ``seeds`` runs of each configuration need.

    Both are None if no number of targets is enough. ``detectable`` is the least difference (nats)
    that these seeds detect with unlimited targets.
    """

    seeds: int
    recordings: int | None
    targets: int | None
    detectable: float


def power_of(
    difference: float, noise: Noise, seeds: int, recordings: int, per_recording: float
) -> float:
    """Return the chance to detect a difference (nats) at the 5 % level, two-sided."""
    of_seeds, of_targets = _variances(noise, seeds, recordings, per_recording)
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
    found = stats.nct.sf(critical, freedom, shift) + stats.nct.cdf(-critical, freedom, shift)
    return float(found)


def required_runs(
    difference: float,
    noise: Noise,
    *,
    recordings: int | None = None,
    per_recording: int = 1,
) -> list[RequiredRuns]:
    """Return the targets that 1 to 10 seeds need to detect a difference (nats) with power 0.8.

    If ``recordings`` is given, their number is fixed and each gives more targets. Otherwise each
    recording gives ``per_recording`` targets and their number grows.
    """
    return [
        _required_targets(difference, noise, seeds, recordings, per_recording)
        for seeds in range(1, MOST_SEEDS + 1)
    ]


def _required_targets(
    difference: float, noise: Noise, seeds: int, recordings: int | None, per_recording: int
) -> RequiredRuns:
    def shape(targets: int) -> tuple[int, float]:
        if recordings is not None:
            return recordings, max(1.0, targets / recordings)
        return max(2, ceil(targets / per_recording)), per_recording

    def power(targets: int, size: float = difference) -> float:
        return power_of(size, noise, seeds, *shape(targets))

    detectable = _least(lambda size: power(MOST_TARGETS, size) >= POWER)
    if power(MOST_TARGETS) < POWER:
        return RequiredRuns(seeds, None, None, detectable)
    targets = 1 + bisect_left(range(1, MOST_TARGETS), POWER, key=power)
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


def _variances(
    noise: Noise, seeds: int, recordings: int, per_recording: float
) -> tuple[float, float]:
    """Return the variances of the difference from the seeds and from the targets."""
    effect = 1 + (per_recording - 1) * noise.correlation
    return (
        2 * noise.seeds**2 / seeds,
        noise.targets**2 * effect / (recordings * per_recording),
    )
