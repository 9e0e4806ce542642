"""Table of runs from a CSV: the rows to fit, those to predict only, and those without a number."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from scaling.config.load import ConfigError
from scaling.fitting.diagnostics import Diagnostic
from scaling.fitting.expression import Expression, column_list, missing_column, with_aliases
from scaling.fitting.points import Points
from scaling.fitting.slope import Floats

Rows = NDArray[np.bool_]
LOSS = "loss"
METHODS = {
    *("abs", "between", "duplicated", "isin", "isna", "max", "mean", "median", "min", "nlargest"),
    *("notna", "nsmallest", "quantile", "rank", "round", "std", "sum"),
    *("str", "contains", "endswith", "lower", "startswith", "strip", "upper"),
}
"""Attributes of a column that a query may use: none writes a file or runs code."""
ENCODING: dict[str, Any] = {"encoding": "utf-8-sig", "encoding_errors": "replace"}
THOUSANDS = r"(?<=\d),(?=\d{3}(?!\d))"
NUMERIC_SHARE = 0.5  # of a column's cells: with more numbers, the rest counts as missing


@dataclass(frozen=True)
class LossTable:
    """Rows of a CSV with their loss and covariates.

    ``covariates`` has the column of each name, or arithmetic over columns. ``where`` and
    ``holdout`` are queries of pandas over the columns and these names; ``group`` is the column of
    the configuration.
    """

    frame: pd.DataFrame
    loss: str
    covariates: dict[str, str]
    where: str | None = None
    holdout: str | None = None
    group: str | None = None

    @cached_property
    def values(self) -> dict[str, Floats]:
        """Loss and covariates of every row (rows,) by name; NaN without a number."""
        values = {LOSS: table_column(self.frame, self.loss, "--loss")}
        for name, text in self.covariates.items():
            values[name] = table_column(self.frame, text, f"--term {name}")
        return values

    @cached_property
    def usable(self) -> Rows:
        """Rows that --where keeps and that have every number, shape (rows,)."""
        kept = self._select(self.where, "--where", np.ones(len(self.frame), bool))
        if not kept.any():
            raise ConfigError(
                f"--where {self.where!r} keeps none of the {len(self.frame)} rows: keep more"
            )
        finite = np.logical_and.reduce([np.isfinite(values) for values in self.values.values()])
        usable: Rows = kept & finite
        if not usable.any():
            empty = [name for name, v in self.values.items() if not np.isfinite(v[kept]).any()]
            which = " and ".join(empty) or "the loss and every covariate at once"
            raise ConfigError(
                f"none of the {kept.sum()} rows has a number for {which}. {column_list(self.frame)}"
            )
        for name, values in self.values.items():
            wrong = np.flatnonzero(usable & (values <= 0))
            if len(wrong):
                raise ConfigError(
                    f"{name} is {values[wrong[0]]:g} in line {wrong[0] + 2} ({len(wrong)} such "
                    f"rows): values must be positive. Leave them out: --where '{name} > 0'"
                )
        return usable

    @cached_property
    def held_out(self) -> Rows:
        """Usable rows that are predicted and not fitted."""
        if self.holdout is None:
            return np.zeros(len(self.frame), bool)
        held: Rows = self._select(self.holdout, "--holdout", self.usable) & self.usable
        if not held.any():
            raise ConfigError(
                f"--holdout {self.holdout!r} holds out none of {self.usable.sum()} rows"
            )
        if held.sum() == self.usable.sum():
            raise ConfigError(f"--holdout {self.holdout!r} leaves no row to fit")
        return held

    @cached_property
    def fitted(self) -> Rows:
        """Usable rows that are fitted."""
        return self.usable & ~self.held_out

    def points(self) -> Points:
        """Return the points of the fitted rows."""
        labels = None if self.group is None else self._labels()[self.fitted].tolist()
        covariates = {name: self.values[name][self.fitted] for name in self.covariates}
        return Points.of(covariates, self.values[LOSS][self.fitted], labels)

    def row_diagnostics(self) -> Iterator[Diagnostic]:
        """Yield the rows without a number and the exact copies."""
        kept = self._select(self.where, "--where", np.ones(len(self.frame), bool))
        for name, values in self.values.items():
            empty = np.flatnonzero(kept & ~np.isfinite(values))
            if len(empty):
                yield Diagnostic(
                    "rows_dropped",
                    f"{len(empty)} of {kept.sum()} rows have no number for {name} and are left out "
                    f"(the first is line {empty[0] + 2}).",
                )
        repeated = int(self.frame[self.usable].duplicated().sum())
        if repeated:
            yield Diagnostic(
                "duplicate_rows",
                f"{repeated} rows are exact copies of others and count again: remove them if they "
                "are not separate runs.",
            )

    def _select(self, query: str | None, option: str, default: Rows) -> Rows:
        """Return the rows that match a query, or ``default`` without one."""
        if query is None:
            return default
        frame = self.frame.copy()
        for name, values in self.values.items():
            if name not in frame:
                frame[name] = values
        text, aliases = with_aliases(query, frame.columns, option)
        renamed = frame.rename(columns={name: alias for alias, name in aliases.items()})
        try:
            # pandas evaluates line by line and calls any method of a column, to_csv included.
            nodes = (
                node for line in text.splitlines() for node in ast.walk(ast.parse(line.strip()))
            )
            used = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
            if used - METHODS:
                raise ValueError(
                    f"{min(used - METHODS)} is no column, and no method that a query may call "
                    f"({', '.join(sorted(METHODS))})"
                )
            matches = renamed.eval(text, engine="python", local_dict={}, global_dict={})
        except Exception as error:  # pandas re-raises any error of its parser and of the columns
            reason = str(error)
            for alias, name in aliases.items():
                reason = reason.replace(alias, name)
            raise ConfigError(
                f"{option} {query!r} is no query of this table: {reason}. "
                f"{column_list(frame.columns)}"
            ) from error
        rows = np.asarray(matches)
        if rows.shape != (len(frame),) or rows.dtype != bool:
            raise ConfigError(
                f"{option} {query!r} is not true or false for each row: write a comparison, "
                "such as 'loss < 5'"
            )
        return rows

    def _labels(self) -> NDArray[np.object_]:
        """Return the configuration of each row; a row without one is its own."""
        if self.group not in self.frame:
            raise ConfigError(f"--group: {missing_column(str(self.group), self.frame.columns)}")
        groups = self.frame[self.group]
        labels: NDArray[np.object_] = groups.astype(object).to_numpy(copy=True)
        for index in np.flatnonzero(groups.isna()):
            labels[index] = ("line", index)
        return labels


def read(path: Path) -> pd.DataFrame:
    """Read a CSV with its numbers as numbers; ConfigError if it is no table with rows."""
    try:
        frame = pd.read_csv(path, **ENCODING, skipinitialspace=True)
        if frame.shape[1] == 1:
            # A single column has another separator than the comma.
            frame = pd.read_csv(path, **ENCODING, sep=None, engine="python")
    except FileNotFoundError as error:
        raise ConfigError(
            f"there is no file {path}: name a CSV with a line of column names"
        ) from error
    except (OSError, ValueError, pd.errors.ParserError) as error:
        raise ConfigError(f"{path} cannot be read as a CSV: {str(error).strip()}") from error
    stripped = [str(name).strip() for name in frame.columns]
    if len(set(stripped)) == len(stripped):
        frame.columns = stripped
    if not len(frame):
        raise ConfigError(
            f"{path} has no row below its column names: add rows, or name another file"
        )
    for name in frame.columns:
        if not pd.api.types.is_numeric_dtype(frame[name]):
            plain = frame[name].astype(str).str.replace(THOUSANDS, "", regex=True)
            numbers = pd.to_numeric(plain, errors="coerce")
            if numbers.notna().sum() > NUMERIC_SHARE * frame[name].notna().sum():
                frame[name] = numbers
    return frame


def table_column(frame: pd.DataFrame, text: str, option: str) -> Floats:
    """Return a column, or arithmetic over columns, as numbers (rows,); NaN for other cells."""
    expression = Expression.of(text, frame.columns, option)
    if not expression.names:
        raise ConfigError(f"{option}: {text!r} names no column. {column_list(frame.columns)}")
    numbers = {}
    for name in expression.names:
        if not pd.api.types.is_numeric_dtype(frame[name]):
            example = frame[name].dropna().head(1).tolist()
            raise ConfigError(f"{option}: column {name!r} has text, such as {example}")
        numbers[name] = frame[name].to_numpy(float, na_value=np.nan)
    return np.asarray(expression(numbers), float)
