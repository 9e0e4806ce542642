"""Fit a loss surface to points, from many starts, and refit it to redrawn configurations.

The recipe is the Huber loss on log L of Hoffmann et al. 2022 (arXiv 2203.15556, appendix D.3) with
the corrections of Besiroglu et al. 2024 (arXiv 2404.10102): an optimizer that no scale of the
objective stops early. Covariates are centred, gradients are analytic, starts come from the data,
and several starts must agree on the optimum. Losses have the unit of the points.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from scaling.fitting.forms import Additive
from scaling.fitting.minimise import Optima, Problem, minimise
from scaling.fitting.objective import Objective
from scaling.fitting.points import Points
from scaling.fitting.slope import FitError, Floats, Numbers

NUM_STARTS = 24
MIN_STARTS_AGREEING = 3
MORE_CONFIGURATIONS = 3  # than parameters, for a fit to be trusted and redrawn
AGREEMENT = 1e-6  # of the objective
ITERATIONS = 600
TOLERANCE = 1e-13

REFIT_STARTS = 2  # the best fit, and one more
REFIT_ITERATIONS = 100
REFIT_TOLERANCE = 1e-9  # percentiles need no more, and flat valleys would cost minutes
MAX_TRIES = 50  # for each redraw, until one determines the form


@dataclass(frozen=True)
class Fit:
    """A form with the parameters, shape (parameters,), that fit the points best.

    ``value`` is the plain sum of the objective over the rows. ``redraws`` (redraws, parameters) are
    refitted to redrawn configurations; empty if there are too few configurations.
    """

    points: Points
    form: Additive
    objective: Objective
    parameters: Floats
    value: float
    optima: Optima = field(repr=False)
    redraws: Floats = field(repr=False)

    @property
    def problem(self) -> Problem:
        """The optimiser's problem of this fit."""
        return fit_problem(self.points, self.form, self.objective)

    @property
    def starts_agreeing(self) -> int:
        """Number of starts that reached the best objective."""
        # The absolute term lets exact data agree: their objective is zero but for rounding.
        highest = self.value * (1 + AGREEMENT) + self.problem.rounding_error
        return int(np.sum(self.optima.values <= highest))

    @property
    def converged(self) -> bool:
        """Return whether the best start converged and enough starts agree with it."""
        best = int(np.argmin(self.optima.values))
        return bool(self.optima.converged[best]) and self.starts_agreeing >= MIN_STARTS_AGREEING

    @property
    def named_parameters(self) -> dict[str, float]:
        """The form's own parameters by name, in the units of the columns."""
        values = self.form.named_parameters(self.parameters[None], self.points.centres)
        return {name: float(value[0]) for name, value in values.items()}

    @property
    def predicted(self) -> Floats:
        """Predicted losses of the fitted rows, shape (rows,)."""
        return self.at(self.points.x)

    @property
    def residual(self) -> Floats:
        """Residuals in the space of the objective, shape (rows,)."""
        return self.objective.residual(self.predicted, self.points.loss)

    @property
    def freedom(self) -> int:
        """Number of rows less the fitted parameters, at least 1."""
        return max(len(self.points.loss) - self.form.num_free, 1)

    def at(self, x: Floats) -> Floats:
        """Return the predicted losses (rows,) at x, shape (rows, columns)."""
        return np.asarray(self.curves(x, self.parameters[None])[0])

    def curves(self, x: Floats, parameters: Floats) -> Floats:
        """Return the losses (sets, rows) at x for each set of parameters (sets, parameters)."""
        position = np.log(np.asarray(x, float)) - np.log(self.points.centres)
        return self.form.curve(parameters, position)[0]

    def added(self) -> Floats:
        """Return the part of the loss that each term adds to each row, shape (rows, terms)."""
        count = len(self.form.terms)
        alone = np.tile(self.parameters, (count, 1))
        alone[:, 1 : 1 + count] *= np.eye(count)
        alone[:, :1] = 0
        alone[:, 1 + self.form.num_powers :] = 0
        return self.form.curve(alone, self.points.position)[0].T


def fit_problem(points: Points, form: Additive, objective: Objective) -> Problem:
    """Return the optimizer's problem of fitting this form to these points."""
    lower, upper = form.bounds(points.loss)
    return Problem(form, objective, points.position, points.loss, lower, upper)


def fit(
    points: Points, form: Additive, objective: Objective, *, num_redraws: int = 200, seed: int = 0
) -> Fit:
    """Fit a form to points; ``seed`` draws the starts and the redraws.

    FitError if there are fewer different rows than parameters, or too few values of a column.
    """
    generator = np.random.default_rng(seed)
    (best,) = _fit_sets([points], form, objective, [generator])
    if num_redraws and points.num_configurations >= form.num_free + MORE_CONFIGURATIONS:
        return replace(best, redraws=_redraw(best, num_redraws, generator))
    return best


def fit_many(sets: Sequence[Points], form: Additive, seeds: Sequence[int]) -> list[Fit]:
    """Fit sets of points that differ in their losses alone, all at once.

    Each result equals that of :func:`fit` with its seed, the default objective and no redraws.
    """
    return _fit_sets(sets, form, Objective(), [np.random.default_rng(seed) for seed in seeds])


def _fit_sets(
    sets: Sequence[Points],
    form: Additive,
    objective: Objective,
    generators: Sequence[np.random.Generator],
) -> list[Fit]:
    """Return the best of many starts for each set."""
    first = sets[0]
    _check(first, form)
    pairs = zip(sets, generators, strict=True)
    starts = [form.starts(points.loss, NUM_STARTS, generator) for points, generator in pairs]
    loss, lower, upper = (
        np.repeat(np.stack(each), NUM_STARTS, axis=0)
        for each in zip(*[(points.loss, *form.bounds(points.loss)) for points in sets], strict=True)
    )
    optima = minimise(
        Problem(form, objective, first.position, loss, lower, upper),
        np.ones_like(loss),
        np.concatenate(starts),
        widths=objective.widths(first.loss),
        iterations=ITERATIONS,
        tolerance=TOLERANCE,
    )
    fits, none = [], np.empty((0, form.num_parameters))
    for at, points in enumerate(sets):
        own = optima.of(slice(at * NUM_STARTS, (at + 1) * NUM_STARTS))
        best = int(np.argmin(own.values))
        parameters, value = own.parameters[best], float(own.values[best])
        fits.append(Fit(points, form, objective, parameters, value, own, none))
    return fits


def _check(points: Points, form: Additive) -> None:
    distinct = len(np.unique(points.x, axis=0))
    if distinct < form.num_free:
        raise FitError(
            f"{distinct} different rows of {', '.join(points.names)} cannot determine the "
            f"{form.num_free} parameters of the {form.name} form: give more rows, fewer terms or a "
            "form with fewer parameters."
        )
    for name, column in zip(points.names, points.x.T, strict=True):
        values, needed = len(np.unique(column)), form.values_needed(name)
        if values < needed:
            raise FitError(
                f"{name} has {values} different value{'s' * (values != 1)}: the {form.name} form "
                f"needs at least {needed} of each column. Leave {name} out, or add rows."
            )


def _redraw(best: Fit, number: int, generator: np.random.Generator) -> Floats:
    """Refit the form to redrawn configurations; return parameters (redraws, parameters).

    This is the pairs bootstrap by cluster: the unit is the configuration, since its rows (seeds,
    checkpoints, evaluations) are not independent. A redraw that cannot determine the form is drawn
    again. If none can, fewer than ``number`` come back.
    """
    points, form, size = best.points, best.form, best.points.num_configurations
    weights: list[Floats] = []
    for _ in range(MAX_TRIES * number):
        drawn = np.bincount(generator.integers(size, size=size), minlength=size)
        if _determines(drawn, points, form):
            weights.append(drawn[points.member].astype(float))
        if len(weights) == number:
            break
    if not weights:
        return np.empty((0, form.num_parameters))
    others = form.starts(points.loss, REFIT_STARTS - 1, generator)
    return refit(best.problem, np.array(weights), np.vstack([best.parameters, others]))


def _determines(drawn: Numbers, points: Points, form: Additive) -> bool:
    """Return whether a redraw has enough configurations and enough values of each column."""
    present = points.x[drawn[points.member] > 0]
    return bool(np.count_nonzero(drawn) >= form.num_free) and all(
        len(np.unique(column)) >= form.values_needed(name)
        for name, column in zip(points.names, present.T, strict=True)
    )


def refit(problem: Problem, weights: Floats, starts: Floats) -> Floats:
    """Return the best parameters (fits, parameters) for each row of weights (fits, rows).

    ``starts`` has shape (starts, parameters); its first row must fit all rows best.
    """
    residual = problem.residuals(starts[:1])[0][0]
    optima = minimise(
        problem,
        np.repeat(weights, len(starts), axis=0),
        np.tile(starts, (len(weights), 1)),
        widths=problem.objective.widths(problem.loss, residual),
        iterations=REFIT_ITERATIONS,
        tolerance=REFIT_TOLERANCE,
    )
    values = optima.values.reshape(len(weights), len(starts))
    candidates = optima.parameters.reshape(len(weights), len(starts), -1)
    return np.asarray(candidates[np.arange(len(weights)), values.argmin(axis=1)])
