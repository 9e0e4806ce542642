"""Losses of rows that a fit has not seen, with the interval that a new run should fall into."""

from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from scaling.fitting.fit import Fit
from scaling.fitting.slope import Floats
from scaling.fitting.uncertainty import PERCENTILES, covariance

SEED = 0  # of the residuals that are added to redrawn curves


@dataclass(frozen=True)
class Prediction:
    """Predicted and seen losses, each of shape (rows,), with 95% limits for a new run.

    The limits are NaN where neither redraws nor degrees of freedom are left. ``extrapolation_factor`` is the
    factor by which a row lies beyond the fitted range of the column that it leaves furthest.
    """

    predicted: Floats
    seen: Floats
    low: Floats
    high: Floats
    reach: Floats

    @property
    def relative_errors(self) -> Floats:
        """Predicted over seen, less 1."""
        return self.predicted / self.seen - 1

    @property
    def inside(self) -> int | None:
        """How many rows lie within their limits; None without limits."""
        if not np.isfinite(self.low).all():
            return None
        return int(np.sum((self.low <= self.seen) & (self.seen <= self.high)))


def predict(fit: Fit, x: Floats, seen: Floats) -> Prediction:
    """The fit's losses at rows x, shape (rows, columns), beside those seen, shape (rows,)."""
    low, high = _redrawn(fit, x) if len(fit.redraws) > 1 else _wald(fit, x)
    return Prediction(fit.at(x), seen, low, high, extrapolation_factor(fit, x))


def extrapolation_factor(fit: Fit, x: Floats) -> Floats:
    """Factor beyond the fitted range, 1 inside it, shape (rows,)."""
    known = fit.points.x
    factors: Floats = np.maximum(x / known.max(axis=0), known.min(axis=0) / x).max(axis=1)
    return np.maximum(factors, 1.0)


def _redrawn(fit: Fit, x: Floats) -> tuple[Floats, Floats]:
    """Percentiles of redrawn curves, each with a residual of the fit added."""
    curves = fit.curves(x, fit.redraws)
    rows, freedom = len(fit.residual), max(len(fit.residual) - fit.form.num_free, 1)
    # Residuals of a fit are smaller than the scatter that they come from.
    scatter = np.random.default_rng(SEED).choice(fit.residual, curves.shape)
    scatter = scatter * np.sqrt(rows / freedom)
    losses = curves * np.exp(-scatter) if fit.objective.space == "log" else curves - scatter
    low, high = np.percentile(losses, PERCENTILES, axis=0)
    return low, high


def _wald(fit: Fit, x: Floats) -> tuple[Floats, Floats]:
    """Delta-method limits with Student t."""
    freedom = fit.points.num_configurations - fit.form.num_free
    predicted = fit.at(x)
    if freedom < 1:
        nothing = np.full(len(x), np.nan)
        return nothing, nothing
    position = np.log(x) - np.log(fit.points.centres)
    losses, jacobian = fit.form.curve(fit.parameters[None], position)
    gradient = fit.objective.gradient(losses, jacobian)[0]
    variance = np.einsum("np,pq,nq->n", gradient, covariance(fit), gradient)
    variance += fit.residual @ fit.residual / max(len(fit.residual) - fit.form.num_free, 1)
    half = stdtrit(freedom, 0.975) * np.sqrt(variance)
    if fit.objective.space == "log":
        return predicted * np.exp(-half), predicted * np.exp(half)
    return predicted - half, predicted + half
