"""Best sizes at equal budgets: the lowest point of the runs of each budget, and of the joint fit.

The parabola in log size (Hoffmann et al. 2022, arXiv 2203.15556, approach 2) is biased if the
surface is not symmetric about its lowest point (arXiv 2603.22339). It serves for comparison with
papers. The cubic, and the joint fit along each budget's own curve, are nearly free of that bias.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar

from scaling.fitting.fit import Fit
from scaling.fitting.slope import FitError, Floats, Interval, Numbers
from scaling.fitting.uncertainty import percentile_interval

APART = 1.25  # budgets within this factor of their neighbour count as one
MIN_SIZES = {"parabola": 4, "cubic": 5}
DEGREES = {"parabola": 2, "cubic": 3}
FAR = 3.0  # ranges from the middle: a lowest point of a polynomial further away is dropped
BEYOND = 1.0  # ranges beyond the data within which the joint fit's lowest point is searched


@dataclass(frozen=True)
class Profile:
    """The runs of one column at one budget: number and range of sizes, and the best by method."""

    budget: float
    name: str
    sizes: int
    low: float
    high: float
    best: dict[str, float | None]

    @property
    def centre(self) -> float:
        """Geometric middle of the range of the sizes."""
        return float(np.sqrt(self.low * self.high))

    def bracketed(self, method: str) -> bool:
        """Return whether the lowest point lies strictly inside the range of the sizes."""
        best = self.best[method]
        return best is not None and self.low < best < self.high


@dataclass(frozen=True)
class PowerOfBudget:
    """``best size = scale budget^exponent`` by one method, over the budgets with a lowest point."""

    exponent: float
    scale: float
    interval: Interval | None

    def at(self, budget: float) -> float:
        """Return the best size at a budget."""
        return float(self.scale * budget**self.exponent)


@dataclass(frozen=True)
class IsoFlop:
    """Profiles of every column and budget, and the growth of each column's best size by method."""

    profiles: list[Profile]
    powers: dict[str, dict[str, PowerOfBudget]]

    @property
    def budgets(self) -> list[float]:
        """The different budgets in ascending order."""
        return sorted({profile.budget for profile in self.profiles})


def isoflop(fit: Fit, budget: Floats) -> IsoFlop:
    """Return the profiles of a fit's rows, whose budgets (rows,) are NaN for rows without one.

    FitError if the budgets are not separate, or no budget has three sizes.
    """
    groups = _groups(budget)
    profiles, paths = [], {}
    for index, name in enumerate(fit.points.names):
        for rows in groups:
            sizes, loss = fit.points.x[rows, index], fit.points.loss[rows]
            number = len(np.unique(sizes))
            if number < 3:
                continue
            centre = float(np.exp(np.log(budget[rows]).mean()))
            best = {method: _polynomial(np.log(sizes), loss, method) for method in DEGREES}
            low, high = float(sizes.min()), float(sizes.max())
            profile = Profile(centre, name, number, low, high, best)
            paths[name, centre] = _paths(fit, rows, index)
            profile.best["joint"] = _lowest(fit, fit.parameters, profile, paths[name, centre])
            profiles.append(profile)
    if not profiles:
        raise FitError(
            f"none of the {len(groups)} budgets has runs of three sizes: an isoFLOP profile needs "
            "several sizes at each budget"
        )
    powers = {
        name: _powers(fit, [profile for profile in profiles if profile.name == name], paths)
        for name in dict.fromkeys(profile.name for profile in profiles)
    }
    return IsoFlop(profiles, powers)


def _groups(budget: Floats) -> list[Numbers]:
    """Return the row numbers of each budget; gaps in the logarithm separate budgets."""
    order = np.argsort(budget)[: np.isfinite(budget).sum()]
    gaps = np.flatnonzero(np.diff(np.log(budget[order])) > np.log(APART)) + 1
    groups = np.split(order, gaps)
    for rows in groups:
        low, high = float(budget[rows].min()), float(budget[rows].max())
        if high / low > APART**2:
            raise FitError(
                f"budgets from {low:.3g} to {high:.3g} are not separate: isoFLOP profiles need "
                f"budgets a factor of {APART} apart. Name a column of nominal budgets"
            )
    return groups


def _polynomial(log_size: Floats, loss: Floats, method: str) -> float | None:
    """Return the size at the lowest point of a parabola or cubic in the logarithm of size."""
    if len(np.unique(log_size)) < MIN_SIZES[method]:
        return None
    middle = float(log_size.mean())
    curve = np.polynomial.Polynomial.fit(log_size - middle, loss, DEGREES[method]).convert()
    furthest = FAR * float(np.ptp(log_size))
    minima = [
        float(root.real)
        for root in curve.deriv().roots()
        if abs(root.imag) < 1e-9 and curve.deriv(2)(root.real) > 0 and abs(root.real) < furthest
    ]
    return float(np.exp(min(minima, key=abs) + middle)) if minima else None


def _paths(fit: Fit, rows: Numbers, index: int) -> Floats:
    """Fit the columns as log-log parabolas of one column at a budget, shape (columns, 3)."""
    log_x = fit.points.position[rows]
    degree = min(2, len(np.unique(log_x[:, index])) - 1)
    return np.array([np.polyfit(log_x[:, index], column, degree) for column in log_x.T])


def _lowest(fit: Fit, parameters: Floats, profile: Profile, paths: Floats) -> float | None:
    """Return the size at the lowest point of a fitted surface along the curve of a budget."""
    index = fit.points.names.index(profile.name)
    middle = float(np.log(fit.points.centres[index]))
    low, high = np.log(profile.low) - middle, np.log(profile.high) - middle
    width = BEYOND * (high - low)

    def loss(position: float) -> float:
        along = np.array([[np.polyval(path, position) for path in paths]])
        return float(fit.form.curve(parameters[None], along)[0][0, 0])

    lowest = minimize_scalar(
        loss, bounds=(low - width, high + width), method="bounded", options={"xatol": 1e-9}
    )
    inside = low - 0.99 * width < lowest.x < high + 0.99 * width
    return float(np.exp(lowest.x + middle)) if inside else None


def _powers(
    fit: Fit, profiles: list[Profile], paths: dict[tuple[str, float], Floats]
) -> dict[str, PowerOfBudget]:
    """Return the growth of the best size with the budget, by each method."""
    powers = {}
    for method in (*DEGREES, "joint"):
        line = _line([(profile.budget, profile.best[method]) for profile in profiles])
        if line is None:
            continue
        interval = None
        if method == "joint" and len(fit.redraws):
            redrawn = [
                _line([(p.budget, _lowest(fit, one, p, paths[p.name, p.budget])) for p in profiles])
                for one in fit.redraws
            ]
            interval = percentile_interval(np.array([pair[0] for pair in redrawn if pair]))
        powers[method] = PowerOfBudget(line[0], float(np.exp(line[1])), interval)
    return powers


def _line(pairs: list[tuple[float, float | None]]) -> tuple[float, float] | None:
    """Return slope and level of log best size over log budget; None with fewer than two sizes."""
    points = np.log([(budget, best) for budget, best in pairs if best is not None])
    if len(points) < 2:
        return None
    slope, level = np.polyfit(points[:, 0], points[:, 1], 1)
    return float(slope), float(level)
