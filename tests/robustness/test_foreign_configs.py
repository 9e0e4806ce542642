"""Configurations that nobody writes on purpose, and typos that are easily missed."""

from itertools import pairwise

import pytest

from scaling.config import load
from tests.helpers.clone import CLONE
from tests.helpers.configs import DEMO, problems


@pytest.mark.fault(
    "Configurations",
    "a configuration has the 99th of a month, a number of 5,000 digits, or a list within itself",
    "an error names the problem",
)
@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("2001-99-99", "month must be in 1..12"),
        ("!!int x", "invalid literal"),
        ("!!timestamp no", "NoneType"),
        ("9" * 5_000, "digits"),
        ("[" * 1_500, "recursion"),
        ("&a [*a]", "with its aliases it has over 100,000 values"),
    ],
)
def test_values_that_only_yaml_accepts_are_refused_with_the_reason(tmp_path, value, words):
    path = tmp_path / "run.yaml"
    path.write_text(f"study: s\ncorpus: {value}\n")
    (found,) = problems(load.run, path)
    assert found.startswith(f"{path} is not valid YAML: ") and words in found
    (found,) = problems(load.run, DEMO, [f"corpus={value}"])
    assert found.startswith("`corpus=") and words in found


@pytest.mark.fault(
    "Configurations",
    "a few lines of aliases expand to billions of values",
    "they are refused at once",
)
def test_nested_aliases_with_billions_of_values_are_refused_at_once(tmp_path):
    path = tmp_path / "run.yaml"
    lines = [
        f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]"
        for before, name in pairwise("abcdefghijkl")
    ]
    path.write_text("\n".join(["a: &a [0]", *lines]))
    (found,) = problems(load.run, path)
    assert "with its aliases it has over 100,000 values" in found


def test_a_file_extends_one_that_is_named_by_a_path(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("extends: [a, b]\n")
    (found,) = problems(load.run, path)
    assert found == f"{path} extends ['a', 'b'], which is no path: write the path of a file"


def test_a_long_value_is_shown_in_part():
    (found,) = problems(load.run, DEMO, [f"seed={'x' * 5_000}"])
    assert len(found) < 300 and "xxx...: input should be a valid integer" in found


@pytest.mark.fault(
    "Configurations",
    "a key of a row or of an optional section is misspelt",
    "it is refused with the nearest known key, before anything starts",
)
def test_an_unknown_key_is_named_in_rows_and_in_sections_that_may_be_missing(tmp_path):
    rows = "[{name: a, config: x.yaml, publishd: 1.4}]"
    (tmp_path / "compare.yaml").write_text(f"study: s\ncorpus: c\nrows: {rows}\n")
    found = problems(load.comparison, tmp_path / "compare.yaml")
    sentence = "rows.0.publishd = 1.4 is not a key of the configuration: the nearest is "
    assert f"{sentence}rows.0.published" in found
    series = CLONE / "configs/corpora/sf_temps.yaml"
    (found,) = problems(load.corpus, series, ["series.colum=x"])
    assert found.endswith("is not a key of the configuration: the nearest is series.column")


@pytest.mark.fault(
    "Configurations",
    "an axis of a sweep is misspelt",
    "it is refused with the nearest known key, before anything starts",
)
def test_an_unknown_axis_is_refused_if_points_do_not_set_it(tmp_path):
    path = tmp_path / "sweep.yaml"
    section = "sweep: {grid: {model.layres: [1, 2]}, points: [{seed: 1}]}"
    path.write_text(f"extends: {DEMO}\n{section}\n")
    assert all("model.layers" in problem for problem in problems(load.sweep, path))
