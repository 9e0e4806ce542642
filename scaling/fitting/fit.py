"""A loss surface fitted to points: the best parameters, and how far the starts agree on them.

The recipe is the Huber loss on log L of Hoffmann et al. 2022 (arXiv 2203.15556, appendix D.3) with
the corrections of Besiroglu et al. 2024 (arXiv 2404.10102): an optimiser that no scale of the
objective stops early. Covariates are centred, gradients analytic, starts come from the data, and
several of many must agree on the optimum. Losses are in the unit of the points.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from scaling.fitting.bootstrap import redraw
from scaling.fitting.forms import Additive
from scaling.fitting.minimise import Optima, Problem, minimise
from scaling.fitting.objective import Objective
from scaling.fitting.points import Points
from scaling.fitting.slope import FitError, Floats

NUM_STARTS = 24
MIN_STARTS_AGREEING = 3
MORE_CONFIGURATIONS = 3  # than parameters, for a fit to be trusted and redrawn
AGREEMENT = 1e-6  # of the objective
ITERATIONS = 600
TOLERANCE = 1e-13


@dataclass(frozen=True)
class Fit:
    """A form with the parameters that fit the points best.

    ``parameters`` has shape (parameters,) in the order of the form; ``value`` is the plain sum of
    the objective over the rows; ``redraws`` holds the parameters refitted to redrawn
    configurations, shape (redraws, parameters), and is empty where they are too few.
    """

    points: Points
    form: Additive
    objective: Objective
    parameters: Floats
    value: float
    optima: Optima = field(repr=False)
    redraws: Floats = field(repr=False)

    @property
    def starts_agreeing(self) -> int:
        """How many starts came to the best objective."""
        # The absolute term lets exact data agree: their objective is zero but for rounding.
        reach = (
            self.value * (1 + AGREEMENT)
            + fit_problem(self.points, self.form, self.objective).nothing
        )
        return int(np.sum(self.optima.values <= reach))

    @property
    def converged(self) -> bool:
        """Whether the best fit ended by itself and enough starts came to it."""
        best = int(np.argmin(self.optima.values))
        return bool(self.optima.converged[best]) and self.starts_agreeing >= MIN_STARTS_AGREEING

    @property
    def named_parameters(self) -> dict[str, float]:
        """The form's own parameters by name, in the units of the columns."""
        values = self.form.named_parameters(self.parameters[None], self.points.centres)
        return {name: float(value[0]) for name, value in values.items()}

    @property
    def predicted(self) -> Floats:
        """Losses that the fit gives its own rows, shape (rows,)."""
        return self.at(self.points.x)

    @property
    def residual(self) -> Floats:
        """Residuals in the space of the objective, shape (rows,)."""
        return self.objective.residual(self.predicted, self.points.loss)

    def at(self, x: Floats) -> Floats:
        """Losses at rows of columns x, shape (rows, columns); the result has shape (rows,)."""
        losses: Floats = self.curves(x, self.parameters[None])[0]
        return losses

    def curves(self, x: Floats, parameters: Floats) -> Floats:
        """Losses at x for each set of parameters, shape (sets, rows)."""
        position = np.log(np.asarray(x, float)) - np.log(self.points.centres)
        return self.form.curve(parameters, position)[0]

    def added(self) -> Floats:
        """What each term adds to the loss at each row, shape (rows, terms)."""
        alone = np.tile(self.parameters, (len(self.form.terms), 1))
        count = len(self.form.terms)
        alone[:, 1 : 1 + count] *= np.eye(count)
        alone[:, :1] = 0
        alone[:, 1 + self.form.num_powers :] = 0
        added: Floats = self.form.curve(alone, self.points.position)[0].T
        return added


def fit_problem(points: Points, form: Additive, objective: Objective) -> Problem:
    """The fit of this form to these points, as the optimiser takes it."""
    lower, upper = form.bounds(points.loss)
    return Problem(form, objective, points.position, points.loss, lower, upper)


def fit(
    points: Points,
    form: Additive,
    objective: Objective,
    *,
    num_redraws: int = 200,
    seed: int = 0,
) -> Fit:
    """Fit a form to points. ``seed`` is that of the starts and of the redraws.

    Raises :class:`FitError` where the form has more parameters than there are different places in
    the columns, or a column has too few different values.
    """
    generator = np.random.default_rng(seed)
    (found,) = _fitted([points], form, objective, [generator])
    if num_redraws and enough_to_redraw(points, form):
        problem = fit_problem(points, form, objective)
        redraws = redraw(problem, points, form, found.parameters, num_redraws, generator)
        return replace(found, redraws=redraws)
    return found


def fit_many(sets: Sequence[Points], form: Additive, seeds: Sequence[int]) -> list[Fit]:
    """Fits to sets of points that differ in nothing but their losses, all at once.

    Each is what :func:`fit` gives with its seed, the default objective and no redraws, and raises
    the same.
    """
    return _fitted(sets, form, Objective(), [np.random.default_rng(seed) for seed in seeds])


def _fitted(
    sets: Sequence[Points],
    form: Additive,
    objective: Objective,
    generators: Sequence[np.random.Generator],
) -> list[Fit]:
    """The best of many starts for each set."""
    first = sets[0]
    _check(first, form)
    starts = [
        form.starts(points.loss, NUM_STARTS, generator)
        for points, generator in zip(sets, generators, strict=True)
    ]
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
    return [
        _best(points, form, objective, optima.of(slice(at * NUM_STARTS, (at + 1) * NUM_STARTS)))
        for at, points in enumerate(sets)
    ]


def _best(points: Points, form: Additive, objective: Objective, optima: Optima) -> Fit:
    best = int(np.argmin(optima.values))
    return Fit(
        points=points,
        form=form,
        objective=objective,
        parameters=optima.parameters[best],
        value=float(optima.values[best]),
        optima=optima,
        redraws=np.empty((0, form.num_parameters)),
    )


def enough_to_redraw(points: Points, form: Additive) -> bool:
    """Whether redrawn configurations can be expected to determine the form."""
    return points.num_configurations >= form.num_free + MORE_CONFIGURATIONS


def _check(points: Points, form: Additive) -> None:
    places = len(np.unique(points.x, axis=0))
    if places < form.num_free:
        raise FitError(
            f"rows with {places} different sets of {', '.join(points.names)} cannot carry the "
            f"{form.num_free} parameters of the {form.name} form: give more rows, fewer terms or a "
            "form of fewer parameters."
        )
    for index, name in enumerate(points.names):
        values = len(np.unique(points.x[:, index]))
        needed = form.least_values if name in form.terms else Additive.least_values
        if values < needed:
            raise FitError(
                f"{name} has {values} different value{'s' * (values != 1)}: the {form.name} form "
                f"needs at least {needed} of each column. Leave {name} out, or add rows."
            )
