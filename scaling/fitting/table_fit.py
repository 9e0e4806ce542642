"""Fit of a table of runs as a request asks for it, and its content as JSON.

The names of the content are a contract (docs/fitting.md).
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic_core import to_json

from scaling.config.load import ConfigError
from scaling.fitting.diagnostics import (
    Diagnostic,
    data_diagnostics,
    fit_diagnostics,
    isoflop_diagnostics,
    refit_diagnostics,
    row_noise,
)
from scaling.fitting.expression import Expression
from scaling.fitting.fit import NUM_STARTS, Fit, fit
from scaling.fitting.forms import FORMS, Additive
from scaling.fitting.forms_compared import FormScore, compare_forms
from scaling.fitting.frontier import Cost, Frontier, frontier
from scaling.fitting.isoflop import IsoFlop, isoflop
from scaling.fitting.loss_table import LOSS, LossTable, table_column
from scaling.fitting.objective import Kind, Objective, Space
from scaling.fitting.slope import Floats
from scaling.fitting.uncertainty import Prediction, Uncertainty, predict, uncertainty, wald

FrontierSearch = Callable[[Fit, LossTable], Frontier]

FAR = 10.0  # times beyond the data, from which a prediction gets a warning


@dataclass(frozen=True)
class FitRequest:
    """Options of a fit; ``terms`` and ``quadratics`` are texts ``NAME=COLUMN``."""

    table: Path
    loss: str
    terms: list[str]
    quadratics: list[str]
    form: str = Additive.name
    irreducible: bool = True
    objective: Kind = "huber"
    space: Space = "log"
    delta: float = 1e-3
    where: str | None = None
    group: str | None = None
    holdout: str | None = None
    bootstrap: int = 200
    seed: int = 0
    compare: bool = False
    isoflop: str | None = None
    cost: str | None = None
    at: list[float] = field(default_factory=list)

    def columns_by_name(self) -> tuple[dict[str, str], dict[str, str]]:
        """Return the columns of terms and of parabolas by name; ConfigError has every problem."""
        terms = _named_columns(self.terms, "--term")
        quadratics = _named_columns(self.quadratics, "--quadratic")
        if problems := list(self._problems(terms, quadratics)):
            raise ConfigError(problems)
        return terms, quadratics

    def parts(self, frame: pd.DataFrame) -> tuple[LossTable, Additive, Objective]:
        """Return the rows, the form and the objective; ConfigError as for the columns."""
        terms, quadratics = self.columns_by_name()
        covariates = terms | quadratics
        table = LossTable(frame, self.loss, covariates, self.where, self.holdout, self.group)
        form = FORMS[self.form](tuple(terms), tuple(quadratics), self.irreducible)
        return table, form, Objective(self.objective, self.space, self.delta)

    def _problems(self, terms: dict[str, str], quadratics: dict[str, str]) -> Iterator[str]:
        if both := terms.keys() & quadratics.keys():
            yield f"{min(both)!r} is a --term and a --quadratic: choose one"
        if {LOSS, "E"} & {*terms, *quadratics}:
            yield f"'E' and {LOSS!r} are names of the fit: choose other names for the columns"
        if not 0 < self.delta < np.inf:
            yield f"--delta is {self.delta}: write a number above 0, such as 1e-3"
        if self.bootstrap < 0 or self.bootstrap == 1:
            yield f"--bootstrap is {self.bootstrap}: write 0 for none, or 2 or more"
        if self.seed < 0:
            yield f"--seed is {self.seed}: write 0 or more"
        if self.at and not (self.cost or self.isoflop):
            yield "--at gives budgets, which need --cost or --isoflop: add one"
        if not all(0 < budget < np.inf for budget in self.at):
            yield f"--at is {self.at}: budgets are positive numbers, such as 1e21"
        if not terms:
            yield "there is no term: write at least one, such as --term N=COLUMN"


def _named_columns(texts: list[str], option: str) -> dict[str, str]:
    """Parse ``NAME=COLUMN`` options."""
    columns: dict[str, str] = {}
    for text in texts:
        name, sign, column = (part.strip() for part in text.partition("="))
        if not (name and sign and column):
            raise ConfigError(f"{option} {text!r}: write NAME=COLUMN, such as {option} N=params")
        if "." in name:
            raise ConfigError(
                f"{option} {text!r}: a name must have no dot: write {option} N=params"
            )
        if name in columns:
            raise ConfigError(f"{option} names {name!r} twice: give each column its own name")
        columns[name] = column
    return columns


@dataclass(frozen=True)
class TableFit:
    """The fit of a table with the further results of its request; None for those not requested."""

    request: FitRequest
    table: LossTable
    fit: Fit
    uncertainty: Uncertainty
    held_out: Prediction | None
    profiles: IsoFlop | None
    best: Frontier | None
    forms: list[FormScore] | None
    warnings: list[Diagnostic]

    def content(self) -> dict[str, Any]:
        """Return all of it as plain JSON values."""
        request, held_out, profiles = self.request, self.held_out, self.profiles
        content = {
            **_parameter_content(self.fit, self.uncertainty, self.best),
            "holdout": held_out and _holdout_content(held_out, self.table.held_out),
            "warnings": [asdict(warning) for warning in self.warnings],
            "converged": self.fit.converged,
            **_details(self.fit, self.uncertainty),
            "forms": [asdict(score) for score in self.forms] if self.forms else None,
            "isoflop": profiles and _isoflop_content(profiles, request.at),
            "frontier": self.best and asdict(self.best),
            "asked": {**asdict(request), "table": str(request.table)},
        }
        return dict(to_json_values(content))


def fit_table(
    request: FitRequest, frame: pd.DataFrame, search: FrontierSearch | None = None
) -> TableFit:
    """Fit the table ``frame`` as requested; ``search`` computes the frontier without a formula.

    ConfigError if the request does not suit the table, FitError if the rows cannot determine a fit.
    """
    table, form, objective = request.parts(frame)
    formula = None
    if request.cost is not None:
        formula = Expression.of(request.cost, table.covariates, "--cost")
    points = table.points()
    fitted = fit(points, form, objective, num_redraws=request.bootstrap, seed=request.seed)
    known = uncertainty(fitted)
    held_out = _predict_held_out(fitted, table)
    profiles = isoflop(fitted, _budgets(request.isoflop, table)) if request.isoflop else None
    best = search(fitted, table) if search and not formula else None
    if formula:
        best = frontier(fitted, _cost(formula, fitted), tuple(request.at))
    warnings = [
        *table.row_diagnostics(),
        *data_diagnostics(points, form),
        *fit_diagnostics(fitted, known, row_noise(fitted)),
        *refit_diagnostics(fitted, known),
        *_reach_diagnostics(held_out, best),
        *(isoflop_diagnostics(profiles) if profiles else ()),
    ]
    forms = compare_forms(fitted) if request.compare else None
    return TableFit(request, table, fitted, known, held_out, profiles, best, forms, warnings)


def _budgets(text: str, table: LossTable) -> Floats:
    budgets = table_column(table.frame, text, "--isoflop")[table.fitted]
    if not np.isfinite(budgets).any() or (budgets <= 0).any():
        raise ConfigError(
            f"--isoflop {text!r} has values of 0 or less, or no number: name a column of budgets"
        )
    return budgets


def _cost(formula: Expression, fit: Fit) -> Cost:
    def cost(x: Floats) -> Floats:
        spent = formula(dict(zip(fit.points.names, x.T, strict=True)))
        return np.broadcast_to(np.asarray(spent, float), len(x))

    return cost


def _predict_held_out(fit: Fit, table: LossTable) -> Prediction | None:
    rows = table.held_out
    if not rows.any():
        return None
    x = np.column_stack([table.values[name][rows] for name in table.covariates])
    return predict(fit, x, table.values[LOSS][rows])


def _reach_diagnostics(held_out: Prediction | None, best: Frontier | None) -> Iterator[Diagnostic]:
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
                f"beyond the fitted range, and the budget {point.cost_reach:.3g} times.",
            )


def _parameter_content(fit: Fit, known: Uncertainty, best: Frontier | None) -> dict[str, Any]:
    """Return the numbers of the fit; a frontier adds its compute exponents to the intervals."""
    values = fit.named_parameters
    parts = {
        name: {
            key.removeprefix(f"{name}."): value
            for key, value in values.items()
            if key.startswith(f"{name}.")
        }
        for name in fit.points.names
    }
    amplitudes = fit.form.amplitudes(fit.parameters[None])[0]
    for name, amplitude in zip(fit.form.terms, amplitudes, strict=True):
        parts[name]["at_centre"] = amplitude
    for name, centre in zip(fit.points.names, fit.points.centres, strict=True):
        parts[name]["centre"] = centre
    intervals, errors = dict(known.intervals), dict(known.standard_errors)
    if best:
        for name in fit.points.names:
            intervals[f"{name}.compute_exponent"] = best.intervals[name]
            errors[f"{name}.compute_exponent"] = best.standard_errors[name]
    return {
        "E": values["E"],
        "terms": parts,
        "objective": fit.value,
        "n": len(fit.points.loss),
        "intervals": intervals,
        "standard_errors": errors,
    }


def _details(fit: Fit, known: Uncertainty) -> dict[str, Any]:
    """Return goodness, starts and the other intervals."""
    by_curvature = asdict(wald(fit))
    return {
        "form": fit.form.name,
        "formula": fit.form.formula,
        "parameters": fit.named_parameters,
        "configurations": fit.points.num_configurations,
        "mean_objective": fit.value / len(fit.points.loss),
        "goodness": _goodness(fit),
        "starts": {"number": NUM_STARTS, "agreeing": fit.starts_agreeing},
        "interval_method": known.method,
        "redraws": len(fit.redraws),
        "wald": {key: by_curvature[key] for key in ("standard_errors", "intervals")},
        "correlations": _correlations(fit),
    }


def _goodness(fit: Fit) -> dict[str, float]:
    """Return the distances of the curve from its rows, whatever the objective was."""
    loss, predicted = fit.points.loss, fit.predicted
    relative, squares = predicted / loss - 1, float(np.sum((predicted - loss) ** 2))
    varied = float(np.sum((loss - loss.mean()) ** 2))
    return {
        "r_squared": 1 - squares / varied if varied else np.nan,
        "rmse": float(np.sqrt(squares / len(loss))),
        "rmse_log": float(np.sqrt(np.mean(np.log(predicted / loss) ** 2))),
        "mean_abs_relative_error": float(np.mean(np.abs(relative))),
        "max_abs_relative_error": float(np.max(np.abs(relative))),
        "noise": row_noise(fit),
    }


def _correlations(fit: Fit) -> dict[str, float | None]:
    """Return the correlation of each log coefficient with its exponent over the redraws."""
    values = fit.form.named_parameters(fit.redraws, fit.points.centres)
    correlations: dict[str, float | None] = dict.fromkeys(fit.form.terms)
    for name in fit.form.terms:
        coefficient, exponent = values[f"{name}.coefficient"], values[f"{name}.exponent"]
        positive = coefficient > 0
        if positive.sum() > 2 and np.ptp(exponent[positive]) > 0:
            pair = np.log(coefficient[positive]), exponent[positive]
            correlations[name] = float(np.corrcoef(*pair)[0, 1])
    return correlations


def _holdout_content(held: Prediction, rows: NDArray[np.bool_]) -> dict[str, Any]:
    """Return held-out rows with their predictions; ``rows`` marks them in the table."""
    errors = np.abs(held.relative_errors)
    return {
        "mean_abs_relative_error": float(errors.mean()),
        "max_abs_relative_error": float(errors.max()),
        "rows": len(errors),
        "inside": held.inside,
        "predictions": [
            {
                "line": int(line) + 2,
                "loss": held.seen[index],
                "predicted": held.predicted[index],
                "relative_error": held.relative_errors[index],
                "interval": [held.low[index], held.high[index]],
                "reach": held.reach[index],
            }
            for index, line in enumerate(np.flatnonzero(rows))
        ],
    }


def _isoflop_content(isoflop: IsoFlop, budgets: list[float]) -> dict[str, Any]:
    """Return profiles, exponents by each method, and the best sizes at further budgets."""
    return {
        "profiles": [asdict(profile) for profile in isoflop.profiles],
        "exponents": {
            name: {
                **{method: power.exponent for method, power in powers.items()},
                "joint_interval": powers["joint"].interval if "joint" in powers else None,
            }
            for name, powers in isoflop.powers.items()
        },
        "at": [
            {
                "budget": budget,
                **{
                    name: {method: power.at(budget) for method, power in powers.items()}
                    for name, powers in isoflop.powers.items()
                },
            }
            for budget in budgets
        ],
    }


def to_json_values(value: Any) -> Any:
    """Convert to JSON types; a number that is not finite becomes None."""
    return json.loads(to_json(value, inf_nan_mode="null", fallback=np.generic.item))
