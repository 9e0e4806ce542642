"""Standard errors to expect of a design, by simulation with the project's own fitter.

The user guesses what each axis adds to the loss at its smallest value, with which exponent that
falls, and the noise of a run. Every simulation draws the losses of all runs and fits them.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from model import accounting
from scaling.fitting.fit import Fit, fit_many
from scaling.fitting.forms import Additive
from scaling.fitting.isoflop import isoflop
from scaling.fitting.points import Points
from scaling.fitting.slope import FitError, Floats, Numbers, fit_slope
from scaling.fitting.uncertainty import percentile_interval, standard_deviation
from scaling.planning.design import Cell, Design

IRREDUCIBLE = 3.0
"""Nats of the loss that no axis lowers: only differences matter to what is simulated."""
SIMULATIONS = 200
CHUNK = "model.chunk"
SIZE, DATA = "size", "data"


@dataclass(frozen=True)
class AssumedEffect:
    """What an axis adds at its smallest value, in nats, and the exponent with which that falls.

    Of a chunk, whose best value lies inside, what both ends have above it; the exponent says
    nothing then.
    """

    reducible: float = 0.05
    exponent: float = 0.3


@dataclass(frozen=True)
class ExpectedError:
    """What the fits of the simulated sweeps come to.

    ``truth`` is None where there is none to know; ``standard_error`` the standard deviation over
    the simulations and ``interval`` where 95 % of them lie, None where none gave a number.
    """

    quantity: str
    truth: float | None
    standard_error: float | None
    interval: tuple[float, float] | None


def expected(
    made: Design,
    noise: float,
    guesses: Mapping[str, AssumedEffect],
    *,
    simulations: int = SIMULATIONS,
    seed: int = 0,
) -> list[ExpectedError]:
    """Slopes a doubling and exponents, or those of the best size; ``noise`` in nats a run."""
    columns, truth = surface(made, guesses)
    rows = np.repeat(np.arange(len(made.cells)), [cell.seeds for cell in made.cells])
    generator = np.random.default_rng(seed)
    drawn = truth[rows] + noise * generator.normal(size=(simulations, len(rows)))
    # What is fitted to losses without noise is the truth.
    losses, seeds = np.vstack([truth[rows], drawn]), [0, *range(simulations)]
    known, *measured = _measured(made, columns, rows, losses, seeds)
    found: dict[str, list[float]] = {}
    for name, value in (pair for one in measured for pair in one.items()):
        found.setdefault(name, []).append(value)
    return [
        ExpectedError(
            name, known.get(name), standard_deviation(np.array(v)), percentile_interval(np.array(v))
        )
        for name, v in found.items()
    ]


def surface(made: Design, guesses: Mapping[str, AssumedEffect]) -> tuple[dict[str, Floats], Floats]:
    """Columns of the cells by name, and the losses (cells,) that the guesses give them.

    An axis of two values carries no law, and changes nothing here: its slope's error is the same.
    """
    if made.kind == "isoflop":
        columns = {
            SIZE: np.array([sum(_parameters(cell).values()) for cell in made.cells], float),
            DATA: np.array([cell.targets for cell in made.cells], float),
        }
    else:
        columns = {
            axis: np.array([cell.values[axis] for cell in made.cells], float)
            for axis, values in made.axes.items()
            if len(set(values)) > 1
        }
    loss = np.full(len(made.cells), IRREDUCIBLE)
    for name, x in columns.items():
        guess = guesses.get(name, AssumedEffect())
        if len(np.unique(x)) < Additive.least_values:
            continue
        if name == CHUNK:
            away = np.log(x / np.sqrt(x.min() * x.max()))
            loss += guess.reducible * (away / np.abs(away).max()) ** 2
        else:
            loss += guess.reducible * (x / x.min()) ** -guess.exponent
    return columns, loss


def _measured(
    made: Design, columns: dict[str, Floats], rows: Numbers, losses: Floats, seeds: list[int]
) -> list[dict[str, float]]:
    """What is fitted to the losses (sweeps, runs) of each sweep, by name."""
    x = {name: column[rows] for name, column in columns.items()}
    fitted = _fitted(x, losses, seeds)
    if made.kind == "isoflop":
        return [_best_size(made, rows, one) for one in fitted] or [{}] * len(losses)
    found = [_slopes(x, loss) for loss in losses]
    for slopes, one in zip(found, fitted, strict=False):
        ends = (".exponent", ".optimum")
        slopes |= {
            name: value for name, value in one.named_parameters.items() if name.endswith(ends)
        }
    return found


def _slopes(x: dict[str, Floats], loss: Floats) -> dict[str, float]:
    """Nats a doubling of each axis, common to all values of the others."""
    found = {}
    for name, column in x.items():
        others = [other for key, other in x.items() if key != name]
        groups = list(zip(*others, strict=True)) if others else None
        try:
            slope = fit_slope(column, loss, None, groups)
        except FitError:
            continue
        found[f"{name} a doubling"] = slope.per_doubling
    return found


def _fitted(x: dict[str, Floats], losses: Floats, seeds: list[int]) -> list[Fit]:
    """The additive form over the axes with enough values; nothing where they do not carry it."""
    enough = {
        name: column
        for name, column in x.items()
        if len(np.unique(column)) >= Additive.least_values
    }
    terms = tuple(name for name in enough if name != CHUNK)
    bends = tuple(name for name in enough if name == CHUNK)
    if not terms:
        return []
    used = {name: enough[name] for name in (*terms, *bends)}
    sets = [Points.of(used, loss) for loss in losses]
    try:
        return fit_many(sets, Additive(terms, bends), seeds)
    except FitError:
        return []


def _best_size(made: Design, rows: Numbers, fitted: Fit) -> dict[str, float]:
    """Exponents of the surface, and of the best size in the budget."""
    found = {
        name: value for name, value in fitted.named_parameters.items() if name.endswith(".exponent")
    }
    budget = np.array([cell.share for cell in made.cells])[rows]
    powers = isoflop(fitted, budget).powers[SIZE]
    return found | {
        f"best size in the budget ({method})": power.exponent for method, power in powers.items()
    }


def _parameters(cell: Cell) -> dict[str, int]:
    return accounting.parameters(cell.config.model)
