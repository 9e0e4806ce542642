"""Forecasts of a series by a run, naive methods and an autoregression, against hand figures."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from datasets.settings import Settings
from model.targets import Targets
from scaling.cli.score_tables import forecast_table
from scaling.config import load
from scaling.evaluation.forecast import forecast
from scaling.evaluation.scores import EvaluationError
from tests.helpers import sounds
from tests.helpers.archives import COLUMN, table
from tests.helpers.clone import CLONE
from tests.helpers.command import scaling
from tests.helpers.trained import trained

SEASON = 12


def unwatched(done, total):
    """Ignore the progress."""


@pytest.fixture(scope="module")
def seasons(ray_session, tmp_path_factory):
    """Return 4,000 values with a season of twelve and autocorrelated noise."""
    folder = tmp_path_factory.mktemp("seasons")
    generator = np.random.default_rng(0)
    noise = np.zeros(4_000)
    for at in range(1, len(noise)):
        noise[at] = 0.9 * noise[at - 1] + generator.standard_normal()
    values = 20 + 15 * np.sin(2 * np.pi * np.arange(len(noise)) / SEASON) + noise
    table(folder / "tables/a.csv", values)
    patterns = type(sounds.asked().patterns)(("**/*.csv",))
    settings = Settings(1, "linear", 256, "none", series=COLUMN)
    return sounds.prepare(
        folder / "tables", folder / "corpus", settings=settings, patterns=patterns
    )


@pytest.fixture(scope="module")
def run(seasons, tmp_path_factory):
    model = {
        **{"context": 96, "chunk": 24, "filters": (8,), "kernel": 5, "strides": (2,)},
        **{"width": 8, "layers": 1, "heads": 2, "head_size": 4, "feed_forward": 8, "hidden": 8},
    }
    changes = {f"model__{name}": value for name, value in model.items()}
    changes |= {"model__recent": 0, "validation__spacing": 24}
    return trained(seasons, tmp_path_factory.mktemp("run"), **changes)


def values_of(corpus):
    codes = sounds.codes_of(corpus, corpus.recordings[0])
    return codes, 80 * (codes.astype(float) + 0.5) / 256 - 20


def test_every_way_has_the_errors_of_its_own_definition(run, seasons):
    found = forecast(run, seasons, "test", SEASON, unwatched)
    codes, values = values_of(seasons)
    begin, end = seasons.recordings[0].ranges["test"]
    truth = values[begin:end]
    assert found.values == end - begin
    ways = {way.name: way for way in found.ways}
    before, season = values[begin - 1 : end - 1], values[begin - SEASON : end - SEASON]
    assert ways["the value before"].mean_absolute == pytest.approx(np.abs(before - truth).mean())
    seasonal = ways[f"the value {SEASON} before"]
    assert seasonal.mean_absolute == pytest.approx(np.abs(season - truth).mean())
    assert seasonal.root_mean_square == pytest.approx(np.sqrt(((season - truth) ** 2).mean()))
    assert (seasonal.difference, seasonal.half_interval) == (0, 0)
    means, medians = [], []
    for offset in range(begin, end):
        window = torch.from_numpy(codes[offset - 96 : offset + 1].copy())[None]
        with torch.no_grad():
            chances = run.network.logits(window, Targets("last", 24)).flatten().double().softmax(0)
        numbers = 80 * (np.arange(256) + 0.5) / 256 - 20
        means.append(float((chances.numpy() * numbers).sum()))
        medians.append(numbers[int(np.searchsorted(chances.cumsum(0).numpy(), 0.5))])
    for name, guesses in (("mean", means), ("median", medians)):
        error = np.array(guesses) - truth
        assert ways[f"the run, its {name}"].mean_absolute == pytest.approx(np.abs(error).mean())
        difference = (np.abs(error) - np.abs(season - truth)).mean()
        assert ways[f"the run, its {name}"].difference == pytest.approx(difference)


def test_the_autoregression_is_fitted_to_the_training_part_and_beats_the_naive_ways(run, seasons):
    pytest.importorskip("statsmodels", reason="`make site` installs it")
    found = forecast(run, seasons, "test", SEASON, unwatched)
    ways = {way.name: way for way in found.ways}
    _, values = values_of(seasons)
    recording = seasons.recordings[0]
    (first, last), (begin, end) = recording.ranges["train"], recording.ranges["test"]
    lags = 2 * SEASON
    past = np.lib.stride_tricks.sliding_window_view(values, lags)
    design = np.column_stack([np.ones(last - first - lags), past[first : last - lags]])
    weights = np.linalg.lstsq(design, values[first + lags : last], rcond=None)[0]
    guesses = weights[0] + past[begin - lags : end - lags] @ weights[1:]
    own = ways[f"AR({lags})"]
    assert own.mean_absolute == pytest.approx(np.abs(guesses - values[begin:end]).mean(), rel=1e-6)
    naive = (ways["the value before"], ways[f"the value {SEASON} before"])
    assert all(own.mean_absolute < one.mean_absolute for one in naive)


def test_the_command_prints_every_way_and_keeps_the_forecast(run):
    done = scaling("forecast", str(run.folder), "--season", str(SEASON))
    assert done.returncode == 0, done.stderr
    assert "the run, its median" in done.stdout and "the value 12 before" in done.stdout
    again = scaling("forecast", str(run.folder), "--season", str(SEASON), "--json")
    assert json.loads(again.stdout) == json.loads((run.folder / "forecast-test.json").read_text())


def test_a_corpus_of_audio_or_too_few_rows_is_refused(run, seasons, embedded_corpus, tmp_path):
    other = trained(embedded_corpus, tmp_path)
    with pytest.raises(EvaluationError, match="has no series"):
        forecast(other, embedded_corpus, "test", 12, unwatched)
    with pytest.raises(EvaluationError, match=r"season is 0: write 1 or more"):
        forecast(run, seasons, "test", 0, unwatched)
    with pytest.raises(EvaluationError, match="take a longer series"):
        forecast(run, seasons, "test", 2_000, unwatched)
    assert forecast_table(forecast(run, seasons, "test", SEASON, unwatched)).row_count >= 4


@pytest.mark.slow
def test_the_example_halves_the_error_of_the_day_before(ray_session, tmp_path):
    vega = pytest.importorskip("vega_datasets", reason="`make site` installs it")
    folder = Path(vega.__path__[0]) / "_data"
    corpus = tmp_path / "corpus"
    words = (f"root={folder}", "files=[sf-temps.csv]", f"destination={corpus}")
    done = scaling("prepare", "--config", "configs/corpora/sf_temps.yaml", *words)
    assert done.returncode == 0, done.stderr
    words = (f"corpus={corpus}", f"cluster.storage={tmp_path}/runs")
    config = load.run(CLONE / "configs/runs/series.yaml", words)
    done = scaling("train", "--config", "configs/runs/series.yaml", *words)
    assert done.returncode == 0, done.stderr
    found = json.loads(scaling("forecast", str(config.folder), "--season", "24", "--json").stdout)
    ways = {way["name"]: way for way in found["ways"]}
    median, seasonal = ways["the run, its median"], ways["the value 24 before"]
    assert median["mean_absolute"] < 0.6 * seasonal["mean_absolute"]
    assert median["difference"] + median["half_interval"] < 0
