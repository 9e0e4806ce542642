"""The law under other choices that a careful analyst might have made: a specification curve."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from scaling.analysis.best_sizes import PARAMETERS, TARGETS
from scaling.config.load import ConfigError
from scaling.fitting.fit import fit
from scaling.fitting.forms import FORMS
from scaling.fitting.loss_table import LossTable
from scaling.fitting.objective import Objective
from scaling.fitting.slope import FitError, Interval
from scaling.fitting.table_fit import FitRequest
from scaling.fitting.uncertainty import wald

WIDE_DELTA = 1e-2
CHEAPEST = 0.25  # of the runs, left out in one of the choices
TRANSFORMER, UNIQUE = "parameters.transformer", "targets_unique"


@dataclass(frozen=True)
class Specification:
    """The law under one choice: parameters and Wald intervals by name, or why it has none."""

    name: str
    n: int
    values: dict[str, float]
    intervals: dict[str, Interval | None]
    problem: str | None = None


def specification_curve(asked: FitRequest, frame: pd.DataFrame) -> list[Specification]:
    """The fit as it was asked for and under each other choice that the table allows."""
    return [_made(name, other, frame) for name, other in _others(asked, frame)]


def _others(asked: FitRequest, frame: pd.DataFrame) -> Iterator[tuple[str, FitRequest]]:
    yield "as reported", asked
    yield f"Huber, delta {WIDE_DELTA:g}", replace(asked, delta=WIDE_DELTA)
    yield "squares of log loss", replace(asked, objective="mse")
    yield "squares of the loss", replace(asked, objective="mse", space="raw")
    yield "over-prediction counts ten times", replace(asked, objective="asymmetric")
    yield "coupled form", replace(asked, form="coupled")
    yield "shifted form", replace(asked, form="shifted")
    if asked.holdout:
        yield "held-out runs fitted too", replace(asked, holdout=None)
    if frame["seed"].nunique() > 1:
        yield "first seeds only", replace(asked, where=f"seed == {frame['seed'].min()}")
    least = float(f"{np.quantile(frame['operations'], CHEAPEST):.3g}")
    yield f"without the cheapest {CHEAPEST:.0%}", replace(asked, where=f"operations >= {least:g}")
    for counted, otherwise, name in (
        (PARAMETERS, TRANSFORMER, "only the Transformer's parameters"),
        (TARGETS, UNIQUE, "only different targets"),
    ):
        terms = [
            f"{text.partition('=')[0]}={otherwise}" if text.endswith(f"={counted}") else text
            for text in asked.terms
        ]
        if terms != asked.terms and otherwise in frame and _differs(frame, counted, otherwise):
            yield name, replace(asked, terms=terms)


def _differs(frame: pd.DataFrame, counted: str, otherwise: str) -> bool:
    return not np.array_equal(frame[counted], frame[otherwise])


def _made(name: str, asked: FitRequest, frame: pd.DataFrame) -> Specification:
    terms, quadratics = asked.columns_by_name()
    columns = terms | quadratics
    table = LossTable(frame, asked.loss, columns, asked.where, asked.holdout, asked.group)
    form = FORMS[asked.form](tuple(terms), tuple(quadratics), asked.irreducible)
    objective = Objective(asked.objective, asked.space, asked.delta)
    try:
        made = fit(table.points(), form, objective, num_redraws=0, seed=asked.seed)
    except (FitError, ConfigError) as error:
        return Specification(name, 0, {}, {}, str(error))
    watched = ["E", *(f"{term}.exponent" for term in form.terms)]
    known = wald(made)
    return Specification(
        name,
        len(made.points.loss),
        {key: made.named_parameters[key] for key in watched},
        {key: known.intervals[key] for key in watched},
    )


def specification_range(found: Sequence[Specification]) -> dict[str, tuple[float, float]]:
    """The lowest and highest value of each parameter over the choices, by name."""
    made = [choice.values for choice in found if choice.values]
    return {
        key: (min(values[key] for values in made), max(values[key] for values in made))
        for key in (made[0] if made else ())
    }
