"""A fit of a table of runs, with everything that is asked beside it."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np

from scaling.expression import Expression
from scaling.findings import Finding, noise_of, of_data, of_fit
from scaling.fit import Fit, fit
from scaling.fit_content import (
    details,
    fit_content,
    frontier_content,
    holdout_content,
    isoflop_content,
    plain,
)
from scaling.fit_request import Asked
from scaling.forms import FORMS
from scaling.forms_compared import compare_forms
from scaling.frontier import Cost, Frontier, frontier
from scaling.isoflop import isoflop
from scaling.isoflop_findings import of_isoflop
from scaling.load import ConfigError
from scaling.loss_table import LOSS, LossTable, column, read
from scaling.objective import Objective
from scaling.prediction import Prediction, predict
from scaling.slope import Floats
from scaling.stability import of_refits
from scaling.uncertainty import uncertainty

FAR = 10.0  # beyond the data by this factor, a prediction is a long shot


def analyse(asked: Asked) -> dict[str, Any]:
    """Fit the table as asked. Raises :class:`ConfigError` where it cannot be asked of the table,
    and :class:`FitError` where its rows cannot carry the fit."""
    terms, quadratics = asked.named()
    table = LossTable(
        frame=read(asked.table),
        loss=asked.loss,
        covariates=terms | quadratics,
        where=asked.where,
        holdout=asked.holdout,
        group=asked.group,
    )
    form = FORMS[asked.form](tuple(terms), tuple(quadratics), asked.irreducible)
    objective = Objective(asked.objective, asked.space, asked.delta)
    cost = None if asked.cost is None else Expression.of(asked.cost, table.covariates, "--cost")
    made = fit(table.points(), form, objective, num_redraws=asked.bootstrap, seed=asked.seed)
    known = uncertainty(made)
    held_out = _held_out(made, table)
    profiles = isoflop(made, _budgets(asked.isoflop, table)) if asked.isoflop else None
    best = frontier(made, _cost(cost, made), tuple(asked.at)) if cost else None
    warnings = [
        *table.row_findings(),
        *of_data(made.points, form),
        *of_fit(made, known, noise_of(made)),
        *of_refits(made, known),
        *_of_reach(held_out, best),
        *(of_isoflop(profiles) if profiles else ()),
    ]
    content = {
        **fit_content(made, known, best),
        "holdout": held_out and holdout_content(held_out, table.held_out),
        "warnings": [asdict(warning) for warning in warnings],
        "converged": made.converged,
        **details(made, known),
        "forms": [asdict(score) for score in compare_forms(made)] if asked.compare else None,
        "isoflop": profiles and isoflop_content(profiles, asked.at),
        "frontier": best and frontier_content(best),
        "asked": {**asdict(asked), "table": str(asked.table)},
    }
    result: dict[str, Any] = plain(content)
    return result


def _budgets(text: str, table: LossTable) -> Floats:
    budgets = column(table.frame, text, "--isoflop")[table.fitted]
    if not (np.isfinite(budgets) & (budgets > 0)).all():
        raise ConfigError([f"--isoflop {text!r} has no positive number in some row: see --where"])
    return budgets


def _cost(expression: Expression, made: Fit) -> Cost:
    def cost(x: Floats) -> Floats:
        spent = expression(dict(zip(made.points.names, x.T, strict=True)))
        return np.broadcast_to(np.asarray(spent, float), len(x))

    return cost


def _held_out(made: Fit, table: LossTable) -> Prediction | None:
    rows = table.held_out
    if not rows.any():
        return None
    x = np.column_stack([table.values[name][rows] for name in table.covariates])
    return predict(made, x, table.values[LOSS][rows])


def _of_reach(held_out: Prediction | None, best: Frontier | None) -> Iterator[Finding]:
    if held_out is not None and held_out.reach.max() > FAR:
        yield Finding(
            "far_extrapolation",
            f"Held-out rows lie up to {held_out.reach.max():.3g} times beyond the fitted range.",
        )
    for point in best.best if best else ():
        if max(point.reach, point.cost_reach) > FAR:
            yield Finding(
                "far_extrapolation",
                f"The best sizes at a budget of {point.budget:.3g} lie {point.reach:.3g} times "
                f"beyond the fitted range, the budget {point.cost_reach:.3g} times beyond it.",
            )
