"""A surface refitted to redrawn or reweighted configurations.

The unit is the configuration (pairs bootstrap by cluster): rows of one configuration, such as
seeds, checkpoints or evaluations, are no independent evidence.
"""

import numpy as np

from scaling.fitting.forms import Additive
from scaling.fitting.minimise import Mask, Problem, minimise
from scaling.fitting.points import Points
from scaling.fitting.slope import Floats, Numbers

NUM_STARTS_REDRAWN = 2
TRIES = 50  # for each redraw, until one determines the form
ITERATIONS = 100
TOLERANCE = 1e-9  # percentiles need no more, and flat valleys would cost minutes


def redraw(
    problem: Problem,
    points: Points,
    form: Additive,
    best: Floats,
    number: int,
    generator: np.random.Generator,
) -> Floats:
    """Parameters refitted to redrawn configurations, shape (number, parameters).

    A redraw that cannot determine the form (fewer configurations than parameters, or too few
    values of a column) is drawn again; where none is found, fewer come back.
    """
    size = points.num_configurations
    times: list[Floats] = []
    for _ in range(TRIES * number):
        drawn = np.bincount(generator.integers(size, size=size), minlength=size)
        if _determines(drawn[points.member] > 0, drawn, points, form):
            times.append(drawn[points.member].astype(float))
        if len(times) == number:
            break
    if not times:
        return np.empty((0, form.num_parameters))
    others = form.starts(problem.loss, NUM_STARTS_REDRAWN - 1, generator)
    return refit(problem, np.array(times), np.vstack([best, others]))


def refit(problem: Problem, weights: Floats, starts: Floats) -> Floats:
    """Best parameters for each row of weights (fits, rows), shape (fits, parameters).

    ``starts`` has shape (starts, parameters) and the parameters that fit all rows best first.
    """
    residual = problem.residuals(starts[:1])[0][0]
    optima = minimise(
        problem,
        np.repeat(weights, len(starts), axis=0),
        np.tile(starts, (len(weights), 1)),
        widths=problem.objective.widths(problem.loss, residual),
        iterations=ITERATIONS,
        tolerance=TOLERANCE,
    )
    values = optima.values.reshape(len(weights), len(starts))
    chosen = optima.parameters.reshape(len(weights), len(starts), -1)
    picked: Floats = chosen[np.arange(len(weights)), values.argmin(axis=1)]
    return picked


def _determines(present: Mask, drawn: Numbers, points: Points, form: Additive) -> bool:
    if np.count_nonzero(drawn) < form.num_free:
        return False
    return all(
        len(np.unique(column)) >= (form.least_values if name in form.terms else 3)
        for name, column in zip(points.names, points.x[present].T, strict=True)
    )
