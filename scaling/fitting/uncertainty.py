"""Uncertainty of a fit: errors and intervals of its parameters, and of predicted losses.

Intervals come from redrawn configurations, or from the curvature at the optimum with Student t
(Wald). On designs of 9 and 16 configurations these two covered the truth as often as stated
(docs/fitting.md). Wald errors take rows as independent.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import stdtrit

from scaling.fitting.fit import Fit
from scaling.fitting.slope import Floats, Interval

Method = Literal["bootstrap", "wald"]
PERCENTILES = (2.5, 97.5)
SEED = 0  # of the residuals that are added to redrawn curves


@dataclass(frozen=True)
class Uncertainty:
    """Standard errors and 95% intervals by parameter; None without an estimate."""

    method: Method | None
    standard_errors: dict[str, float | None]
    intervals: dict[str, Interval | None]


def uncertainty(fit: Fit) -> Uncertainty:
    """Return standard deviations and percentile intervals over the redraws, or else Wald's."""
    if len(fit.redraws) < 2:
        return wald(fit)
    values = fit.form.named_parameters(fit.redraws, fit.points.centres)
    return Uncertainty(
        "bootstrap",
        {name: standard_deviation(value) for name, value in values.items()},
        {name: percentile_interval(value) for name, value in values.items()},
    )


def wald(fit: Fit) -> Uncertainty:
    """Return delta-method errors with Student-t intervals, from the curvature at the optimum."""
    freedom = fit.points.num_configurations - fit.form.num_free
    errors: dict[str, float | None] = dict.fromkeys(fit.named_parameters)
    intervals: dict[str, Interval | None] = dict.fromkeys(fit.named_parameters)
    if freedom < 1:
        return Uncertainty(None, errors, intervals)
    slopes = _slopes(fit)
    variances = np.einsum("np,pq,nq->n", slopes, covariance(fit), slopes)
    quantile = float(stdtrit(freedom, 0.975))
    for (name, value), variance in zip(fit.named_parameters.items(), variances, strict=True):
        if np.isfinite(variance) and np.isfinite(value):
            error = float(np.sqrt(max(variance, 0.0)))
            errors[name] = error
            intervals[name] = value - quantile * error, value + quantile * error
    return Uncertainty("wald", errors, intervals)


def covariance(fit: Fit) -> Floats:
    """Return the covariance of the form's parameters, shape (parameters, parameters).

    M-estimator: ``mean psi^2 / (mean psi')^2 (J'J)^-1`` (Huber 1973, Ann. Statist. 1, 799-821).
    """
    residual, gradient = fit.problem.residuals(fit.parameters[None])
    pull = fit.objective.pull(residual[0])
    scale = float(pull @ pull) / fit.freedom
    scale /= fit.objective.curvature(residual[0], fit.form.num_free) ** 2
    return np.asarray(scale * np.linalg.pinv(gradient[0].T @ gradient[0], hermitian=True))


def _slopes(fit: Fit) -> Floats:
    """Return the derivatives of the named parameters by the form's, by central differences."""
    step = 1e-6 * np.maximum(np.abs(fit.parameters), 1e-3)
    moved = np.vstack([fit.parameters + np.diag(step), fit.parameters - np.diag(step)])
    values = np.array(list(fit.form.named_parameters(moved, fit.points.centres).values()))
    up, down = np.split(values, 2, axis=1)
    return np.asarray((up - down) / (2 * step))


def percentile_interval(values: Floats) -> Interval | None:
    """Return the 95% interval of draws, or None if no draw is finite."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return None
    low, high = np.percentile(finite, PERCENTILES)
    return float(low), float(high)


def standard_deviation(values: Floats) -> float | None:
    """Return the standard deviation of draws, or None if fewer than two are finite."""
    finite = values[np.isfinite(values)]
    return float(finite.std(ddof=1)) if len(finite) > 1 else None


@dataclass(frozen=True)
class Prediction:
    """Predicted and observed losses, and 95% limits for a new run, each of shape (rows,).

    Limits without an estimate are NaN; ``reach`` is the :func:`extrapolation_factor`.
    """

    predicted: Floats
    seen: Floats
    low: Floats
    high: Floats
    reach: Floats

    @property
    def relative_errors(self) -> Floats:
        """Predicted over observed losses, less 1."""
        return self.predicted / self.seen - 1

    @property
    def inside(self) -> int | None:
        """Number of rows within their limits; None without limits."""
        inside = int(np.sum((self.low <= self.seen) & (self.seen <= self.high)))
        return inside if np.isfinite(self.low).all() else None


def predict(fit: Fit, x: Floats, seen: Floats) -> Prediction:
    """Predict rows x, shape (rows, columns), whose observed losses have shape (rows,)."""
    low, high = _redrawn_limits(fit, x) if len(fit.redraws) > 1 else _wald_limits(fit, x)
    return Prediction(fit.at(x), seen, low, high, extrapolation_factor(fit, x))


def extrapolation_factor(fit: Fit, x: Floats) -> Floats:
    """Return how many times each row lies beyond the fitted range, shape (rows,).

    The factor is that of the column furthest beyond its range, and 1 inside the range.
    """
    fitted = fit.points.x
    factors: Floats = np.maximum(x / fitted.max(axis=0), fitted.min(axis=0) / x).max(axis=1)
    return np.maximum(factors, 1.0)


def _redrawn_limits(fit: Fit, x: Floats) -> tuple[Floats, Floats]:
    """Return percentiles of the redrawn curves, each with a residual of the fit added."""
    curves = fit.curves(x, fit.redraws)
    scatter = np.random.default_rng(SEED).choice(fit.residual, curves.shape)
    # A fit makes its residuals smaller than the noise of its rows.
    scatter = scatter * np.sqrt(len(fit.residual) / fit.freedom)
    losses = curves * np.exp(-scatter) if fit.objective.space == "log" else curves - scatter
    low, high = np.percentile(losses, PERCENTILES, axis=0)
    return low, high


def _wald_limits(fit: Fit, x: Floats) -> tuple[Floats, Floats]:
    """Return delta-method limits with Student t."""
    freedom = fit.points.num_configurations - fit.form.num_free
    if freedom < 1:
        return np.full(len(x), np.nan), np.full(len(x), np.nan)
    predicted = fit.at(x)
    position = np.log(x) - np.log(fit.points.centres)
    losses, jacobian = fit.form.curve(fit.parameters[None], position)
    gradient = fit.objective.gradient(losses, jacobian)[0]
    variance = np.einsum("np,pq,nq->n", gradient, covariance(fit), gradient)
    variance += fit.residual @ fit.residual / fit.freedom
    half = stdtrit(freedom, 0.975) * np.sqrt(variance)
    if fit.objective.space == "log":
        return predicted * np.exp(-half), predicted * np.exp(half)
    return predicted - half, predicted + half
