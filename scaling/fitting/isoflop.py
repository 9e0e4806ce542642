"""Best sizes at equal budgets: the lowest point of each budget's runs, and of the joint fit.

The parabola in log size (Hoffmann et al. 2022, approach 2) is biased wherever the surface is not
symmetric about its lowest point (arXiv 2603.22339). It stands here to compare with papers; the
cubic and the joint fit, followed along each budget's own curve, are what to read.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar

from scaling.fitting.fit import Fit
from scaling.fitting.slope import FitError, Floats, Interval, Numbers
from scaling.fitting.uncertainty import percentile_interval

APART = 1.25  # budgets within this factor of their neighbour are one
LEAST_SIZES = {"parabola": 4, "cubic": 5}
DEGREES = {"parabola": 2, "cubic": 3}
FAR = 3.0  # ranges from the middle, beyond which a polynomial has no lowest point
BEYOND = 1.0  # the joint fit's lowest point is sought so many ranges beyond the data


@dataclass(frozen=True)
class Profile:
    """One column's runs at one budget, with the lowest point by each method (None: there is none).

    ``low``, ``high`` and ``centre`` (geometric) tell which sizes the budget was given.
    """

    budget: float
    name: str
    sizes: int
    low: float
    high: float
    best: dict[str, float | None]

    @property
    def centre(self) -> float:
        """Middle of the sizes, in their logarithm."""
        return float(np.sqrt(self.low * self.high))

    def bracketed(self, method: str) -> bool:
        """Whether the lowest point lies strictly between sizes that were run."""
        best = self.best[method]
        return best is not None and self.low < best < self.high


@dataclass(frozen=True)
class PowerOfBudget:
    """``best size = scale budget^exponent`` by one method, over all budgets that have one."""

    exponent: float
    scale: float
    interval: Interval | None

    def at(self, budget: float) -> float:
        """The best size at a budget."""
        return float(self.scale * budget**self.exponent)


@dataclass(frozen=True)
class IsoFlop:
    """Profiles of every column and budget, and the power of each column's best size."""

    profiles: list[Profile]
    powers: dict[str, dict[str, PowerOfBudget]]

    @property
    def budgets(self) -> list[float]:
        """The budgets, each once."""
        return sorted({profile.budget for profile in self.profiles})


def isoflop(fit: Fit, budget: Floats) -> IsoFlop:
    """Profiles of a fit's rows, whose budgets have shape (rows,): NaN where a row is in none.

    Raises :class:`FitError` where the budgets are not apart from each other, or no budget has three
    sizes.
    """
    groups = _groups(budget)
    profiles, curves = [], {}
    for index, name in enumerate(fit.points.names):
        for rows in groups:
            sizes = fit.points.x[rows, index]
            if len(np.unique(sizes)) < 3:
                continue
            centre = float(np.exp(np.log(budget[rows]).mean()))
            profile = Profile(
                budget=centre,
                name=name,
                sizes=len(np.unique(sizes)),
                low=float(sizes.min()),
                high=float(sizes.max()),
                best={
                    method: _polynomial(np.log(sizes), fit.points.loss[rows], method)
                    for method in DEGREES
                },
            )
            curves[name, centre] = _paths(fit, rows, index)
            profile.best["joint"] = _lowest(fit, fit.parameters, profile, curves[name, centre])
            profiles.append(profile)
    if not profiles:
        raise FitError(
            f"none of the {len(groups)} budgets has runs of three sizes: an isoFLOP profile needs "
            "several sizes at each budget"
        )
    powers = {
        name: _powers(fit, [profile for profile in profiles if profile.name == name], curves)
        for name in dict.fromkeys(profile.name for profile in profiles)
    }
    return IsoFlop(profiles, powers)


def _groups(budget: Floats) -> list[Numbers]:
    """Row numbers of each budget; budgets are told apart by gaps in their logarithm."""
    order = np.argsort(budget)[: np.isfinite(budget).sum()]
    gaps = np.flatnonzero(np.diff(np.log(budget[order])) > np.log(APART)) + 1
    groups = np.split(order, gaps)
    for rows in groups:
        spread = float(budget[rows].max() / budget[rows].min())
        if spread > APART**2:
            raise FitError(
                f"budgets from {budget[rows].min():.3g} to {budget[rows].max():.3g} run into each "
                f"other: isoFLOP profiles need budgets that are a factor of {APART} apart; name a "
                "column of the budgets that were meant"
            )
    return groups


def _polynomial(log_size: Floats, loss: Floats, method: str) -> float | None:
    """Size at the lowest point of a parabola or cubic in the logarithm of size."""
    if len(np.unique(log_size)) < LEAST_SIZES[method]:
        return None
    middle = float(log_size.mean())
    curve = np.polynomial.Polynomial.fit(log_size - middle, loss, DEGREES[method]).convert()
    flat = curve.deriv().roots()
    furthest = FAR * float(np.ptp(log_size))
    low = [
        float(root.real)
        for root in flat
        if abs(root.imag) < 1e-9 and curve.deriv(2)(root.real) > 0 and abs(root.real) < furthest
    ]
    return float(np.exp(min(low, key=abs) + middle)) if low else None


def _paths(fit: Fit, rows: Numbers, index: int) -> Floats:
    """How the other columns follow this one at a budget: log-log parabolas, (columns, 3)."""
    log_x = fit.points.position[rows]
    degree = min(2, len(np.unique(log_x[:, index])) - 1)
    return np.array([np.polyfit(log_x[:, index], column, degree) for column in log_x.T])


def _lowest(fit: Fit, parameters: Floats, profile: Profile, paths: Floats) -> float | None:
    """Size at the lowest point of a fitted surface along a budget's curve."""
    index = fit.points.names.index(profile.name)
    middle = float(np.log(fit.points.centres[index]))
    low, high = np.log(profile.low) - middle, np.log(profile.high) - middle
    width = BEYOND * (high - low)

    def loss(position: float) -> float:
        along = np.array([[np.polyval(path, position) for path in paths]])
        return float(fit.form.curve(parameters[None], along)[0][0, 0])

    found = minimize_scalar(
        loss, bounds=(low - width, high + width), method="bounded", options={"xatol": 1e-9}
    )
    inside = low - 0.99 * width < found.x < high + 0.99 * width
    return float(np.exp(found.x + middle)) if inside else None


def _powers(
    fit: Fit, profiles: list[Profile], paths: dict[tuple[str, float], Floats]
) -> dict[str, PowerOfBudget]:
    """The power of the best size in the budget, by each method."""
    powers = {}
    for method in (*DEGREES, "joint"):
        line = _line([(profile.budget, profile.best[method]) for profile in profiles])
        if line is None:
            continue
        interval = None
        if method == "joint" and len(fit.redraws):
            drawn = [
                _line(
                    [(p.budget, _lowest(fit, draw, p, paths[p.name, p.budget])) for p in profiles]
                )
                for draw in fit.redraws
            ]
            interval = percentile_interval(np.array([one[0] for one in drawn if one]))
        powers[method] = PowerOfBudget(line[0], float(np.exp(line[1])), interval)
    return powers


def _line(pairs: list[tuple[float, float | None]]) -> tuple[float, float] | None:
    """Slope and level of log best size over log budget; None with fewer than two sizes."""
    known = np.log([(budget, best) for budget, best in pairs if best is not None])
    if len(known) < 2:
        return None
    slope, level = np.polyfit(known[:, 0], known[:, 1], 1)
    return float(slope), float(level)
