"""Gain of a doubled context by a fitted law, and of a larger model for the same operations."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np

from scaling.analysis.best_sizes import BEYOND, PARAMETERS, TARGETS, Sizes, price_sizes
from scaling.analysis.series import CONTEXT, PANEL, WIDTH, Series, setting_of
from scaling.analysis.study_law import StudyLaw
from scaling.fitting.fit import Fit
from scaling.fitting.slope import Floats, Interval
from scaling.fitting.uncertainty import (
    extrapolation_factor,
    percentile_interval,
    standard_deviation,
)

SLOPE = 0.01  # of a doubling to either side, for the slope at a point
LEVELS = 60  # sizes tried for one context


@dataclass(frozen=True)
class Doubling:
    """Change of the loss (nats a sample) if the context is doubled from ``start`` samples.

    ``standard_error`` and the 95% ``interval`` come from the redraws of ``law``. ``beyond`` is the
    extrapolation factor of the doubled context.
    """

    law: str
    start: int
    beyond: float
    nats: float
    standard_error: float
    interval: Interval


def longest_doublings(law: StudyLaw, series: Sequence[Series]) -> list[Doubling]:
    """Return the last doubling within the study's contexts, and the first one beyond them.

    They follow the law of the whole study, else the first curve with a determined law, if any.
    """
    index = law.context_column
    if law.analysis and index is not None and law.is_readable:
        table, made = law.analysis.table, law.analysis.fit
        longest = float(table.values[made.points.names[index]][table.usable].max())
        return _last_and_next("the law of the whole study", made, index, longest)
    for one in series:
        if one.law and one.law.determined:
            name = f"the power law of {one.panel}, {one.label}"
            return _last_and_next(name, one.law.fitted, 0, max(one.positions))
    return []


def per_doubling(
    made: Fit, rows: Floats, index: int, parameters: Floats, around: float = SLOPE
) -> Floats:
    """Return the fall of the loss (nats) for a doubling of one column, shape (sets, rows).

    ``around`` is the distance to either side in doublings; the default gives the local slope.
    """
    step = np.ones(rows.shape[1])
    step[index] = 2**around
    fall: Floats = made.curves(rows / step, parameters) - made.curves(rows * step, parameters)
    return fall / (2 * around)


def _last_and_next(name: str, made: Fit, index: int, longest: float) -> list[Doubling]:
    starts = (longest / 2, longest) if len(made.redraws) > 1 else ()
    return [_doubling(name, made, index, start) for start in starts]


def _doubling(name: str, made: Fit, index: int, start: float) -> Doubling:
    # The terms of the form add up, so the difference does not depend on the other columns.
    middle, end = made.points.x[:1].copy(), made.points.x[:1].copy()
    middle[:, index], end[:, index] = sqrt(2) * start, 2 * start
    changes = -per_doubling(
        made, middle, index, np.vstack([made.parameters, made.redraws]), around=0.5
    )
    drawn = changes[1:, 0]
    interval, error = percentile_interval(drawn), standard_deviation(drawn)
    assert interval is not None and error is not None
    return Doubling(
        law=name,
        start=round(start),
        beyond=float(extrapolation_factor(made, end)[0]),
        nats=float(changes[0, 0]),
        standard_error=error,
        interval=interval,
    )


def size_instead_of_context(
    fit: Fit, sizes: Sizes, row: Floats, contexts: Floats
) -> tuple[str, Floats] | None:
    """Return the gain if the operations of a doubled context are spent on another size.

    ``row`` has the fit's columns at the reference run, shape (columns,); ``contexts`` are those
    before the doubling, in samples.

    Returns:
        The name of the other size (parameters, depth or width, whichever is a column) and the
        gains (nats), shape (contexts,); None if none of them is a column.
    """
    names = {column: name for name, column in sizes.columns.items()}
    other = next((column for column in (PARAMETERS, PANEL, WIDTH) if column in names), None)
    if other is None:
        return None
    key = WIDTH if other == PARAMETERS else other
    place = fit.points.names.index
    usual = {
        column: round(row[place(name)])
        for column, name in names.items()
        if column not in (TARGETS, PARAMETERS, CONTEXT)
    }
    start = usual.get(key, setting_of(sizes.config.resolved(), key))
    levels = np.unique(np.geomspace(start, BEYOND[1] * start, LEVELS).round().astype(int))
    gains = []
    for context in contexts:
        here = usual | {CONTEXT: round(context)}
        grown = [price_sizes(sizes.config, {**here, key: int(level)}) for level in levels]
        doubled = price_sizes(sizes.config, {**here, key: int(start), CONTEXT: 2 * round(context)})
        bought = np.log([one[other] for one in grown])
        growth = np.interp(
            np.log(doubled["cost"]), np.log([one["cost"] for one in grown]), bought - bought[0]
        )
        both = np.tile(row, (2, 1))
        both[:, place(names[CONTEXT])] = context
        both[1, place(names[other])] *= np.exp(growth)
        before, after = fit.at(both)
        gains.append(float(before - after))
    return names[other], np.array(gains)
