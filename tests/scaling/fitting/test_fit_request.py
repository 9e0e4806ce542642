"""Requests of a fit: mistakes are refused before the table is read."""

from pathlib import Path

import pytest

from scaling.config.load import ConfigError
from scaling.fitting.table_fit import FitRequest


def asked(**changes):
    usual = dict(
        **dict(table=Path("none.csv"), loss="loss", terms=["N=params"], quadratics=[]),
        **dict(form="additive", irreducible=True, objective="huber", space="log", delta=1e-3),
        **dict(where=None, group=None, holdout=None, bootstrap=200, seed=0, compare=False),
        **dict(isoflop=None, cost=None, at=[]),
    )
    return FitRequest(**{**usual, **changes})


def test_a_name_ends_at_the_first_sign():
    terms, quadratics = asked(terms=["N = a == b"], quadratics=["chunk=chunk"]).columns_by_name()
    assert terms == {"N": "a == b"}
    assert quadratics == {"chunk": "chunk"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"terms": []}, "no term"),
        ({"terms": ["params"]}, "write NAME=COLUMN"),
        ({"terms": ["=params"]}, "write NAME=COLUMN"),
        ({"terms": ["N=a", "N=b"]}, "names 'N' twice"),
        ({"terms": ["N.a=a"]}, "a name must have no dot"),
        ({"terms": ["E=a"]}, "'E' and 'loss' are names of the fit"),
        ({"quadratics": ["N=b"]}, "'N' is a --term and a --quadratic"),
        ({"delta": 0.0}, "--delta is 0.0"),
        ({"delta": float("nan")}, "--delta is nan"),
        ({"bootstrap": 1}, "--bootstrap is 1"),
        ({"seed": -1}, "--seed is -1"),
        ({"at": [1e20]}, "need --cost or --isoflop"),
        ({"at": [-1.0], "cost": "N"}, "budgets are positive numbers"),
    ],
)
def test_each_mistake_is_refused_with_the_reason(changes, message):
    with pytest.raises(ConfigError) as error:
        asked(**changes).columns_by_name()
    assert any(message in problem for problem in error.value.problems)


def test_all_mistakes_are_reported_at_once():
    with pytest.raises(ConfigError) as error:
        asked(delta=-1.0, bootstrap=-1, seed=-1).columns_by_name()
    assert len(error.value.problems) == 3
