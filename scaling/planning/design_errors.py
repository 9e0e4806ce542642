"""Expected standard errors of the fits of a design, by simulation with the project's own fitter.

The user assumes the effect of each axis on the loss, the exponent with which it falls, and the
noise of a run. Every simulation draws the losses of all runs and fits them. A nonlinear fit has no
formula for its errors; :mod:`scaling.analysis.power_analysis` has that of a difference of two
configurations.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from model import accounting
from scaling.fitting.fit import Fit, fit_many
from scaling.fitting.forms import Additive
from scaling.fitting.isoflop import isoflop
from scaling.fitting.points import Points
from scaling.fitting.slope import FitError, Floats, Numbers, fit_slope
from scaling.fitting.uncertainty import percentile_interval, standard_deviation
from scaling.planning.design import Design

IRREDUCIBLE = 3.0  # nats that no axis lowers: only differences matter to the simulation
SIMULATIONS, SEED = 200, 0
CHUNK = "model.chunk"
SIZE, DATA = "size", "data"


@dataclass(frozen=True)
class AssumedEffect:
    """Reducible loss at the smallest value of an axis, in nats, and the exponent of its fall.

    A chunk has its best value inside the axis: ``reducible`` is then the excess at both ends, and
    the exponent is unused.
    """

    reducible: float = 0.05
    exponent: float = 0.3


@dataclass(frozen=True)
class ExpectedError:
    """Error of one quantity over the fits of the simulated sweeps.

    ``truth`` is the fit to losses without noise, or None if it fails. ``standard_error`` is the
    standard deviation over the simulations, and ``interval`` contains 95 % of them; None without
    numbers.
    """

    quantity: str
    truth: float | None
    standard_error: float | None
    interval: tuple[float, float] | None


def expected_errors(
    design: Design,
    noise: float,
    effects: Mapping[str, AssumedEffect],
    *,
    simulations: int = SIMULATIONS,
) -> list[ExpectedError]:
    """Return the errors of slopes per doubling and exponents; ``noise`` is in nats per run.

    For an isoFLOP design they are those of the exponents and of the best size.
    """
    columns, truth = surface(design, effects)
    rows = np.repeat(np.arange(len(design.cells)), [cell.seeds for cell in design.cells])
    generator = np.random.default_rng(SEED)
    drawn = truth[rows] + noise * generator.normal(size=(simulations, len(rows)))
    # The fit to losses without noise is the truth.
    losses, seeds = np.vstack([truth[rows], drawn]), [0, *range(simulations)]
    exact, *simulated = _quantities(design, columns, rows, losses, seeds)
    draws: dict[str, list[float]] = {}
    for name, value in (pair for one in simulated for pair in one.items()):
        draws.setdefault(name, []).append(value)
    return [
        ExpectedError(name, exact.get(name), standard_deviation(v), percentile_interval(v))
        for name, v in ((name, np.array(values)) for name, values in draws.items())
    ]


def surface(
    design: Design, effects: Mapping[str, AssumedEffect]
) -> tuple[dict[str, Floats], Floats]:
    """Return columns (cells,) by name, and the losses (cells,) by the assumed effects, in nats.

    An axis of two values cannot determine a law and has no effect: its slope's error is the same.
    """
    if design.kind == "isoflop":
        sizes = [sum(accounting.parameters(cell.config.model).values()) for cell in design.cells]
        targets = [cell.targets for cell in design.cells]
        columns = {SIZE: np.array(sizes, float), DATA: np.array(targets, float)}
    else:
        columns = {
            axis: np.array([cell.values[axis] for cell in design.cells], float)
            for axis, values in design.axes.items()
            if len(set(values)) > 1
        }
    loss = np.full(len(design.cells), IRREDUCIBLE)
    for name, x in columns.items():
        effect = effects.get(name, AssumedEffect())
        if len(np.unique(x)) < Additive.least_values:
            continue
        if name == CHUNK:
            away = np.log(x / np.sqrt(x.min() * x.max()))
            loss += effect.reducible * (away / np.abs(away).max()) ** 2
        else:
            loss += effect.reducible * (x / x.min()) ** -effect.exponent
    return columns, loss


def _quantities(
    design: Design, columns: dict[str, Floats], rows: Numbers, losses: Floats, seeds: list[int]
) -> list[dict[str, float]]:
    """Return the fitted quantities of each sweep by name; losses have shape (sweeps, runs)."""
    x = {name: column[rows] for name, column in columns.items()}
    fits = _fit_sweeps(x, losses, seeds)
    if design.kind == "isoflop":
        return [_best_size(design, rows, one) for one in fits] or [{}] * len(losses)
    quantities = [_slopes(x, loss) for loss in losses]
    for slopes, one in zip(quantities, fits, strict=False):
        slopes |= _named(one, ".exponent", ".optimum")
    return quantities


def _slopes(x: dict[str, Floats], loss: Floats) -> dict[str, float]:
    """Return the nats per doubling of each axis, common to all values of the others."""
    slopes = {}
    for name, column in x.items():
        others = [other for key, other in x.items() if key != name]
        groups = list(zip(*others, strict=True)) if others else None
        with suppress(FitError):
            slopes[f"{name} a doubling"] = fit_slope(column, loss, groups).per_doubling
    return slopes


def _fit_sweeps(x: dict[str, Floats], losses: Floats, seeds: list[int]) -> list[Fit]:
    """Fit the additive form over the axes with enough values; no fits if there are too few."""
    enough = [name for name in x if len(np.unique(x[name])) >= Additive.least_values]
    terms = tuple(name for name in enough if name != CHUNK)
    bends = tuple(name for name in enough if name == CHUNK)
    if not terms:
        return []
    sets = [Points.of({name: x[name] for name in (*terms, *bends)}, loss) for loss in losses]
    try:
        return fit_many(sets, Additive(terms, bends), seeds)
    except FitError:
        return []


def _best_size(design: Design, rows: Numbers, fit: Fit) -> dict[str, float]:
    """Return the exponents of the surface, and of the best size in the budget."""
    budget = np.array([cell.share for cell in design.cells])[rows]
    powers = isoflop(fit, budget).powers[SIZE]
    return _named(fit, ".exponent") | {
        f"best size in the budget ({method})": power.exponent for method, power in powers.items()
    }


def _named(fit: Fit, *ends: str) -> dict[str, float]:
    """Return the fitted parameters whose names have one of these ends."""
    return {name: value for name, value in fit.named_parameters.items() if name.endswith(ends)}
