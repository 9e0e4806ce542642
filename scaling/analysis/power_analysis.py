"""How many seeds and targets tell two contexts apart: the power of the comparison, on paper.

Two configurations are trained with k seeds each and scored on the same targets. Their difference
has the variance ``2 s^2 / k`` of the seeds and ``d^2 / n (1 + (m - 1) r)`` of the targets: s is the
standard deviation between seeds, d that of a target's paired difference, and targets come in
recordings of m whose differences correlate by r (the design effect of Kish 1965, Survey Sampling,
section 5.4). The test is a two-sided t-test whose degrees of freedom are those of Satterthwaite
(1946, Biometrics Bulletin 2, 110-114); its power is that of the noncentral t distribution.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, inf, sqrt
from statistics import median
from typing import Self

from scipy import stats

from scaling.analysis.series import configuration, varied
from scaling.config.load import ConfigError
from scaling.fitting.slope import replicate_noise
from scaling.runs.record import RunRecord

LEVEL = 0.05
POWER = 0.8
MOST_SEEDS = 10
MOST_TARGETS = 10**9
NEARLY_NORMAL = 1e4
"""Degrees of freedom beyond which t is taken for normal: the noncentral t has no numbers there."""


@dataclass(frozen=True)
class Noise:
    """What keeps two configurations apart or not, in nats a sample.

    ``seeds`` is the standard deviation of a run's loss between seeds, known from so many degrees of
    ``freedom``; ``targets`` that of the difference that one target makes between the two, and
    ``correlation`` that of two targets of a recording.
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
        """The noise of a study's runs, and targets a cluster; ConfigError where it has none.

        The targets' is that of the difference between a run's contexts on the same targets, which
        is clustered in the records already: so much is the same for every further cluster. What is
        given need not be in the records.
        """
        keys = varied(records)
        losses = [run.validation.nats for run in records]
        spread: tuple[float, float] | None = replicate_noise(
            losses, [configuration(run, keys) for run in records]
        )
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
                "no configuration was run with two seeds, so nothing tells the noise between "
                "them: add --seed-noise NATS"
            )
        if not errors and targets is None:
            problems.append(
                "no run was scored at several contexts, so nothing tells how targets differ "
                "between them: add --target-noise NATS"
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
    """What so many ``seeds`` of each configuration need: None where no number of targets is enough.

    ``detectable`` is the least difference (nats) that they would tell with all targets there are.
    """

    seeds: int
    recordings: int | None
    targets: int | None
    detectable: float


def power_of(
    difference: float, noise: Noise, seeds: int, recordings: int, per_recording: float
) -> float:
    """The chance that a difference (nats) is found at the 5 % level, two-sided."""
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
    """What 1 to 10 seeds need to find a difference with the power 0.8.

    With ``recordings`` there are so many, from which more targets are taken; else there are
    ``per_recording`` targets in each of as many recordings as it takes.
    """
    return [_need(difference, noise, seeds, recordings, per_recording) for seeds in _seeds()]


def _seeds() -> range:
    return range(1, MOST_SEEDS + 1)


def _need(
    difference: float, noise: Noise, seeds: int, recordings: int | None, per_recording: int
) -> RequiredRuns:
    def shape(targets: int) -> tuple[int, float]:
        if recordings is not None:
            return recordings, max(1.0, targets / recordings)
        return max(2, ceil(targets / per_recording)), per_recording

    def power(targets: int, size: float = difference) -> float:
        return power_of(size, noise, seeds, *shape(targets))

    least, most = _between(lambda size: power(MOST_TARGETS, size) >= POWER)
    detectable = (least + most) / 2
    if power(MOST_TARGETS) < POWER:
        return RequiredRuns(seeds, None, None, detectable)
    low, high = 0, MOST_TARGETS
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power(middle) >= POWER else (middle, high)
    groups, each = shape(high)
    return RequiredRuns(seeds, groups, ceil(groups * each), detectable)


def _between(enough: Callable[[float], bool]) -> tuple[float, float]:
    """Neighbouring sizes of which the upper one is enough."""
    low, high = 0.0, 1e-6
    while not enough(high):
        low, high = high, 2 * high
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return low, high


def _variances(
    noise: Noise, seeds: int, recordings: int, per_recording: float
) -> tuple[float, float]:
    """Variances of the difference by the seeds and by the targets."""
    effect = 1 + (per_recording - 1) * noise.correlation
    return (
        2 * noise.seeds**2 / seeds,
        noise.targets**2 * effect / (recordings * per_recording),
    )
