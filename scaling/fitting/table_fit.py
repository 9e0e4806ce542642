"""A fit of a table of runs, with everything that is asked beside it."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from scaling.config.load import ConfigError
from scaling.fitting.diagnostics import (
    Diagnostic,
    data_diagnostics,
    fit_diagnostics,
    isoflop_diagnostics,
    row_noise,
)
from scaling.fitting.expression import Expression
from scaling.fitting.fit import Fit, fit
from scaling.fitting.fit_content import (
    fit_content,
    fit_details,
    frontier_content,
    holdout_content,
    isoflop_content,
    to_json_values,
)
from scaling.fitting.fit_request import FitRequest
from scaling.fitting.forms import FORMS
from scaling.fitting.forms_compared import FormScore, compare_forms
from scaling.fitting.frontier import Cost, Frontier, frontier
from scaling.fitting.isoflop import IsoFlop, isoflop
from scaling.fitting.loss_table import LOSS, LossTable, table_column
from scaling.fitting.objective import Objective
from scaling.fitting.prediction import Prediction, predict
from scaling.fitting.slope import Floats
from scaling.fitting.stability import refit_diagnostics
from scaling.fitting.uncertainty import Uncertainty, uncertainty

Search = Callable[[Fit, LossTable], Frontier]

FAR = 10.0  # beyond the data by this factor, a prediction is a long shot


@dataclass(frozen=True)
class TableFit:
    """A fit with all that was asked beside it: None where it was not."""

    asked: FitRequest
    table: LossTable
    fit: Fit
    known: Uncertainty
    held_out: Prediction | None
    profiles: IsoFlop | None
    best: Frontier | None
    forms: list[FormScore] | None
    warnings: list[Diagnostic]

    def content(self) -> dict[str, Any]:
        """All of it as plain JSON values, by the names of docs/fitting.md."""
        asked, held_out, profiles = self.asked, self.held_out, self.profiles
        content = {
            **fit_content(self.fit, self.known, self.best),
            "holdout": held_out and holdout_content(held_out, self.table.held_out),
            "warnings": [asdict(warning) for warning in self.warnings],
            "converged": self.fit.converged,
            **fit_details(self.fit, self.known),
            "forms": [asdict(score) for score in self.forms] if self.forms else None,
            "isoflop": profiles and isoflop_content(profiles, asked.at),
            "frontier": self.best and frontier_content(self.best),
            "asked": {**asdict(asked), "table": str(asked.table)},
        }
        result: dict[str, Any] = to_json_values(content)
        return result


def fit_table(asked: FitRequest, frame: pd.DataFrame, search: Search | None = None) -> TableFit:
    """Fit the table ``frame`` as asked.

    ``search`` finds the frontier where ``asked.cost`` is no formula. Raises :class:`ConfigError`
    where it cannot be asked of the table, and :class:`FitError` where its rows cannot carry the
    fit.
    """
    terms, quadratics = asked.named()
    table = LossTable(
        frame=frame,
        loss=asked.loss,
        covariates=terms | quadratics,
        where=asked.where,
        holdout=asked.holdout,
        group=asked.group,
    )
    form = FORMS[asked.form](tuple(terms), tuple(quadratics), asked.irreducible)
    objective = Objective(asked.objective, asked.space, asked.delta)
    formula = None if asked.cost is None else Expression.of(asked.cost, table.covariates, "--cost")
    made = fit(table.points(), form, objective, num_redraws=asked.bootstrap, seed=asked.seed)
    known = uncertainty(made)
    held_out = _held_out(made, table)
    profiles = isoflop(made, _budgets(asked.isoflop, table)) if asked.isoflop else None
    best: Frontier | None
    if formula:
        best = frontier(made, _cost(formula, made), tuple(asked.at))
    else:
        best = search(made, table) if search else None
    warnings = [
        *table.row_findings(),
        *data_diagnostics(made.points, form),
        *fit_diagnostics(made, known, row_noise(made)),
        *refit_diagnostics(made, known),
        *_of_reach(held_out, best),
        *(isoflop_diagnostics(profiles) if profiles else ()),
    ]
    forms = compare_forms(made) if asked.compare else None
    return TableFit(
        *(asked, table, made, known, held_out, profiles, best, forms, warnings),
    )


def _budgets(text: str, table: LossTable) -> Floats:
    budgets = table_column(table.frame, text, "--isoflop")[table.fitted]
    if not np.isfinite(budgets).any() or (budgets <= 0).any():
        raise ConfigError(
            [f"--isoflop {text!r} holds 0 or less, or no number at all: name a column of budgets"]
        )
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


def _of_reach(held_out: Prediction | None, best: Frontier | None) -> Iterator[Diagnostic]:
    if held_out is not None and held_out.reach.max() > FAR:
        yield Diagnostic(
            "far_extrapolation",
            f"Held-out rows lie up to {held_out.reach.max():.3g} times beyond the fitted range.",
        )
    for point in best.best if best else ():
        if max(point.reach, point.cost_reach) > FAR:
            yield Diagnostic(
                "far_extrapolation",
                f"The best sizes at a budget of {point.budget:.3g} lie {point.reach:.3g} times "
                f"beyond the fitted range, the budget {point.cost_reach:.3g} times beyond it.",
            )
