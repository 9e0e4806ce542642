"""Arithmetic over columns: its values, and the refusal of everything else."""

import numpy as np
import pytest

from scaling.config.load import ConfigError
from scaling.fitting.expression import Expression, with_aliases

COLUMNS = {
    "Model Size": np.array([1e6, 2e6]),
    "Training FLOP": np.array([6e15, 24e15]),
    "Size": np.array([1.0, 2.0]),
    "D": np.array([3.0, 4.0]),
    "a-b": np.array([5.0, 6.0]),
    "class": np.array([7.0, 8.0]),
    "tokens (D)": np.array([9.0, 10.0]),
}


def value(text):
    return Expression.of(text, COLUMNS, "--term N")(COLUMNS)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("D", [3, 4]),
        ("Model Size", [1e6, 2e6]),
        ("a-b", [5, 6]),
        ("Training FLOP / (6 * Model Size)", [1e9, 2e9]),
        ("`Training FLOP`/(6*`Model Size`)", [1e9, 2e9]),
        ("Size * 2 ** 3 + D", [11, 20]),
        ("class + `a-b` - 1e0", [11, 13]),
        ("2 * tokens (D)", [18, 20]),
        ("log2(Size) + sqrt(D) * 0", [0, 1]),
        ("-maximum(D, 3.5)", [-3.5, -4]),
    ],
)
def test_columns_and_arithmetic_give_numbers(text, expected):
    assert value(text) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Model Sizes", "no column 'Model Sizes': the nearest is 'Model Size'"),
        ("`Model Sizes` * 2", "no column 'Model Sizes': the nearest is 'Model Size'"),
        ("d * 2", "no column 'd': the nearest is 'D'"),
        ("D ^ 2", "write \\*\\* for a power"),
        ("D.real", "more than arithmetic"),
        ("D[0]", "more than arithmetic"),
        ("'D' * 2", "more than arithmetic"),
        ("D and Size", "more than arithmetic"),
        ("[D for D in (1,)]", "more than arithmetic"),
        ("open('x')", "more than arithmetic"),
        ("__import__('os')", "more than arithmetic"),
        ("log(D, where=0)", "more than arithmetic"),
        ("D *", "no arithmetic over columns"),
        ("", "no arithmetic over columns"),
    ],
)
def test_text_that_is_no_arithmetic_is_refused_with_the_reason(text, message):
    with pytest.raises(ConfigError, match=message) as error:
        value(text)
    assert error.value.problems[0].startswith("--term N: ")


def test_text_in_quotes_is_left_as_it_is():
    text, aliases = with_aliases("kind == 'Model Size' and Model Size > 1", COLUMNS, "--where")
    assert "'Model Size'" in text
    assert list(aliases.values()) == ["Model Size"]
