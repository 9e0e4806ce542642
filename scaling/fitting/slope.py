"""Slope of a loss along a swept axis, and the noise between runs of one configuration.

A slope per doubling needs far fewer runs than a power law. Losses are in nats per sample.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit

Floats = NDArray[np.float64]
Numbers = NDArray[np.intp]  # of rows, groups or configurations
Interval = tuple[float, float]


class FitError(ValueError):
    """Points that cannot determine a fit, with the reason."""


@dataclass(frozen=True)
class Slope:
    """Change of the loss per doubling of x, in nats per sample, with its 95% interval.

    ``level`` is the mean loss at ``centre``, so that the line of one group can be drawn.
    ``quantile`` is the Student-t half-width of a 95% interval, in standard errors.
    """

    per_doubling: float
    standard_error: float
    quantile: float
    num_configurations: int
    num_groups: int
    centre: float
    level: float
    level_standard_error: float

    @property
    def interval(self) -> Interval:
        """95% interval of ``per_doubling``."""
        half = self.quantile * self.standard_error
        return self.per_doubling - half, self.per_doubling + half

    def at(self, x: ArrayLike) -> Floats:
        """Return the line at x, in nats."""
        return self.level + self.per_doubling * np.log2(np.asarray(x, float) / self.centre)

    def band(self, x: ArrayLike) -> tuple[Floats, Floats]:
        """Return the lower and upper 95% limits of the line at x, in nats."""
        distance = np.log2(np.asarray(x, float) / self.centre)
        error = np.hypot(self.level_standard_error, self.standard_error * distance)
        return self.at(x) - self.quantile * error, self.at(x) + self.quantile * error


def fit_slope(x: ArrayLike, nats: ArrayLike, groups: Sequence[Hashable] | None = None) -> Slope:
    """Fit one slope per doubling of x to all groups, each with its own level.

    Ordinary least squares on the means of the configurations: replicates share their x, so they
    are not independent evidence. ``x`` and ``nats`` have shape (points,). FitError if no degree of
    freedom is left for the interval.
    """
    x, nats = checked_points(x, nats)
    groups = [0] * len(x) if groups is None else groups
    cell = number_labels(list(zip(groups, x.tolist(), strict=True)))
    doublings, loss = group_means(np.log2(x), cell), group_means(nats, cell)
    group = number_labels(groups)[np.unique(cell, return_index=True)[1]]
    num_groups = int(group.max()) + 1
    within_x = doublings - group_means(doublings, group)[group]
    within_loss = loss - group_means(loss, group)[group]
    freedom, squares = len(loss) - num_groups - 1, float(within_x @ within_x)
    if freedom < 1 or squares < 1e-12:
        raise FitError(
            f"{len(loss)} configurations in {num_groups} groups give no interval of the slope: "
            f"at least {num_groups + 2}, not all at the same value, are needed."
        )
    slope = float(within_x @ within_loss) / squares
    variance = float(np.sum((within_loss - slope * within_x) ** 2)) / freedom
    return Slope(
        per_doubling=slope,
        standard_error=float(np.sqrt(variance / squares)),
        quantile=float(stdtrit(freedom, 0.975)),
        num_configurations=len(loss),
        num_groups=num_groups,
        centre=float(2 ** doublings.mean()),
        level=float(loss.mean()),
        level_standard_error=float(np.sqrt(variance / len(loss))),
    )


def replicate_noise(
    nats: ArrayLike, configurations: Sequence[Hashable]
) -> tuple[float, int] | None:
    """Return the pooled deviation (nats) of replicates and its degrees of freedom, or None."""
    loss, member = np.asarray(nats, float), number_labels(configurations)
    deviation = loss - group_means(loss, member)[member]
    freedom = len(loss) - len(set(configurations))
    return (float(np.sqrt(deviation @ deviation / freedom)), freedom) if freedom else None


def contrast_variances(weights: Floats, replicates: Numbers) -> Floats:
    """Return the part of each configuration in the variance of contrasts of configuration means.

    A contrast is ``sum of w_i m_i``, such as a slope or a difference, where m_i is the mean of n_i
    runs. For runs of unit variance its variance is ``sum of w_i^2 / n_i``. ``weights`` has shape
    (configurations, contrasts); the parts (configurations,) are summed over the contrasts.
    """
    return np.asarray(np.square(weights).sum(axis=1) / replicates)


def checked_points(x: ArrayLike, nats: ArrayLike) -> tuple[Floats, Floats]:
    """Return both columns as arrays (points,); FitError unless all are positive and finite."""
    x, nats = np.asarray(x, float), np.asarray(nats, float)
    if x.ndim != 1 or x.shape != nats.shape or not len(x):
        raise FitError(
            f"x has shape {x.shape} and nats {nats.shape}: one or more pairs are needed."
        )
    check_positive("x", x)
    check_positive("nats", nats)
    return x, nats


def check_positive(name: str, values: Floats) -> None:
    """Raise FitError unless all values are positive and finite."""
    wrong = values[~(np.isfinite(values) & (values > 0))]
    if len(wrong):
        raise FitError(f"{name} has the value {wrong[0]}: all must be positive and finite.")


def number_labels(labels: Sequence[Hashable]) -> Numbers:
    """Number the labels in the order of first occurrence, shape (labels,)."""
    number = {label: index for index, label in enumerate(dict.fromkeys(labels))}
    return np.array([number[label] for label in labels], dtype=np.intp)


def group_means(values: Floats, member: Numbers) -> Floats:
    """Return the mean of the values (points,) of each group number, shape (groups,)."""
    return np.bincount(member, values) / np.bincount(member)
