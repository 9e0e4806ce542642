"""The law of a whole study: the joint fit of its losses, and the same fit under other choices."""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from scaling.analysis.best_sizes import PARAMETERS, TARGETS, Sizes, best_sizes
from scaling.analysis.records import LENGTH, SIZE
from scaling.analysis.series import CHUNK, CONTEXT, setting, setting_name, varied
from scaling.config.load import ConfigError
from scaling.fitting.diagnostics import Diagnostic, reported_parameters
from scaling.fitting.fit import MORE_CONFIGURATIONS, Fit, fit
from scaling.fitting.forms import Additive
from scaling.fitting.frontier import Frontier
from scaling.fitting.loss_table import LossTable
from scaling.fitting.slope import FitError, Interval
from scaling.fitting.table_fit import FitRequest, TableFit, fit_table
from scaling.fitting.uncertainty import wald
from scaling.runs.record import RunRecord

NEAR_LARGEST = 0.7  # of the largest cost: runs from here on are predicted and not fitted
MOST_HELD_OUT = 0.15  # of the runs
FURTHER = (1.0, 10.0, 100.0)  # times the largest cost: the budgets of T5
WIDE_DELTA = 1e-2  # of the Huber loss, in one of the specifications
CHEAPEST = 0.25  # of the runs, left out in one of the specifications
TRANSFORMER, UNIQUE = "parameters.transformer", "targets_unique"

UNREADABLE = {
    *("few_configurations", "no_fall", "small_fall", "irreducible_at_zero"),
    *("exponent_implausible", "no_agreement", "not_converged", "several_optima"),
    *("design_ridge", "not_convex"),
}
"""Codes of diagnostics that forbid the use of a law; the others limit its reading."""


@dataclass(frozen=True)
class Specification:
    """The law under one choice of the analyst: values and Wald intervals, or the problem.

    ``values`` has E (nats) and the exponents by name, ``n`` the number of runs.
    """

    name: str
    n: int
    values: dict[str, float]
    intervals: dict[str, Interval | None]
    problem: str | None = None


@dataclass(frozen=True)
class StudyLaw:
    """The joint fit of a study. If there is none, ``analysis`` is None; ``notes`` has the reason.

    ``columns`` maps each name of the fit to its column. ``command`` makes the same fit.
    ``specifications`` has the fit as reported first, then under each other choice.
    """

    columns: dict[str, str]
    analysis: TableFit | None
    command: str | None
    notes: list[str]
    sizes: Sizes | None = None
    specifications: list[Specification] = field(default_factory=list)

    @property
    def is_readable(self) -> bool:
        """Return whether there is a fit and no diagnostic forbids its use."""
        return self.analysis is not None and not unreadable(self.analysis.warnings)

    @property
    def context_column(self) -> int | None:
        """Index of the context among the columns of the fit; None if it is no term of a law."""
        names = {column: name for name, column in self.columns.items()}
        if self.analysis is None or names.get(CONTEXT) not in self.analysis.fit.form.terms:
            return None
        return self.analysis.fit.points.names.index(names[CONTEXT])


def unreadable(warnings: Sequence[Diagnostic]) -> list[Diagnostic]:
    """Return the diagnostics that forbid reading the law."""
    return [warning for warning in warnings if warning.code in UNREADABLE]


def study_law(
    records: Sequence[RunRecord], table: Sequence[dict[str, Any]], folder: Path
) -> StudyLaw:
    """Fit the losses of sorted records, the rows of ``table``, against all settings that varied."""
    columns, problem = _columns(records, table)
    if problem:
        return StudyLaw(columns, None, None, [problem])
    frame = pd.DataFrame(table)
    request = _request(columns, frame, folder)
    notes: list[str] = []
    sizes = None
    try:
        best = min(records, key=lambda run: run.validation.nats)
        sizes = Sizes.of(columns, records, best)
        request = replace(request, at=[factor * frame["operations"].max() for factor in FURTHER])
    except (ValueError, KeyError) as error:
        reason = str(error).splitlines()[0]
        notes.append(f"No best sizes: the runs' configurations cannot be priced ({reason}).")
    try:
        analysis = _fit_law(request, frame, sizes, notes)
    except (FitError, ConfigError) as error:
        return StudyLaw(columns, None, None, [*notes, f"No law of the whole study: {error}"])
    request = analysis.request
    specifications = [
        _fit_specification(name, other, frame) for name, other in _specifications(request, frame)
    ]
    return StudyLaw(columns, analysis, _command(request), notes, sizes, specifications)


def _fit_law(
    request: FitRequest, frame: pd.DataFrame, sizes: Sizes | None, notes: list[str]
) -> TableFit:
    """Fit the law with best sizes; if they fail, add a note and fit without them."""

    def search(made: Fit, table: LossTable) -> Frontier:
        assert sizes is not None
        costs = table.frame["operations"].to_numpy(float)[table.fitted]
        return best_sizes(made, sizes, costs, tuple(request.at))

    try:
        return fit_table(request, frame, search if sizes else None)
    except FitError as error:
        if sizes is None and request.isoflop is None:
            raise
        plainer = fit_table(replace(request, isoflop=None, at=[]), frame)
        notes.append(f"No best sizes: {error}")
        return plainer


def _columns(
    records: Sequence[RunRecord], table: Sequence[dict[str, Any]]
) -> tuple[dict[str, str], str | None]:
    """Return the columns of the fit by name, and the reason if they cannot carry one."""
    keys = varied(records)
    if not keys:
        return {}, "No law: only the seed was varied."
    texts = [key for key in keys if any(_is_no_size(setting(run, key)) for run in records)]
    if texts:
        named = " and ".join(map(setting_name, texts))
        return {}, f"No law of the whole study: it needs positive numbers, unlike {named}."
    columns: dict[str, str] = {}
    for key in keys:
        if key in LENGTH:
            columns["targets"] = TARGETS
        elif key in SIZE and set(SIZE) <= set(keys):
            columns["parameters"] = PARAMETERS
        else:
            columns[setting_name(key)] = key
    counts = {name: len({row[column] for row in table}) for name, column in columns.items()}
    least = Additive.least_values
    few = [f"{name} ({count} values)" for name, count in counts.items() if count < least]
    return columns, None if not few else (
        f"No law of the whole study: {' and '.join(few)} took too few values; each setting that "
        f"varied needs at least {least}."
    )


def _is_no_size(value: Any) -> bool:
    return isinstance(value, bool) or not isinstance(value, int | float) or value <= 0


def _request(columns: dict[str, str], frame: pd.DataFrame, folder: Path) -> FitRequest:
    quadratic = [name for name, column in columns.items() if column == CHUNK]
    terms = [name for name in columns if name not in quadratic]
    if not terms:
        terms, quadratic = quadratic, []
    parameters = 1 + 2 * len(columns)
    return FitRequest(
        table=folder,
        loss="nats",
        terms=[f"{name}={columns[name]}" for name in terms],
        quadratics=[f"{name}={columns[name]}" for name in quadratic],
        holdout=_held_out(list(columns.values()), frame, parameters),
        compare=True,
        isoflop="isoflop_shape" if "isoflop_shape" in frame else None,
    )


def _held_out(columns: list[str], frame: pd.DataFrame, parameters: int) -> str | None:
    """Return the query for the most expensive runs; None if too few others would remain."""
    least = float(f"{NEAR_LARGEST * frame['operations'].max():.2g}")
    held = frame["operations"] >= least
    left = len(frame[~held].drop_duplicates(columns))
    if held.mean() > MOST_HELD_OUT or left < parameters + MORE_CONFIGURATIONS:
        return None
    return f"operations >= {least:g}"


def _command(request: FitRequest) -> str:
    """Return the command that makes the same fit, without the search for best sizes."""
    words = ["python", "-m", "scaling", "fit", str(request.table), "--loss", request.loss]
    for option, named in (("--term", request.terms), ("--quadratic", request.quadratics)):
        words += [word for text in named for word in (option, text)]
    if request.holdout:
        words += ["--holdout", request.holdout]
    if request.isoflop:
        words += ["--isoflop", request.isoflop]
    return shlex.join([*words, "--compare"])


def _specifications(request: FitRequest, frame: pd.DataFrame) -> Iterator[tuple[str, FitRequest]]:
    """Yield the fit as requested, then under each other choice that the table allows.

    This is a specification curve (Simonsohn et al. 2020, Nature Human Behaviour 4, 1208-1214).
    """
    yield "as reported", request
    yield f"Huber, delta {WIDE_DELTA:g}", replace(request, delta=WIDE_DELTA)
    yield "least squares of the log loss", replace(request, objective="mse")
    yield "least squares of the loss", replace(request, objective="mse", space="raw")
    yield "over-prediction weighted ten times", replace(request, objective="asymmetric")
    yield "coupled form", replace(request, form="coupled")
    yield "shifted form", replace(request, form="shifted")
    if request.holdout:
        yield "held-out runs included", replace(request, holdout=None)
    if frame["seed"].nunique() > 1:
        yield "first seed only", replace(request, where=f"seed == {frame['seed'].min()}")
    least = float(f"{np.quantile(frame['operations'], CHEAPEST):.3g}")
    yield f"without the cheapest {CHEAPEST:.0%}", replace(request, where=f"operations >= {least:g}")
    for counted, other, name in (
        (PARAMETERS, TRANSFORMER, "Transformer parameters only"),
        (TARGETS, UNIQUE, "different targets only"),
    ):
        terms = [
            f"{text.partition('=')[0]}={other}" if text.endswith(f"={counted}") else text
            for text in request.terms
        ]
        differs = other in frame and not np.array_equal(frame[counted], frame[other])
        if terms != request.terms and differs:
            yield name, replace(request, terms=terms)


def _fit_specification(name: str, request: FitRequest, frame: pd.DataFrame) -> Specification:
    table, form, objective = request.parts(frame)
    try:
        made = fit(table.points(), form, objective, num_redraws=0, seed=request.seed)
    except (FitError, ConfigError) as error:
        return Specification(name, 0, {}, {}, str(error))
    names, intervals = reported_parameters(made), wald(made).intervals
    values = {key: made.named_parameters[key] for key in names}
    return Specification(
        name, len(made.points.loss), values, {key: intervals[key] for key in names}
    )


def specification_range(found: Sequence[Specification]) -> dict[str, tuple[float, float]]:
    """Return the lowest and highest value of each parameter over the specifications, by name."""
    made = [one.values for one in found if one.values]
    return {
        key: (min(values[key] for values in made), max(values[key] for values in made))
        for key in (made[0] if made else ())
    }
