"""Table and page of a comparison, and the evaluations that it refuses."""

import csv

import numpy as np
import pytest
from scipy import stats

from scaling.comparison.page import write_page
from scaling.comparison.table import FILE_NAME, Comparison, build_comparison
from scaling.evaluation.scores import EvaluationError, paired_difference
from tests.helpers.browser import opened
from tests.helpers.evaluations import NATS, QUANTISER, TARGETS, config, evaluation, recorded, scored


@pytest.fixture
def comparison():
    return build_comparison(config(), recorded(), scored())


def test_every_row_has_both_losses_and_the_references_are_first(comparison):
    assert [row.name for row in comparison.rows] == ["code histogram", "linear AR(32)", *NATS]
    for row in comparison.rows[2:]:
        shift = row.scores["from-silence"].loss.nats - row.scores["full-context"].loss.nats
        assert shift == pytest.approx(0.3)
    histogram, linear = comparison.rows[:2]
    assert histogram.scores["full-context"].loss.nats == pytest.approx(5.0)
    assert (histogram.parameters, linear.parameters) == (256, 34)
    assert linear.run is None and linear.targets is None


def test_differences_are_paired_to_the_row_of_the_lowest_full_context_loss(comparison):
    assert comparison.best == "two"
    by_name = {row.name: row.scores["full-context"] for row in comparison.rows}
    assert by_name["two"].difference is None
    for name in ("code histogram", "linear AR(32)"):
        difference = by_name[name].loss.nats - by_name["two"].loss.nats
        assert by_name[name].difference.nats == pytest.approx(difference, abs=0.01)
    one = by_name["one"]
    assert one.difference.nats == pytest.approx(0.1, abs=0.01)
    # Targets that are hard for all rows do not widen the error of a difference.
    assert one.difference.standard_error < one.loss.standard_error / 10


def test_a_paired_difference_is_that_of_the_targets_one_by_one():
    one, other = evaluation("one", 3.3), evaluation("other!", 3.2)
    found, half = paired_difference(one, other)
    means = np.array(
        [(a.run - b.run) / TARGETS for a, b in zip(one.by_second, other.by_second, strict=True)]
    )
    assert found.nats == pytest.approx(means.mean())
    assert found.standard_error == pytest.approx(stats.sem(means))
    assert half == pytest.approx(stats.sem(means) * stats.t.ppf(0.975, len(means) - 1))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"targets_hash": "other"}, "targets_hash"),
        ({"split": "validation"}, "split"),
        ({"corpus_fingerprint": "0" * 64}, "corpus_fingerprint"),
        ({"quantiser": QUANTISER.model_copy(update={"codec": "linear"})}, "codec='linear'"),
        ({"quantiser": QUANTISER.model_copy(update={"scaling": "chunk"})}, "scaling='chunk'"),
        ({"quantiser": QUANTISER.model_copy(update={"rate": 8_000})}, "rate=8000"),
    ],
)
def test_losses_of_other_targets_or_codes_are_refused_one_table(changes, words):
    rows = scored()
    rows[1]["from-silence"] = evaluation("two", 3.2, "from-silence", **changes)
    with pytest.raises(EvaluationError, match=r"must not share a table") as refused:
        build_comparison(config(), recorded(), rows)
    assert words in str(refused.value)


def test_measures_that_were_asked_for_but_not_matched_are_reported():
    found = build_comparison(config(), recorded(seconds=(20.0, 21.0, 40.0)), scored())
    sentences = {match.measure: match.sentence for match in found.matches}
    assert sentences["parameters"] == "parameters: matched within 10% (156,000 to 156,000)"
    assert sentences["wall_time"] == (
        "wall time: not matched, although the configuration asks for it (20.0 s to 40.0 s)"
    )
    assert sentences["wall_time"] in found.headlines[-1]


def test_wall_time_within_a_tenth_is_matched(comparison):
    sentences = {match.measure: match.sentence for match in comparison.matches}
    assert sentences["wall_time"] == "wall time: matched within 10% (20.0 s to 21.9 s)"


def test_a_comparison_is_read_as_it_was_written(comparison, tmp_path):
    assert Comparison.read(comparison.write(tmp_path)) == comparison
    (tmp_path / FILE_NAME).write_text("{}")
    with pytest.raises(EvaluationError, match="remove it and compare again"):
        Comparison.read(tmp_path / FILE_NAME)


def test_the_page_shows_every_loss_and_opens_in_a_browser(comparison, tmp_path):
    paths = write_page(comparison, recorded(), tmp_path)
    text = paths.html.read_text()
    for row in comparison.rows:
        assert row.name in text
        for score in row.scores.values():
            assert f"{score.loss.bits:.4f}" in text
            assert f"{score.loss.nats:.4f}" in text
    rows = list(csv.DictReader(paths.csv.open()))
    assert [row["name"] for row in rows] == [row.name for row in comparison.rows]
    difference = comparison.rows[2].scores["from-silence"].difference
    assert float(rows[2]["from-silence_difference_bits"]) == pytest.approx(difference.bits)
    shown = opened(paths.html, tmp_path / "profile")
    assert "CONSOLE" not in shown.stderr
    assert 'data-drawn="yes"' in shown.stdout


def test_a_budget_that_is_asked_for_and_not_given_is_missed():
    with pytest.raises(ValueError, match=r"budget\.targets is missing"):
        config(match=("targets", "parameters"))
    with pytest.raises(ValueError, match="two rows have the name a"):
        config(rows=[{"name": "a", "config": "x.yaml"}] * 2)
