"""What a doubling of context buys by the fitted law, with what the law's redraws leave open."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np

from scaling.analysis.best_sizes import BEYOND, PARAMETERS, TARGETS, Sizes, price_sizes
from scaling.analysis.budgets import WIDTH
from scaling.analysis.checklist import unreadable
from scaling.analysis.series import CONTEXT, PANEL, Series, setting_of
from scaling.analysis.study_law import StudyLaw
from scaling.fitting.fit import Fit
from scaling.fitting.slope import Floats, Interval
from scaling.fitting.uncertainty import (
    extrapolation_factor,
    percentile_interval,
    standard_deviation,
)

SLOPE = 0.01  # of a doubling to either side, over which a slope is taken


@dataclass(frozen=True)
class Doubling:
    """Change of the loss (nats a sample) with the context doubled from ``start`` samples.

    ``standard_error`` and the 95% ``interval`` are those over the redraws of ``law``; ``beyond`` is
    the factor by which the doubled context leaves its runs.
    """

    law: str
    start: int
    beyond: float
    nats: float
    standard_error: float
    interval: Interval


def longest_doublings(law: StudyLaw, series: Sequence[Series]) -> list[Doubling]:
    """The last doubling within the study's contexts, and the next one after its longest.

    By the law of the whole study, else by the first curve whose own power law is determined; empty
    where neither may be read.
    """
    index = context_column(law)
    if law.analysis and index is not None and not unreadable(law.analysis.warnings):
        table, made = law.analysis.table, law.analysis.fit
        longest = float(table.values[made.points.names[index]][table.usable].max())
        return _last_and_next("the law of the whole study", made, index, longest)
    for one in series:
        if one.law and one.law.determined:
            name = f"the power law of {one.panel}, {one.label}"
            return _last_and_next(name, one.law.fitted, 0, max(one.positions))
    return []


def context_column(law: StudyLaw) -> int | None:
    """Which column of the law's points is the context; None where it is no term of a law."""
    names = {column: name for name, column in law.columns.items()}
    if law.analysis is None or names.get(CONTEXT) not in law.analysis.fit.form.terms:
        return None
    return law.analysis.fit.points.names.index(names[CONTEXT])


def per_doubling(
    made: Fit, rows: Floats, index: int, parameters: Floats, around: float = SLOPE
) -> Floats:
    """Fall of the loss (nats) with a doubling of one column, shape (sets, rows).

    It is taken over ``around`` doublings to either side: at the column's own slope, unless told.
    """
    step = np.ones(rows.shape[1])
    step[index] = 2**around
    fall: Floats = made.curves(rows / step, parameters) - made.curves(rows * step, parameters)
    return fall / (2 * around)


def _last_and_next(name: str, made: Fit, index: int, longest: float) -> list[Doubling]:
    if len(made.redraws) < 2:
        return []
    return [_doubling(name, made, index, start) for start in (longest / 2, longest)]


def _doubling(name: str, made: Fit, index: int, start: float) -> Doubling:
    # The terms of the form add up, so the difference is the same at every size of the others.
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


LEVELS = 60


def size_instead_of_context(
    fit: Fit, sizes: Sizes, row: Floats, contexts: Floats
) -> tuple[str, Floats] | None:
    """Nats that the operations of one more doubling of context buy in another size.

    ``row`` holds the fit's columns at the run that stays as it is; each of the contexts (samples)
    is doubled in turn. The other size is the parameters, the depth or the width, whichever is a
    column: its name comes back with the gains, shape (contexts,). None where none of them is one.
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
