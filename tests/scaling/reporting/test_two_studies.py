"""Two studies side by side: shared runs, paired differences and incomparable losses."""

import json

import numpy as np
import pytest

from scaling.cli.main import app
from scaling.reporting.two_studies import write_two
from tests.helpers.browser import opened
from tests.helpers.records import CORPUS, study


def written(folder, records):
    for record in records:
        (folder / record.id).mkdir(parents=True)
        record.write(folder / record.id)
    return folder


def shifted(by, **changes):
    """Return the study with all losses shifted and some fields of its records changed."""
    moved = []
    for record in study():
        validation = record.validation.model_copy(update={"nats": record.validation.nats + by})
        moved.append(record.model_copy(update={"validation": validation, **changes}))
    return moved


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("two")
    jitter = np.random.default_rng(0).normal(scale=0.001, size=len(study()))
    better = [
        record.model_copy(
            update={
                "validation": record.validation.model_copy(
                    update={"nats": record.validation.nats - 0.05 + wobble}
                )
            }
        )
        for record, wobble in zip(study(), jitter.tolist(), strict=True)
    ]
    return written(root / "plain", study()), written(root / "better", better)


def test_runs_of_the_same_settings_are_paired_and_their_mean_difference_has_an_interval(folders):
    paths = write_two(*folders)
    content = json.loads(paths.json.read_text())
    assert len(content["pairs"]) == len(study())
    assert content["mean_difference"]["nats"] == pytest.approx(-0.05, abs=0.001)
    assert 0 < content["mean_difference"]["half_interval_nats"] < 0.001
    assert "better predicts better" in paths.headlines[0]
    assert paths.csv.read_text().count("\n") == len(study()) + 1
    assert paths.headlines[0] in paths.html.with_suffix(".md").read_text()


def test_the_page_opens_without_errors_or_requests(folders, tmp_path):
    paths = write_two(*folders)
    result = opened(paths.html, tmp_path)
    assert "CONSOLE" not in result.stderr and 'data-drawn="yes"' in result.stdout


def test_losses_on_other_targets_are_not_set_against_each_other(folders, tmp_path):
    other = CORPUS.model_copy(update={"levels": 64})
    paths = write_two(folders[0], written(tmp_path / "other", shifted(0.0, corpus=other)))
    content = json.loads(paths.json.read_text())
    assert content["pairs"] == [] and "has levels" in content["incomparable"]
    assert paths.headlines[0].startswith("The losses of the two studies are not compared.")
    assert 'data-plot="' not in paths.html.read_text()


def test_the_command_demands_two_folders(folders, capsys):
    app(["report", "--compare", *map(str, folders)], standalone_mode=False)
    assert "predicts better" in capsys.readouterr().out
    with pytest.raises(ValueError, match="1 folders are named: write two"):
        app(["report", "--compare", str(folders[0])], standalone_mode=False)
    with pytest.raises(ValueError, match="2 folders are named: write one"):
        app(["report", *map(str, folders)], standalone_mode=False)
