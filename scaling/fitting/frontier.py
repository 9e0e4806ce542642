"""Best sizes for a budget under any cost, by numerical minimisation of the fitted loss.

No closed form is used: with attention or chunks, the cost is no product of the columns.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

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


def frontier(fit: Fit, cost: Cost, budgets: tuple[float, ...] = ()) -> Frontier:
    """Return the frontier of a fit, at budgets inside its data and at ``budgets``.

    Exponents are slopes over the budgets inside the data. FitError if no sizes are best, as for a
    cost that does not depend on a column.
    """
    costs = cost(fit.points.x)
    if not (np.isfinite(costs) & (costs > 0)).all():
        raise FitError("the cost of a row is not a positive number: correct the formula of --cost")
    inside = np.geomspace(costs.min(), costs.max(), BUDGETS + 2)[1:-1]
    all_budgets = [*inside.tolist(), *budgets]
    middle = np.zeros(len(fit.points.names))
    sizes = np.array([_best(fit, fit.parameters, cost, budget, middle) for budget in all_budgets])
    drawn = np.array(
        [
            [
                _best(fit, draw, cost, budget, start)
                for budget, start in zip(all_budgets, sizes, strict=True)
            ]
            for draw in fit.redraws
        ]
    ).reshape(len(fit.redraws), *sizes.shape)
    names = fit.points.names
    slopes = np.array([_slopes(inside, one) for one in drawn]).reshape(len(drawn), len(names))
    exponents = dict(zip(names, _slopes(inside, sizes).tolist(), strict=True))
    return Frontier(
        best=[
            _optimal_sizes(fit, costs, budget, sizes[index], drawn[:, index])
            for index, budget in enumerate(all_budgets)
        ],
        exponents=exponents,
        standard_errors={name: standard_deviation(slopes[:, at]) for at, name in enumerate(names)},
        intervals={name: percentile_interval(slopes[:, at]) for at, name in enumerate(names)},
    )


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
        spent = cost((centres * np.exp(position))[None])[0]
        return float(np.log(spent / budget))

    optimum = minimize(
        height,
        start,
        jac="3-point",
        method="SLSQP",
        bounds=[
            (low - FURTHEST, high + FURTHEST)
            for low, high in zip(
                fit.points.position.min(axis=0), fit.points.position.max(axis=0), strict=True
            )
        ],
        constraints={"type": "eq", "fun": excess},
        options={"ftol": 1e-13, "maxiter": 300},
    )
    spends_budget = abs(excess(optimum.x)) < TOLERANCE
    return np.asarray(optimum.x if spends_budget else np.full(len(start), np.nan))


def _slopes(budgets: Floats, positions: Floats) -> Floats:
    """Return the slope of each column's position over the log budgets inside the data."""
    slopes: Floats = np.polyfit(np.log(budgets), positions[: len(budgets)], 1)[0]
    return slopes


def _optimal_sizes(
    fit: Fit, costs: Floats, budget: float, position: Floats, drawn: Floats
) -> OptimalSizes:
    names = fit.points.names
    if not (np.abs(position) < FURTHEST).all():
        raise FitError(
            f"at a budget of {budget:.3g} there is no best size: one grows or shrinks without "
            "limit, or no sizes cost so much. Write a --cost that grows with each of them"
        )
    sizes = fit.points.centres * np.exp(position)
    redrawn = fit.points.centres * np.exp(drawn)
    return OptimalSizes(
        budget=budget,
        sizes=dict(zip(names, sizes.tolist(), strict=True)),
        loss=float(fit.at(sizes[None])[0]),
        reach=float(extrapolation_factor(fit, sizes[None])[0]),
        cost_reach=max(1.0, budget / float(costs.max())),
        intervals={
            name: percentile_interval(redrawn[:, index]) for index, name in enumerate(names)
        },
    )
