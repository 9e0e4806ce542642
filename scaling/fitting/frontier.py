"""Best sizes for a budget under any cost, by numerical minimisation of the fitted loss.

No closed form is used: with attention or chunks, the cost is no product of the columns.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import Bounds, minimize

from scaling.fitting.fit import Fit
from scaling.fitting.slope import FitError, Floats, Interval
from scaling.fitting.uncertainty import (
    extrapolation_factor,
    percentile_interval,
    standard_deviation,
)

BUDGETS = 3  # within the data, from which the exponents are taken
FURTHEST = np.log(1e9)  # the range of the search beyond the data
TOLERANCE = 1e-6  # of the budget

Cost = Callable[[Floats], Floats]
"""Function from rows of columns (rows, columns) to their costs (rows,)."""


@dataclass(frozen=True)
class OptimalSizes:
    """The sizes of lowest loss for a budget, with their loss and 95% intervals.

    ``reach`` is the :func:`extrapolation_factor` of the sizes. ``cost_reach`` is the budget over
    the largest cost among the rows, at least 1.
    """

    budget: float
    sizes: dict[str, float]
    loss: float
    reach: float
    cost_reach: float
    intervals: dict[str, Interval | None]


@dataclass(frozen=True)
class Frontier:
    """Best sizes at several budgets, and the exponents of ``best size ~ budget^exponent``."""

    exponents: dict[str, float]
    standard_errors: dict[str, float | None]
    intervals: dict[str, Interval | None]
    best: list[OptimalSizes]

    @classmethod
    def of(
        cls, fit: Fit, costs: Floats, budgets: list[float], sizes: Floats, log_sizes: Floats
    ) -> "Frontier":
        """Return the frontier of the best sizes at :func:`all_budgets`.

        Both arrays have shape (1 + redraws, budgets, columns): of the fit, then of each redraw.
        ``log_sizes`` may have any offsets.
        """
        names, log_budgets = fit.points.names, np.log(budgets[:BUDGETS])
        slopes = np.array([np.polyfit(log_budgets, one[:BUDGETS], 1)[0] for one in log_sizes])
        drawn = slopes[1:]
        return cls(
            exponents=dict(zip(names, slopes[0].tolist(), strict=True)),
            standard_errors={name: standard_deviation(drawn[:, i]) for i, name in enumerate(names)},
            intervals={name: percentile_interval(drawn[:, i]) for i, name in enumerate(names)},
            best=[
                _optimal_sizes(fit, float(costs.max()), budget, sizes[:, index])
                for index, budget in enumerate(budgets)
            ],
        )


def _optimal_sizes(fit: Fit, largest_cost: float, budget: float, sizes: Floats) -> OptimalSizes:
    """Return the sizes of the fit, the first row, with intervals over the others, its redraws."""
    names = fit.points.names
    return OptimalSizes(
        budget=budget,
        sizes=dict(zip(names, sizes[0].tolist(), strict=True)),
        loss=float(fit.at(sizes[:1])[0]),
        reach=float(extrapolation_factor(fit, sizes[:1])[0]),
        cost_reach=max(1.0, budget / largest_cost),
        intervals={name: percentile_interval(sizes[1:, i]) for i, name in enumerate(names)},
    )


def all_budgets(costs: Floats, further: tuple[float, ...]) -> list[float]:
    """Return budgets inside the costs, from which the exponents are taken, and further ones."""
    return [*np.geomspace(costs.min(), costs.max(), BUDGETS + 2)[1:-1].tolist(), *further]


def frontier(fit: Fit, cost: Cost, budgets: tuple[float, ...] = ()) -> Frontier:
    """Return the frontier of a fit, at budgets inside its data and at ``budgets``.

    FitError if no sizes are best, as for a cost that does not depend on a column.
    """
    costs = cost(fit.points.x)
    if not (np.isfinite(costs) & (costs > 0)).all():
        raise FitError("the cost of a row is not a positive number: correct the formula of --cost")
    requested = all_budgets(costs, budgets)
    middle = np.zeros(len(fit.points.names))
    own = [_best(fit, fit.parameters, cost, budget, middle) for budget in requested]
    pairs = list(zip(requested, own, strict=True))
    for budget, position in pairs:
        if not (np.abs(position) < FURTHEST).all():
            raise FitError(
                f"at a budget of {budget:.3g} there is no best size: one grows or shrinks without "
                "limit, or no sizes cost so much. Write a --cost that grows with each of them"
            )
    drawn = [[_best(fit, draw, cost, *pair) for pair in pairs] for draw in fit.redraws]
    positions = np.array([own, *drawn])
    sizes = fit.points.centres * np.exp(positions)
    return Frontier.of(fit, costs, requested, sizes, positions)


def _best(fit: Fit, parameters: Floats, cost: Cost, budget: float, start: Floats) -> Floats:
    """Return the positions (about the centres) of the lowest loss at a cost, (columns,), or NaN.

    If all terms are power laws, the logarithm of the loss above E is convex in the positions and
    well scaled, as is the logarithm of the cost.
    """
    # A parabola may fall below the E of the centre; then the logarithm is of the loss itself.
    floor, centres = 0.0 if fit.form.quadratics else parameters[0], fit.points.centres

    def height(position: Floats) -> float:
        above = fit.form.curve(parameters[None], position[None])[0][0, 0] - floor
        return float(np.log(max(above, np.finfo(float).tiny)))

    def excess(position: Floats) -> float:
        return float(np.log(cost((centres * np.exp(position))[None])[0] / budget))

    optimum = minimize(
        height,
        start,
        jac="3-point",
        method="SLSQP",
        bounds=Bounds(
            fit.points.position.min(axis=0) - FURTHEST, fit.points.position.max(axis=0) + FURTHEST
        ),
        constraints={"type": "eq", "fun": excess},
        options={"ftol": 1e-13, "maxiter": 300},
    )
    spends_budget = abs(excess(optimum.x)) < TOLERANCE
    return np.asarray(optimum.x if spends_budget else np.full(len(start), np.nan))
