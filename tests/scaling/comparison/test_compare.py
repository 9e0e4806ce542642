"""Comparisons: steps from a budget, and one of tiny models from its file to its table."""

import csv
import json

import pytest
import yaml

from model import accounting
from scaling.comparison import compare
from scaling.comparison.table import FILE_NAME
from scaling.config import load
from scaling.config.load import ConfigError
from tests.helpers.clone import CLONE
from tests.helpers.command import scaling
from tests.helpers.runs import small_run

TINY = {
    "WaveNet": {"kind": "wavenet", "blocks": 1, "layers": 4, "embedding": 8, "residual": 8},
    "SampleRNN": {"kind": "samplernn", "width": 12, "embedding": 8},
    "SaShiMi": {"kind": "sashimi", "layers": 1, "width": 8, "state": 4},
}


def comparison_file(corpus, folder, **changes):
    """Write a comparison of three tiny baselines and a tiny latent Transformer."""
    rows = []
    for name, model in {**TINY, "Longwave": None}.items():
        content = small_run(corpus, folder, model__recent=0).resolved()
        if model:
            content["model"] = {"context": 4_000, "gate": 8, "skip": 8, "end": 8, **model}
            if name != "WaveNet":
                content["model"] = {"context": 4_000, **model}
            content["windows"] = {"targets": "sequence", "per_window": 1_024}
        path = folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump(content))
        rows.append({"name": name, "config": path.name})
    content = {
        "study": "tiny",
        "corpus": str(corpus.folder),
        "match": ["targets", "context"],
        "budget": {"targets": 8_192},
        "scoring": {"positions": 64},
        "values": {"cluster.storage": str(folder), "windows.history": 4_000},
        "rows": rows,
        **changes,
    }
    path = folder / "compare.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def steps(config, runs):
    return [run.train.steps for run in compare.apply_budget(config, runs)]


def test_a_budget_of_targets_or_operations_buys_steps(embedded_corpus, tmp_path):
    path = comparison_file(embedded_corpus, tmp_path)
    config, runs = load.comparison(path)
    # A step has four windows, of 1,024 targets in the baselines and of 3 in the Transformer.
    assert steps(config, runs) == [2, 2, 2, 683]
    budget = {"operations": 1e12}
    path = comparison_file(
        embedded_corpus, tmp_path, match=["operations", "parameters"], budget=budget
    )
    config, runs = load.comparison(path)
    for run, number in zip(runs, steps(config, runs), strict=True):
        per_target, _ = accounting.training_operations_per_target(
            run.model, run.targets, run.positions
        )
        spent = number * run.targets_per_step * per_target
        assert abs(spent - 1e12) <= per_target * run.targets_per_step / 2


def test_without_a_measure_that_settles_them_steps_are_those_of_the_files(
    embedded_corpus, tmp_path
):
    path = comparison_file(embedded_corpus, tmp_path, match=["parameters", "context"])
    config, runs = load.comparison(path)
    assert steps(config, runs) == [8] * 4


def test_a_budget_of_wall_time_ends_runs_by_their_seconds(embedded_corpus, tmp_path):
    path = comparison_file(
        embedded_corpus, tmp_path, match=["wall_time", "context"], budget={"wall_time": 3}
    )
    config, runs = load.comparison(path)
    rows = compare.apply_budget(config, runs)
    assert {run.train.seconds for run in rows} == {3}
    assert [run.model for run in rows] == [run.model for run in runs]


def test_the_problems_of_all_rows_are_reported_at_once(embedded_corpus, tmp_path):
    path = comparison_file(embedded_corpus, tmp_path)
    with pytest.raises(ConfigError) as refused:
        load.comparison(path, ["values.train.batch=0", "values.model.levels=x"])
    found = refused.value.problems
    assert sum("row 'WaveNet': train.batch is 0" in problem for problem in found) == 1
    assert sum(problem.startswith("row 'Longwave': model.levels") for problem in found) == 1


@pytest.mark.parametrize(
    "path", sorted((CLONE / "configs/compare").glob("*.yaml")), ids=lambda path: path.stem
)
def test_every_shipped_comparison_is_read(path):
    config, runs = load.comparison(path)
    assert len(runs) == len(config.rows)
    assert len({run.id for run in runs}) == len(runs)
    assert not [problem for run in runs for problem in run.model.problems()]


@pytest.mark.slow
def test_rows_are_trained_for_their_seconds_scored_and_put_into_one_table(
    ray_session, embedded_corpus, tmp_path
):
    path = comparison_file(
        embedded_corpus, tmp_path, match=["wall_time", "context"], budget={"wall_time": 0.5}
    )
    content = yaml.safe_load(path.read_text())
    rows = [row for row in content["rows"] if row["name"] in ("SaShiMi", "Longwave")]
    path.write_text(yaml.safe_dump({**content, "rows": rows}))
    done = scaling("compare", "--config", path)
    assert done.returncode == 0, done.stdout[-2_000:] + done.stderr[-2_000:]
    folder = tmp_path / "tiny"
    found = json.loads((folder / FILE_NAME).read_text())
    assert [row["name"] for row in found["rows"][2:]] == ["SaShiMi", "Longwave"]
    for row in found["rows"][2:]:
        # A run ends after the step in which its seconds run out.
        assert row["training_seconds"] >= 0.5
        assert row["targets"] > 0
    for row in found["rows"]:
        for score in row["scores"].values():
            assert 0 < score["loss"]["bits"] < 9
    assert len(list(csv.DictReader((folder / "comparison.csv").open()))) == 4
    # A second call trains and scores nothing, and prints the same.
    before = {file: file.stat().st_mtime_ns for file in folder.glob("*/*.json")}
    again = scaling("compare", "--config", path, "--json")
    assert again.returncode == 0, again.stderr[-2_000:]
    assert json.loads(again.stdout)["rows"] == found["rows"]
    assert {file: file.stat().st_mtime_ns for file in folder.glob("*/*.json")} == before
    report = scaling("report", folder)
    assert report.returncode == 0, report.stderr
    assert found["best"] in report.stdout
