"""A CSV of runs into points: which rows are fitted, which only predicted, which cannot be used."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from scaling.config.load import ConfigError
from scaling.fitting.diagnostics import Diagnostic
from scaling.fitting.expression import Expression, columns, missing, with_aliases
from scaling.fitting.points import Points
from scaling.fitting.slope import Floats

Chosen = NDArray[np.bool_]
LOSS = "loss"
HOW: dict[str, Any] = {"encoding": "utf-8-sig", "encoding_errors": "replace"}
THOUSANDS = r"(?<=\d),(?=\d{3}(?!\d))"
NUMERIC_SHARE = 0.5  # of a column's cells: above it, the rest counts as missing numbers


@dataclass(frozen=True)
class LossTable:
    """The rows of a CSV, with the loss and the covariates named in it.

    ``covariates`` gives each name its column, or arithmetic over columns. ``where`` and
    ``holdout`` are queries of pandas over the columns and these names.
    """

    frame: pd.DataFrame
    loss: str
    covariates: dict[str, str]
    where: str | None = None
    holdout: str | None = None
    group: str | None = None
    findings: list[Diagnostic] = field(default_factory=list)

    @cached_property
    def values(self) -> dict[str, Floats]:
        """Loss and covariates of every row, by name; NaN where there is no number."""
        texts = {LOSS: (self.loss, "--loss")}
        texts |= {name: (text, f"--term {name}") for name, text in self.covariates.items()}
        return {
            name: table_column(self.frame, text, where) for name, (text, where) in texts.items()
        }

    @cached_property
    def usable(self) -> Chosen:
        """Rows that --where keeps and that have every number."""
        kept = self._chosen(self.where, "--where", np.ones(len(self.frame), bool))
        if not kept.any():
            raise ConfigError(
                [f"--where {self.where!r} keeps none of the {len(self.frame)} rows: loosen it"]
            )
        whole = np.logical_and.reduce([np.isfinite(values) for values in self.values.values()])
        if not (kept & whole).any():
            raise ConfigError([self._nothing_left(kept)])
        self._positive(kept & whole)
        usable: Chosen = kept & whole
        return usable

    @cached_property
    def held_out(self) -> Chosen:
        """Usable rows that are predicted only."""
        if self.holdout is None:
            return np.zeros(len(self.frame), bool)
        held: Chosen = self._chosen(self.holdout, "--holdout", self.usable) & self.usable
        if not held.any():
            raise ConfigError(
                [f"--holdout {self.holdout!r} holds out none of {self.usable.sum()} rows"]
            )
        if held.sum() == self.usable.sum():
            raise ConfigError([f"--holdout {self.holdout!r} leaves no row to fit"])
        return held

    @cached_property
    def fitted(self) -> Chosen:
        """Usable rows that are fitted."""
        return self.usable & ~self.held_out

    def points(self) -> Points:
        """The fitted rows."""
        chosen = self.fitted
        labels = None if self.group is None else self._labels()[chosen].tolist()
        covariates = {name: self.values[name][chosen] for name in self.covariates}
        return Points.of(covariates, self.values[LOSS][chosen], labels)

    def row_findings(self) -> list[Diagnostic]:
        """Which rows cannot be used, and which stand there twice."""
        kept = self._chosen(self.where, "--where", np.ones(len(self.frame), bool))
        found = []
        for name, values in self.values.items():
            empty = np.flatnonzero(kept & ~np.isfinite(values))
            if len(empty):
                found.append(
                    Diagnostic(
                        "rows_dropped",
                        f"{len(empty)} of {kept.sum()} rows have no number for {name} and are left "
                        f"out (the first is line {empty[0] + 2}).",
                    )
                )
        repeated = int(self.frame[self.usable].duplicated().sum())
        if repeated:
            found.append(
                Diagnostic(
                    "duplicate_rows",
                    f"{repeated} rows are exact copies of others and count again: remove them if "
                    "they are not runs of their own.",
                )
            )
        return found

    def _chosen(self, query: str | None, option: str, otherwise: Chosen) -> Chosen:
        """Rows that a query is true for; ``otherwise`` without one."""
        if query is None:
            return otherwise
        frame = self.frame.copy()
        for name, values in self.values.items():
            if name not in frame:
                frame[name] = values
        text, aliases = with_aliases(query, frame.columns, option)
        renamed = frame.rename(columns={name: alias for alias, name in aliases.items()})
        try:
            chosen = renamed.eval(text, engine="python", local_dict={}, global_dict={})
        except Exception as error:  # pandas passes on whatever its parser and the columns raise
            reason = str(error)
            for alias, name in aliases.items():
                reason = reason.replace(alias, name)
            raise ConfigError(
                [
                    f"{option} {query!r} cannot be asked of the table: {reason}. "
                    f"{columns(frame.columns)}"
                ]
            ) from error
        chosen = np.asarray(chosen)
        if chosen.shape != (len(frame),) or chosen.dtype != bool:
            raise ConfigError(
                [f"{option} {query!r} is not true or false for each row: compare, as 'loss < 5'"]
            )
        return chosen

    def _positive(self, rows: Chosen) -> None:
        for name, values in self.values.items():
            wrong = np.flatnonzero(rows & (values <= 0))
            if len(wrong):
                raise ConfigError(
                    [
                        f"{name} holds {values[wrong[0]]:g} in line {wrong[0] + 2} ({len(wrong)} "
                        f"such rows): values must be positive. Leave them out: --where '{name} > 0'"
                    ]
                )

    def _nothing_left(self, kept: Chosen) -> str:
        empty = [name for name, v in self.values.items() if not np.isfinite(v[kept]).any()]
        which = " and ".join(empty) or "the loss and every covariate at once"
        return f"none of the {kept.sum()} rows has a number for {which}: see {columns(self.frame)}"

    def _labels(self) -> NDArray[np.object_]:
        """Configuration of each row; a row without one is its own."""
        if self.group not in self.frame:
            raise ConfigError([f"--group: {missing(str(self.group), self.frame.columns)}"])
        given = self.frame[self.group]
        labels: NDArray[np.object_] = given.astype(object).to_numpy(copy=True)
        for index in np.flatnonzero(given.isna()):
            labels[index] = ("line", index)
        return labels


def read(path: Path) -> pd.DataFrame:
    """A CSV with its numbers as numbers; :class:`ConfigError` says why it cannot be read."""
    try:
        frame = pd.read_csv(path, **HOW, skipinitialspace=True)
        if frame.shape[1] == 1:
            # One column is a table separated by something else than commas.
            frame = pd.read_csv(path, **HOW, sep=None, engine="python")
    except FileNotFoundError as error:
        raise ConfigError(
            [f"there is no file {path}: name a CSV with a line of column names"]
        ) from error
    except (OSError, ValueError, pd.errors.ParserError) as error:
        raise ConfigError([f"{path} cannot be read as a CSV: {str(error).strip()}"]) from error
    stripped = [str(name).strip() for name in frame.columns]
    if len(set(stripped)) == len(stripped):
        frame.columns = stripped
    if not len(frame):
        raise ConfigError([f"{path} holds no row under its column names"])
    for name in frame.columns:
        if not pd.api.types.is_numeric_dtype(frame[name]):
            plain = frame[name].astype(str).str.replace(THOUSANDS, "", regex=True)
            numbers = pd.to_numeric(plain, errors="coerce")
            if numbers.notna().sum() > NUMERIC_SHARE * frame[name].notna().sum():
                frame[name] = numbers
    return frame


def table_column(frame: pd.DataFrame, text: str, option: str) -> Floats:
    """A column, or arithmetic over columns, as numbers; NaN where a cell is none."""
    expression = Expression.of(text, frame.columns, option)
    if not expression.names:
        raise ConfigError([f"{option}: {text!r} names no column. {columns(frame.columns)}"])
    numbers = {}
    for name in expression.names:
        if not pd.api.types.is_numeric_dtype(frame[name]):
            example = frame[name].dropna().head(1).tolist()
            raise ConfigError([f"{option}: column {name!r} holds text, such as {example}"])
        numbers[name] = frame[name].to_numpy(float, na_value=np.nan)
    return np.asarray(expression(numbers), float)
