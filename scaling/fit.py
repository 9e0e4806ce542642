"""Loss against one swept axis: a power law with an irreducible term.

Few runs over a short range rarely determine three parameters, so a fit carries what its points
cannot tell as typed findings; :mod:`scaling.slope` has what they can tell all the same.
Losses are nats a sample throughout; sentences give bits as well.

The recipe is the Huber loss on log L in log-sum-exp form of Hoffmann et al. 2022 (arXiv 2203.15556,
appendix D.3) with the corrections of Besiroglu et al. 2024 (arXiv 2404.10102): the objective is
scaled so that the optimiser does not stop early. The covariate is centred, the gradient analytic,
and several of many starts must agree on the optimum.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize
from scipy.special import huber

from scaling.record import bits
from scaling.slope import FitError, Floats, Interval, checked, numbered, replicate_noise

DELTA = 1e-3
NUM_STARTS = 24
NUM_STARTS_REDRAWN = 3
TOLERANCE = 1e-15  # of the scaled objective
TOLERANCE_REDRAWN = 1e-8  # percentiles need no more, and flat valleys would cost minutes
MIN_STARTS_AGREEING = 3
MIN_CONFIGURATIONS = 6  # the three parameters and three more
EXPONENT_BOUNDS = (1e-3, 4.0)
PLAUSIBLE_EXPONENTS = (0.02, 1.5)
LOG_FLOOR = 20.0  # E and A may fall to exp(-20) of the lowest loss: zero, for every purpose
ZERO_SHARE = 1e-3  # below this share of the lowest loss, E counts as zero


@dataclass(frozen=True)
class Finding:
    """One thing that the points cannot tell: a stable ``code`` and a sentence."""

    code: str
    text: str


@dataclass(frozen=True)
class PowerLaw:
    """``L(x) = irreducible + reducible (x / centre)^-exponent``, in nats a sample.

    ``reducible`` is the part at the centre, which the points determine far better than the usual
    coefficient at x = 1. ``intervals`` holds 95% percentile intervals under the names of the three
    fields, from ``redraws`` (log irreducible, log reducible, exponent; shape (redraws, 3)); both
    are empty where the configurations are too few to redraw. ``objective`` is the plain sum of
    Huber losses on log L.
    """

    name: str
    irreducible: float
    reducible: float
    exponent: float
    centre: float
    objective: float
    num_points: int
    num_configurations: int
    starts_agreeing: int
    intervals: dict[str, Interval]
    findings: tuple[Finding, ...] = ()
    redraws: Floats = field(repr=False, compare=False, kw_only=True)

    @property
    def determined(self) -> bool:
        """Whether nothing speaks against reading the parameters."""
        return not self.findings

    @property
    def sentence(self) -> str:
        """What the fit says, or why it says nothing."""
        if not self.determined:
            reasons = " ".join(finding.text for finding in self.findings)
            return f"The points do not determine a power law. {reasons}"
        (floor, ceiling), (low, high) = self.intervals["irreducible"], self.intervals["exponent"]
        return (
            f"As the {self.name} grows, the loss falls towards {_both_units(self.irreducible)} "
            f"a sample (95% interval {bits(floor):.3f} to {bits(ceiling):.3f} bits) with exponent "
            f"{self.exponent:.3f} ({low:.3f} to {high:.3f})."
        )

    def at(self, x: ArrayLike) -> Floats:
        """The curve at x, in nats."""
        parameters = np.array([np.log(self.irreducible), np.log(self.reducible), self.exponent])
        return np.exp(_log_curve(parameters, np.log(np.asarray(x, float) / self.centre)))

    def band(self, x: ArrayLike) -> tuple[Floats, Floats] | None:
        """Lower and upper 95% limits of the curve at x (nats); None without redraws."""
        if not len(self.redraws):
            return None
        position = np.log(np.asarray(x, float) / self.centre)
        curves = [np.exp(_log_curve(parameters, position)) for parameters in self.redraws]
        low, high = np.percentile(curves, [2.5, 97.5], axis=0)
        return low, high


def fit_power_law(
    x: ArrayLike,
    nats: ArrayLike,
    configurations: Sequence[Hashable] | None = None,
    *,
    name: str = "x",
    noise: float | None = None,
    num_redraws: int = 200,
    seed: int = 0,
) -> PowerLaw:
    """Fit a power law to positive x and losses in nats a sample, both of shape (points,).

    ``configurations`` labels the points: replicates share a label and are redrawn together; by
    default each different x is one. ``name`` is what the sentences call x. ``noise`` is the
    standard deviation of one point in nats, by default that of the replicates or else of the
    residuals. ``seed`` is that of the starts and of the bootstrap's ``num_redraws``. Raises
    :class:`FitError` for fewer than three different x or values not positive and finite.
    """
    x, nats, labels = checked(x, nats, configurations)
    if len(set(x)) < 3:
        raise FitError(
            f"{len(set(x))} different values of the {name} cannot carry a power law: at least 3 "
            f"are needed to draw one, and {MIN_CONFIGURATIONS} configurations to trust it."
        )
    generator = np.random.default_rng(seed)
    position = np.log(x) - np.log(x).mean()
    starts = _starts(nats, NUM_STARTS, generator)
    best, lowest, agreeing = _minimise(position, nats, np.ones_like(x), starts, TOLERANCE)
    redraws = np.empty((0, 3))
    if len(set(labels)) >= MIN_CONFIGURATIONS:
        redraws = _bootstrap(position, nats, numbered(labels), best, num_redraws, generator)
    natural = np.column_stack([np.exp(redraws[:, :2]), redraws[:, 2]]).T
    intervals = {
        key: (float(np.percentile(column, 2.5)), float(np.percentile(column, 97.5)))
        for key, column in zip(("irreducible", "reducible", "exponent"), natural, strict=True)
        if len(column)
    }
    law = PowerLaw(
        name=name,
        irreducible=float(np.exp(best[0])),
        reducible=float(np.exp(best[1])),
        exponent=float(best[2]),
        centre=float(np.exp(np.log(x).mean())),
        objective=lowest * len(x) * DELTA**2,
        num_points=len(x),
        num_configurations=len(set(labels)),
        starts_agreeing=agreeing,
        intervals=intervals,
        redraws=redraws,
    )
    if noise is None:
        replicates = replicate_noise(nats, labels)
        residual = float(np.sqrt(np.sum((nats - law.at(x)) ** 2) / max(len(x) - 3, 1)))
        noise = replicates[0] if replicates else residual
    return replace(law, findings=_findings(law, x, nats, noise))


def _log_curve(parameters: Floats, position: Floats) -> Floats:
    """log L from (log E, log A, a) at the centred log x: the log-sum-exp form."""
    irreducible, reducible, exponent = parameters
    curve: Floats = np.logaddexp(irreducible, reducible - exponent * position)
    return curve


def _objective(
    parameters: Floats, position: Floats, log_loss: Floats, weights: Floats
) -> tuple[float, Floats]:
    """Huber loss on log L over ``n delta^2``, and its gradient in (log E, log A, a)."""
    log_curve = _log_curve(parameters, position)
    residual = log_curve - log_loss
    scale = weights.sum() * DELTA**2
    pull = weights * np.clip(residual, -DELTA, DELTA) / scale
    share = np.exp(parameters[0] - log_curve)  # of the irreducible term in L
    gradient = np.array([pull @ share, pull @ (1 - share), -(pull * position) @ (1 - share)])
    return float(weights @ huber(DELTA, residual) / scale), gradient


def _starts(nats: Floats, number: int, generator: np.random.Generator) -> list[Floats]:
    """Starting points from the data: E a share of the lowest loss, A what is then left over."""
    irreducible = nats.min() * generator.uniform(0.05, 0.999, number)
    exponent = np.exp(generator.uniform(np.log(0.05), np.log(1.5), number))
    reducible = nats.mean() - irreducible
    return list(np.column_stack([np.log(irreducible), np.log(reducible), exponent]))


def _minimise(
    position: Floats, nats: Floats, weights: Floats, starts: list[Floats], tolerance: float
) -> tuple[Floats, float, int]:
    """Best parameters over all starts, their objective, and how many starts came to it."""
    floor, ceiling = float(np.log(nats.min())) - LOG_FLOOR, float(np.log(nats.max()))
    results = [
        minimize(
            _objective,
            start,
            args=(position, np.log(nats), weights),
            jac=True,
            method="L-BFGS-B",
            bounds=[(floor, ceiling), (floor, ceiling), EXPONENT_BOUNDS],
            options={"maxiter": 500, "maxcor": 20, "ftol": tolerance, "gtol": 1e-10},
        )
        for start in starts
    ]
    best = min(results, key=lambda result: float(result.fun))
    # The absolute term lets exact data agree: their objective is zero but for rounding.
    agreeing = sum(bool(result.fun <= best.fun * (1 + 1e-6) + 1e-12) for result in results)
    return np.asarray(best.x), float(best.fun), agreeing


def _bootstrap(
    position: Floats,
    nats: Floats,
    member: NDArray[np.intp],
    best: Floats,
    number: int,
    generator: np.random.Generator,
) -> Floats:
    """Parameters refitted to redrawn configurations (pairs bootstrap), shape (number, 3).

    A redraw with fewer than three different x determines nothing and is drawn again.
    """
    size = int(member.max()) + 1
    starts = [best, *_starts(nats, NUM_STARTS_REDRAWN - 1, generator)]
    redraws: list[Floats] = []
    while len(redraws) < number:
        times = np.bincount(generator.integers(size, size=size), minlength=size)
        weights = times[member].astype(float)
        if len(set(position[weights > 0])) >= 3:
            redraws.append(_minimise(position, nats, weights, starts, TOLERANCE_REDRAWN)[0])
    return np.array(redraws)


def _findings(law: PowerLaw, x: Floats, nats: Floats, noise: float) -> tuple[Finding, ...]:
    """All that speaks against reading the parameters of a fit to these points."""
    ratio = float(x.max() / x.min())
    falls = float(np.polyfit(np.log(x), nats, 1)[0]) < 0
    fall = float(np.ptp(law.at(x)))
    irreducible = min(law.irreducible, *law.intervals.get("irreducible", (np.inf,)))
    exponents = (law.exponent, *law.intervals.get("exponent", ()))
    low, high = PLAUSIBLE_EXPONENTS
    reach = f"{law.exponent:.3g}"
    if "exponent" in law.intervals:
        reach += " (95% interval {:.3g} to {:.3g})".format(*law.intervals["exponent"])
    checks = (
        (
            law.num_configurations < MIN_CONFIGURATIONS,
            "few_configurations",
            f"It takes {MIN_CONFIGURATIONS} configurations; there are {law.num_configurations}.",
        ),
        (
            ratio < 10 * (1 - 1e-9),
            "narrow_range",
            f"The {law.name} spans a factor of {ratio:.3g}, less than one decade.",
        ),
        (not falls, "no_fall", f"The loss does not fall as the {law.name} grows."),
        (
            falls and fall < 2 * noise,
            "small_fall",
            f"The loss falls by {_both_units(fall)} in all, less than twice the "
            f"{_both_units(noise)} by which one run scatters.",
        ),
        (
            irreducible < ZERO_SHARE * float(nats.min()),
            "irreducible_at_zero",
            "The irreducible loss cannot be told from zero.",
        ),
        (
            min(exponents) < low or max(exponents) > high,
            "exponent_implausible",
            f"The exponent of {reach} leaves the plausible range of {low} to {high}.",
        ),
        (
            law.starts_agreeing < MIN_STARTS_AGREEING,
            "no_agreement",
            f"Only {law.starts_agreeing} of {NUM_STARTS} starts came to the best optimum.",
        ),
    )
    return tuple(Finding(code, text) for found, code, text in checks if found)


def _both_units(nats: float) -> str:
    return f"{bits(nats):.4f} bits ({nats:.4f} nats)"
