"""Real CSVs: missing numbers, text, separators, repeated rows, and queries that select rows."""

import numpy as np
import pandas as pd
import pytest

from scaling.config.load import ConfigError
from scaling.fitting.loss_table import LossTable, read
from tests.helpers.surfaces import design, table

TERMS = {"N": "Model Size", "D": "tokens"}


@pytest.fixture
def frame():
    return pd.DataFrame(dict(zip(("Model Size", "tokens", "val loss"), design(), strict=True)))


def of(frame, **options):
    return LossTable(frame, "val loss", options.pop("covariates", TERMS), **options)


def codes(one):
    return [finding.code for finding in one.row_diagnostics()]


def test_a_clean_table_is_fitted_whole(frame):
    one = of(frame)
    points = one.points()
    assert points.names == ("N", "D") and points.x.shape == (36, 2)
    assert points.loss == pytest.approx(frame["val loss"])
    assert points.num_configurations == 36
    assert codes(one) == []


def reread(frame, folder, **how):
    """Write the table as a CSV and read it again."""
    path = folder / "runs.csv"
    frame.to_csv(path, index=False, **how)
    return read(path)


def test_rows_without_a_number_are_left_out_and_counted(frame, tmp_path):
    dirty = frame.astype(object)
    dirty.loc[3, "val loss"] = np.nan
    dirty.loc[4, "val loss"] = "diverged"
    dirty.loc[5, "val loss"] = np.inf
    dirty.loc[6, "tokens"] = None
    one = of(reread(dirty, tmp_path))
    assert len(one.points().loss) == 32
    texts = [finding.text for finding in one.row_diagnostics()]
    assert texts[0].startswith("3 of 36 rows have no number for loss")
    assert "the first is line 5" in texts[0]
    assert codes(one) == ["rows_dropped", "rows_dropped"]


def test_exact_copies_are_found_and_replicates_are_not(frame, tmp_path):
    copied = pd.concat([frame, frame.iloc[:3]])
    assert codes(of(reread(copied, tmp_path))) == ["duplicate_rows"]
    seeds = pd.concat([frame.assign(seed=0), frame.assign(seed=1)])
    one = of(reread(seeds, tmp_path))
    assert codes(one) == []
    assert one.points().num_configurations == 36


@pytest.mark.parametrize("how", [{"sep": ";"}, {"sep": "\t"}, {"encoding": "utf-8-sig"}])
def test_other_separators_and_byte_order_marks_are_read(frame, tmp_path, how):
    again = reread(frame, tmp_path, **how)
    pd.testing.assert_frame_equal(again, frame)


def test_thousands_separators_and_spaces_around_names_are_read(frame, tmp_path):
    grouped = frame.assign(tokens=[f"{size:,.2f}" for size in frame["tokens"]])
    again = reread(grouped.rename(columns={"val loss": " val loss "}), tmp_path)
    assert again["tokens"].to_numpy() == pytest.approx(frame["tokens"], abs=0.01)
    assert "val loss" in again


def test_queries_take_columns_with_spaces_and_the_terms_names(frame):
    assert of(frame, where="Model Size < 1e9 and D > 2e9").fitted.sum() == 20
    assert of(frame, where="`val loss` < loss.max()").fitted.sum() == 35
    assert of(frame.assign(kind="a"), where="kind == 'a'").fitted.sum() == 36
    one = of(frame, where="N < 5e9", holdout="N >= 1e9")
    assert (one.fitted.sum(), one.held_out.sum()) == (24, 6)


@pytest.mark.parametrize(
    "query",
    [
        "D.to_csv('written') > 1",
        "loss.values.tofile('written')",
        "x = loss > 0 # \u2028y = D.to_csv('written')",
        "loss.pipe(print) > 1",
        "loss.__class__ == 1",
    ],
)
def test_a_query_calls_no_method_that_writes_or_executes(frame, tmp_path, monkeypatch, query):
    monkeypatch.chdir(tmp_path)
    for option in ("where", "holdout"):
        with pytest.raises(
            ConfigError, match=f"--{option} .* no method that a query may call .abs, "
        ):
            of(frame, **{option: query}).fitted  # noqa: B018
    assert not any(tmp_path.iterdir())


def test_a_group_makes_a_configuration_and_a_row_without_one_is_its_own(frame):
    given = frame.assign(size=[*np.repeat(["a", "b"], 15), *[None] * 6])
    assert of(given, group="size").points().num_configurations == 8


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({}, {"where": "los < 5"}, "name 'los' is not defined"),
        ({}, {"where": "loss <"}, "is no query of this table"),
        ({}, {"where": "N"}, "is not true or false for each row"),
        ({}, {"where": "loss < 0"}, "keeps none of the 36 rows"),
        ({}, {"holdout": "N > 1e20"}, "holds out none of 36 rows"),
        ({}, {"holdout": "N > 1"}, "leaves no row to fit"),
        ({}, {"group": "sise"}, "no column 'sise'"),
        ({}, {"covariates": {"N": "Model Siz"}}, "the nearest is 'Model Size'"),
        ({}, {"covariates": {"N": "1"}}, "names no column"),
        ({"tokens": "many"}, {}, "column 'tokens' has text, such as"),
        ({"tokens": 0.0}, {}, "D is 0 in line 2 .* values must be positive"),
        ({"val loss": -1.0}, {}, "--where 'loss > 0'"),
        ({"tokens": np.nan}, {}, "none of the 36 rows has a number for D"),
    ],
)
def test_impossible_requests_are_refused_with_the_reason(frame, change, options, message):
    with pytest.raises(ConfigError, match=message):
        of(frame.assign(**change), **options).points()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no file"),
        (b"", "cannot be read as a CSV"),
        (b"a,b\n", "has no row below"),
        (b"a,b\n1,2\n1,2,3\n", "cannot be read as a CSV: .*line 3"),
    ],
)
def test_files_that_are_no_table_are_refused_with_the_reason(tmp_path, content, message):
    path = tmp_path / "runs.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        read(path)


def test_a_name_in_another_encoding_does_not_spoil_the_numbers(tmp_path):
    path = table(tmp_path)
    path.write_bytes(path.read_bytes() + b"1e9,2e9,2.5\n" + "é,1,1\n".encode("latin-1"))
    one = LossTable(read(path), "loss", TERMS)
    assert len(one.points().loss) == 37
