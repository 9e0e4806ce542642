"""The law of a whole study: its records through the fitter of tables, with what that needs."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from scaling.analysis.best_sizes import PARAMETERS, TARGETS, Sizes, best_sizes
from scaling.analysis.budgets import CHUNK, LENGTH, SHAPE
from scaling.analysis.records import rows
from scaling.analysis.series import setting, setting_name, varied
from scaling.config.load import ConfigError
from scaling.fitting.fit import MORE_CONFIGURATIONS, Fit
from scaling.fitting.forms import Additive
from scaling.fitting.frontier import Frontier
from scaling.fitting.loss_table import LossTable
from scaling.fitting.slope import FitError
from scaling.fitting.table_fit import FitRequest, TableFit, fit_table
from scaling.runs.record import RunRecord

NEAR_LARGEST = 0.7  # of the largest cost: runs from here on are predicted and not fitted
MOST_HELD_OUT = 0.15  # of the runs
REDRAWS = 200
FURTHER = (1.0, 10.0, 100.0)  # times the largest cost: the budgets of the recommendation


@dataclass(frozen=True)
class StudyLaw:
    """The joint fit of a study, or the sentence that says why there is none.

    ``columns`` gives each name of the fit its column, ``notes`` what could not be asked for.
    """

    columns: dict[str, str]
    analysis: TableFit | None
    command: str | None
    notes: list[str]
    sizes: Sizes | None = None

    def content(self) -> dict[str, Any] | None:
        """The fit as plain JSON values, by the names of docs/fitting.md; None without one."""
        return self.analysis.content() if self.analysis else None


def study_law(records: Sequence[RunRecord], folder: Path) -> StudyLaw:
    """Fit the losses of sorted records against everything that varied among them."""
    columns, problem = _columns(records)
    if problem:
        return StudyLaw(columns, None, None, [problem])
    frame = pd.DataFrame(rows(records))
    asked = _asked(columns, records, frame, folder)
    notes: list[str] = []
    sizes = None
    try:
        best = min(records, key=lambda run: run.validation.nats)
        sizes = Sizes.of(columns, records, best)
        asked = replace(asked, at=[factor * frame["operations"].max() for factor in FURTHER])
    except (ValueError, KeyError) as error:
        reason = str(error).splitlines()[0]
        notes.append(f"No best sizes: the runs' configurations cannot be priced ({reason}).")
    try:
        analysis = _analysed(asked, frame, sizes, notes)
    except (FitError, ConfigError) as error:
        return StudyLaw(columns, None, None, [*notes, f"No law of the whole study: {error}"])
    return StudyLaw(columns, analysis, _command(analysis.request), notes, sizes)


def _analysed(
    asked: FitRequest, frame: pd.DataFrame, sizes: Sizes | None, notes: list[str]
) -> TableFit:
    """The fit with as much beside it as its points carry; what they do not is noted."""

    def search(made: Fit, table: LossTable) -> Frontier:
        assert sizes is not None
        costs = table.frame["operations"].to_numpy(float)[table.fitted]
        return best_sizes(made, sizes, costs, tuple(asked.at))

    try:
        return fit_table(asked, frame, search if sizes else None)
    except FitError as error:
        if sizes is None and asked.isoflop is None:
            raise
        plainer = fit_table(replace(asked, isoflop=None, at=[]), frame)
        notes.append(f"No best sizes: {error}")
        return plainer


def _columns(records: Sequence[RunRecord]) -> tuple[dict[str, str], str | None]:
    """Columns of the fit by name, and why they cannot carry one."""
    keys = varied(records)
    if not keys:
        return {}, "No law: no setting but the seed was varied."
    texts = [key for key in keys if any(_no_number(setting(run, key)) for run in records)]
    if texts:
        return {}, f"No law of the whole study: {_listed(texts)} is no size that a law can take."
    columns: dict[str, str] = {}
    for key in keys:
        if key in LENGTH:
            columns["targets"] = TARGETS
        elif key in SHAPE and set(SHAPE) <= set(keys):
            columns["parameters"] = PARAMETERS
        else:
            columns[setting_name(key)] = key
    table = rows(records)
    few = {
        name: len({row[column] for row in table})
        for name, column in columns.items()
        if len({row[column] for row in table}) < Additive.least_values
    }
    if few:
        names = " and ".join(f"{name} ({count} values)" for name, count in few.items())
        return columns, (
            f"No law of the whole study: {names} took too few values for a law in all that was "
            f"varied; it takes {Additive.least_values} of each."
        )
    return columns, None


def _no_number(value: Any) -> bool:
    return isinstance(value, bool) or not isinstance(value, int | float) or value <= 0


def _listed(keys: Sequence[str]) -> str:
    return " and ".join(map(setting_name, keys))


def _asked(
    columns: dict[str, str], records: Sequence[RunRecord], frame: pd.DataFrame, folder: Path
) -> FitRequest:
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
        form=Additive.name,
        irreducible=True,
        objective="huber",
        space="log",
        delta=1e-3,
        where=None,
        group=None,
        holdout=_held_out(list(columns.values()), frame, parameters),
        bootstrap=REDRAWS,
        seed=0,
        compare=True,
        isoflop="isoflop_shape" if "isoflop_shape" in frame else None,
        cost=None,
        at=[],
    )


def _held_out(columns: list[str], frame: pd.DataFrame, parameters: int) -> str | None:
    """The query for the most expensive runs, where enough others are left to fit."""
    least = float(f"{NEAR_LARGEST * frame['operations'].max():.2g}")
    held = frame["operations"] >= least
    left = len(frame[~held].drop_duplicates(columns))
    if held.mean() > MOST_HELD_OUT or left < parameters + MORE_CONFIGURATIONS:
        return None
    return f"operations >= {least:g}"


def _command(asked: FitRequest) -> str:
    """What to type to fit the same; best sizes are sought under the model's own cost here only."""
    words = ["python", "-m", "scaling", "fit", str(asked.table), "--loss", asked.loss]
    for option, named in (("--term", asked.terms), ("--quadratic", asked.quadratics)):
        words += [word for text in named for word in (option, text)]
    if asked.holdout:
        words += ["--holdout", asked.holdout]
    if asked.isoflop:
        words += ["--isoflop", asked.isoflop]
    return shlex.join([*words, "--compare"])
