"""Comparison of forms on the same points: AICc, and the error on left-out configurations."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from scaling.fitting.fit import Fit, fit, refit
from scaling.fitting.forms import FORMS, Additive
from scaling.fitting.objective import Objective
from scaling.fitting.points import Points
from scaling.fitting.slope import FitError

MAX_FOLDS = 200  # with more configurations, several are left out at once
SEED = 0  # of the division into folds


@dataclass(frozen=True)
class FormScore:
    """Scores of one form.

    ``aicc`` is that of its least-squares fit in the space of the objective (Hurvich and Tsai 1989,
    Biometrika 76, 297-307). ``left_out_error`` is the mean absolute relative error on left-out
    configurations, fitted by the objective itself. ``problem`` is the reason if both are missing.
    """

    name: str
    parameters: int
    aicc: float | None = None
    left_out_error: float | None = None
    problem: str | None = None


def compare_forms(chosen: Fit) -> list[FormScore]:
    """Score every form that suits the columns of a fit, on its points, with its objective."""
    scores = []
    for name, form, points in _alternatives(chosen.form, chosen.points):
        try:
            squares = fit(points, form, Objective("mse", chosen.objective.space), num_redraws=0)
            fitted = fit(points, form, chosen.objective, num_redraws=0)
            score = FormScore(name, form.num_free, aicc(squares), left_out_error(fitted))
        except FitError as error:
            score = FormScore(name, form.num_free, problem=str(error))
        scores.append(score)
    return scores


def aicc(squares: Fit) -> float | None:
    """Return AICc, or None if the fit leaves too few rows for its correction."""
    rows, count = len(squares.points.loss), squares.form.num_free + 1  # and the variance
    if rows - count - 1 < 1 or squares.value <= 0:
        return None
    correction = 2 * count * (count + 1) / (rows - count - 1)
    return float(rows * np.log(squares.value / rows) + 2 * count + correction)


def left_out_error(fitted: Fit) -> float | None:
    """Return the mean absolute relative error of configurations, predicted by fits without them."""
    points, count = fitted.points, fitted.points.num_configurations
    if count <= fitted.form.num_free:
        return None
    order = np.random.default_rng(SEED).permutation(count)
    folds = np.array_split(order, min(count, MAX_FOLDS))
    fold_of = np.empty(count, int)
    fold_of[order] = np.repeat(np.arange(len(folds)), [len(fold) for fold in folds])
    of_row = fold_of[points.member]
    kept = (of_row != np.arange(len(folds))[:, None]).astype(float)
    parameters = refit(fitted.problem, kept, fitted.parameters[None])
    predicted = fitted.form.curve(parameters, points.position)[0][of_row, np.arange(len(of_row))]
    return float(np.mean(np.abs(predicted / points.loss - 1)))


def _alternatives(form: Additive, points: Points) -> Iterator[tuple[str, Additive, Points]]:
    """Yield each form that takes these terms, then additive without E and without each term."""
    for name, kind in FORMS.items():
        try:
            yield name, kind(form.terms, form.quadratics), points
        except FitError:
            continue
    plain = Additive(form.terms, form.quadratics)
    yield "additive without E", replace(plain, irreducible=False), points
    for dropped in form.terms:
        others = tuple(term for term in form.terms if term != dropped)
        if others:
            name = f"additive without {dropped}"
            yield name, replace(plain, terms=others), points.without(dropped)
