"""Forms beside each other on the same points: AICc, and the error on configurations left out."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from scaling.fitting.bootstrap import refit
from scaling.fitting.fit import Fit, fit, fit_problem
from scaling.fitting.forms import FORMS, Additive
from scaling.fitting.objective import Objective
from scaling.fitting.points import Points
from scaling.fitting.slope import FitError

MOST_FOLDS = 200  # beyond so many configurations, several are left out at once
SEED = 0  # of who shares a fold


@dataclass(frozen=True)
class FormScore:
    """How well one form does.

    ``aicc`` is that of its least-squares fit in the space of the objective (Hurvich and Tsai 1989),
    ``left_out_error`` the mean absolute relative error on left-out configurations by the objective
    itself. ``problem`` says why there is neither.
    """

    name: str
    parameters: int
    aicc: float | None = None
    left_out_error: float | None = None
    problem: str | None = None


def compare_forms(chosen: Fit) -> list[FormScore]:
    """Every form that suits the columns of a fit, scored on its points with its objective."""
    scores = []
    for name, form, points in _alternatives(chosen.form, chosen.points):
        try:
            squares = fit(points, form, Objective("mse", chosen.objective.space), num_redraws=0)
            made = fit(points, form, chosen.objective, num_redraws=0)
        except FitError as error:
            scores.append(FormScore(name, form.num_free, problem=str(error)))
            continue
        scores.append(FormScore(name, form.num_free, aicc(squares), left_out_error(made)))
    return scores


def aicc(squares: Fit) -> float | None:
    """Akaike's criterion with its correction for few rows; None where too few are left for it."""
    rows, fitted = len(squares.points.loss), squares.form.num_free + 1  # and the variance
    if rows - fitted - 1 < 1 or squares.value <= 0:
        return None
    correction = 2 * fitted * (fitted + 1) / (rows - fitted - 1)
    return float(rows * np.log(squares.value / rows) + 2 * fitted + correction)


def left_out_error(made: Fit) -> float | None:
    """Mean absolute relative error of each configuration, predicted by a fit without it."""
    points, count = made.points, made.points.num_configurations
    if count <= made.form.num_free:
        return None
    order = np.random.default_rng(SEED).permutation(count)
    folds = np.array_split(order, min(count, MOST_FOLDS))
    fold_of = np.empty(count, int)
    for index, fold in enumerate(folds):
        fold_of[fold] = index
    of_row = fold_of[points.member]
    kept = (of_row != np.arange(len(folds))[:, None]).astype(float)
    problem = fit_problem(points, made.form, made.objective)
    parameters = refit(problem, kept, made.parameters[None])
    predicted = made.form.curve(parameters, points.position)[0][of_row, np.arange(len(of_row))]
    return float(np.mean(np.abs(predicted / points.loss - 1)))


def _alternatives(form: Additive, points: Points) -> Iterator[tuple[str, Additive, Points]]:
    """The forms to try: each that takes these terms, without E, and without each term."""
    for name, kind in FORMS.items():
        try:
            yield name, kind(form.terms, form.quadratics), points
        except FitError:
            continue
    plain = Additive(form.terms, form.quadratics)
    yield "additive without E", replace(plain, irreducible=False), points
    for left in form.terms:
        others = tuple(term for term in form.terms if term != left)
        if others:
            yield f"additive without {left}", replace(plain, terms=others), points.without(left)
