"""How far the parameters of a fit can be trusted: redrawn configurations, and Wald with Student t.

Of the ways tried on designs of 9 and 16 configurations, these two covered as often as they say;
docs/fitting.md says what else was seen. The Wald errors take rows as independent.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import stdtrit

from scaling.fitting.fit import Fit, fit_problem
from scaling.fitting.slope import Floats, Interval

Method = Literal["bootstrap", "wald"]
PERCENTILES = (2.5, 97.5)


@dataclass(frozen=True)
class Uncertainty:
    """Standard errors and 95% intervals by the names of the parameters; None where there is none.

    ``method`` is None where neither redraws nor degrees of freedom are left.
    """

    method: Method | None
    standard_errors: dict[str, float | None]
    intervals: dict[str, Interval | None]


def of_redraws(fit: Fit) -> Uncertainty:
    """Standard deviations and percentile intervals over the redraws of a fit that has some."""
    values = fit.form.named_parameters(fit.redraws, fit.points.centres)
    return Uncertainty(
        "bootstrap",
        {name: standard_deviation(value) for name, value in values.items()},
        {name: percentile_interval(value) for name, value in values.items()},
    )


def wald(fit: Fit) -> Uncertainty:
    """Delta-method errors with Student-t intervals, from the curvature at the optimum.

    The variance is that of an M-estimator, ``mean psi^2 / (mean psi')^2 (J'J)^-1``; the degrees of
    freedom are the configurations less the parameters.
    """
    freedom = fit.points.num_configurations - fit.form.num_free
    names = list(fit.named_parameters)
    if freedom < 1:
        return Uncertainty(None, dict.fromkeys(names), dict.fromkeys(names))
    slopes = _slopes(fit)
    variance = np.einsum("np,pq,nq->n", slopes, covariance(fit), slopes)
    quantile = float(stdtrit(freedom, 0.975))
    errors: dict[str, float | None] = {}
    intervals: dict[str, Interval | None] = {}
    for name, value, one in zip(names, fit.named_parameters.values(), variance, strict=True):
        known = bool(np.isfinite(one) and np.isfinite(value))
        error = float(np.sqrt(max(one, 0.0))) if known else None
        errors[name] = error
        intervals[name] = (
            None
            if error is None
            else (
                value - quantile * error,
                value + quantile * error,
            )
        )
    return Uncertainty("wald", errors, intervals)


def uncertainty(fit: Fit) -> Uncertainty:
    """Over the redraws where there are any, else Wald's."""
    return of_redraws(fit) if len(fit.redraws) > 1 else wald(fit)


def covariance(fit: Fit) -> Floats:
    """Covariance of the parameters in the order of the form, shape (parameters, parameters)."""
    problem = fit_problem(fit.points, fit.form, fit.objective)
    residual, gradient = problem.residuals(fit.parameters[None])
    rows = len(fit.points.loss)
    pull = fit.objective.pull(residual[0])
    scale = float(pull @ pull) / max(rows - fit.form.num_free, 1)
    scale /= fit.objective.curvature(residual[0], fit.form.num_free) ** 2
    matrix: Floats = scale * np.linalg.pinv(gradient[0].T @ gradient[0], hermitian=True)
    return matrix


def percentile_interval(values: Floats) -> Interval | None:
    """95% interval of draws; None where no draw is finite."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return None
    low, high = np.percentile(finite, PERCENTILES)
    return float(low), float(high)


def standard_deviation(values: Floats) -> float | None:
    """Standard deviation of draws; None where fewer than two are finite."""
    finite = values[np.isfinite(values)]
    return float(finite.std(ddof=1)) if len(finite) > 1 else None


def _slopes(fit: Fit) -> Floats:
    """Derivatives of the natural parameters by the form's, by central differences."""
    step = 1e-6 * np.maximum(np.abs(fit.parameters), 1e-3)
    moved = np.vstack([fit.parameters + np.diag(step), fit.parameters - np.diag(step)])
    values = np.array(list(fit.form.named_parameters(moved, fit.points.centres).values()))
    up, down = np.split(values, 2, axis=1)
    slopes: Floats = (up - down) / (2 * step)
    return slopes
