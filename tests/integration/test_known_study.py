"""Report of a generated study of 200 runs with known laws: answer, figures and tables."""

import csv
import json
import re
import shlex

import numpy as np
import pytest
from typer.testing import CliRunner

from model import accounting
from scaling.analysis.best_sizes import BEYOND, best_sizes
from scaling.analysis.records import load_records
from scaling.cli.main import app
from scaling.config.load import with_values
from scaling.config.run_config import RunConfig
from scaling.reporting.figure_list import numbered_figures
from scaling.reporting.report import write_study_report
from scaling.reporting.study import analyse_study
from tests.helpers import known_laws
from tests.helpers.browser import opened
from tests.helpers.known_laws import LAW, RUNS

CODES = ["F1", "F2", "F3", "F4", "F5", "F6", "F7", "F8", "F9", "F10", "F11", "F12"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study") / "known"
    known_laws.write(folder)
    return folder


@pytest.fixture(scope="module")
def found(folder):
    records, skipped = load_records(folder)
    assert len(records) == RUNS and not skipped
    return analyse_study(records, folder, name="known")


@pytest.fixture(scope="module")
def paths(found):
    return write_study_report(found)


@pytest.fixture(scope="module")
def content(paths):
    return json.loads(paths.json.read_text())


def test_the_known_law_lies_inside_its_intervals(content):
    fit = content["law"]["fit"]
    intervals = fit["intervals"]
    assert content["law"]["readable"] and fit["converged"]
    assert intervals["E"][0] < LAW["E"] < intervals["E"][1]
    for name in ("parameters", "targets", "context"):
        low, high = intervals[f"{name}.exponent"]
        assert low < LAW[name][1] < high and high - low < 0.05
    low, high = intervals["chunk.optimum"]
    assert low < LAW["chunk"][1] < high


def test_the_last_doubling_of_context_changes_the_loss_as_the_law_predicts(content):
    amplitude, exponent = LAW["context"]
    for one in content["doublings"]:
        start, end = (amplitude * (one["start"] * k / 128_000) ** -exponent for k in (1, 2))
        low, high = one["interval"]["nats"]
        assert one["law"] == "the law of the whole study" and low < end - start < high
    assert [one["start"] for one in content["doublings"]] == [512_000, 1_024_000]


def test_the_headlines_give_the_law_its_test_and_the_best_sizes(paths, content):
    law, held, best = paths.headlines[2:]
    for name in ("parameters", "targets", "context"):
        assert f"{name} {content['law']['fit']['terms'][name]['exponent']:.3f} (" in law
    assert "6 most expensive runs were held out" in held
    assert "10 times the largest budget" in best and "times beyond the runs" in best


def test_held_out_runs_are_predicted_and_not_fitted(content):
    held = content["law"]["fit"]["holdout"]
    assert held["rows"] == 6 and held["mean_abs_relative_error"] < 0.002
    uses = [run["used"] for run in content["runs"]]
    assert uses.count("held out") == 6 and uses.count("fitted") == RUNS - 6
    named = [content["runs"][one["line"] - 2] for one in held["predictions"]]
    assert {run["used"] for run in named} == {"held out"}
    cheapest_held = min(run["operations"] for run in named)
    assert all(
        run["operations"] < cheapest_held for run in content["runs"] if run["used"] == "fitted"
    )


def test_the_command_beside_the_law_fits_the_same(content, folder, tmp_path):
    """`fit` on the folder gives the same numbers as the report."""
    _, _, _, verb, *words = shlex.split(content["law"]["command"])
    out = tmp_path / "out.json"
    done = CliRunner().invoke(app, [verb, *words, "--json", str(out)])
    assert done.exit_code == 0, done.output
    again = json.loads(out.read_text())
    ours = content["law"]["fit"]
    for key in ("parameters", "intervals", "objective", "holdout", "forms", "isoflop"):
        if key == "intervals":
            again[key] |= {k: v for k, v in ours[key].items() if k.endswith("compute_exponent")}
        if key == "isoflop":
            again[key] |= {"at": ours[key]["at"]}
        assert again[key] == ours[key], key


def test_every_figure_is_drawn_and_none_is_missing(found):
    drawn = numbered_figures(found)
    assert list(dict.fromkeys(figure.code for figure in drawn)) == CODES
    assert [figure.code for figure in drawn if not figure.panels] == []
    for figure in drawn:
        for panel in figure.panels:
            assert panel.caption and panel.figure.data
            assert panel.figure.layout.xaxis.title.text


def test_recommended_sizes_have_no_better_neighbour_of_the_same_cost(found):
    """Random sizes within the same budget, priced by the formula, are no better."""
    analysis, sizes = found.law.analysis, found.law.sizes
    best = analysis.best.best[-2]
    names = analysis.fit.points.names
    generator = np.random.default_rng(0)
    config = sizes.config
    losses = []
    for _ in range(300):
        chunk = int(generator.choice([500, 1_000, 2_000, 4_000]))
        context = chunk * max(
            1, round(best.sizes["context"] * 4 ** generator.uniform(-1, 1) / chunk)
        )
        width = round(128 * BEYOND[1] ** generator.uniform(0, 1))
        changes = {"model.chunk": chunk, "model.context": context, "model.width": width}
        changes["windows.per_window"] = None
        candidate = RunConfig.model_validate(with_values(config.resolved(), changes))
        cost, _ = accounting.training_operations_per_target(
            candidate.model, candidate.targets, candidate.model.latents
        )
        row = {
            "chunk": chunk,
            "context": context,
            "targets": best.budget / cost,
            "parameters": sum(accounting.parameters(candidate.model).values()),
        }
        losses.append(analysis.fit.at(np.array([[row[name] for name in names]]))[0])
    # Between the levels of the grid a parabola replaces the formula, hence the tolerance.
    assert best.loss < min(losses) * 1.001
    assert min(losses) < best.loss * 1.02


def test_the_best_sizes_grow_with_the_budget(found):
    best = found.law.analysis.best
    assert all(0 < exponent < 1 for exponent in best.exponents.values())
    costs = found.law.analysis.table.frame["operations"].to_numpy(float)
    again = best_sizes(found.law.analysis.fit, found.law.sizes, costs, ())
    assert [point.cost_reach for point in again.best] == [1.0] * 3


@pytest.mark.fault(
    "Sweeps and records",
    "runs of a study have no record",
    "the report lists them with the reason",
)
def test_runs_without_a_record_are_listed_with_their_reason(content, paths):
    states = {run["state"]: run for run in content["unfinished"]}
    assert set(states) == {"failed", "waiting"}
    assert states["failed"]["problem"] == "the loss is not a number"
    assert "the loss is not a number" in paths.html.read_text()
    verdicts = {check["name"]: check["verdict"] for check in content["checks"]}
    assert verdicts["Every run is accounted for"] == "warn"
    assert verdicts["The points determine the law"] == "pass"
    assert verdicts["The most expensive runs were held out"] == "pass"
    assert verdicts["All runs have the same targets per step"] == "pass"


def test_the_files_beside_the_page_have_its_runs_points_and_words(paths, folder):
    runs = list(csv.DictReader(paths.csv.read_text().splitlines()))
    assert len(runs) == RUNS and {"used", "isoflop_shape", "parameters.encoder"} <= set(runs[0])
    drawn = list(csv.DictReader((folder / "figures.csv").read_text().splitlines()))
    assert {row["figure"] for row in drawn} == set(CODES)
    words = (folder / "report.md").read_text()
    assert all(line in words for line in paths.headlines)
    assert "&#39;" not in words


def test_the_page_is_small_and_opens_without_errors_or_requests(paths, tmp_path):
    text = paths.html.read_text()
    assert len(text.encode()) < 5_000_000
    assert "default-src 'none'" in text
    result = opened(paths.html, tmp_path)
    assert "CONSOLE" not in result.stderr
    assert 'data-drawn="yes"' in result.stdout
    plots = len(re.findall(r'data-plot="', text))
    assert len(re.findall(r'class="plot js-plotly-plot"', result.stdout)) == plots > 30


def test_every_figure_has_words_for_those_who_cannot_see_it(paths):
    text = paths.html.read_text()
    labels = re.findall(r'role="img" aria-label="([^"]*)"', text)
    assert len(labels) == len(re.findall(r'data-plot="', text))
    assert all(len(label) > 30 for label in labels)
