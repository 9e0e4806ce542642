"""Next-value forecasts of a series by a run, beside naive forecasts and an autoregression.

A run's distribution over codes gives two point forecasts: its mean, which is optimal for squared
errors, and its median, which is optimal for absolute ones (Gneiting 2011, JASA 106, 746-762).
"""

import importlib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from datasets import quantise, shards
from datasets.manifest import Corpus, Recording
from model.codes import codes_tensor
from model.targets import Targets
from scaling.evaluation.clustered_errors import assign_clusters, half_interval, mean_and_error
from scaling.evaluation.evaluate import Progress
from scaling.evaluation.protocols import check_own_corpus
from scaling.evaluation.scores import EvaluationError
from scaling.runs.record import JsonFile, RecordPart
from scaling.runs.trained_model import TrainedModel

BATCH = 64
SEASONS = 2
"""Lags of the autoregression, in seasons."""
FILE_NAME = "forecast-{split}.json"


class ForecastMethod(RecordPart):
    """Errors of one method in the series' own unit.

    ``difference`` is the absolute error's paired one to the seasonal method's.
    """

    name: str
    mean_absolute: float
    root_mean_square: float
    difference: float
    half_interval: float


class SeriesForecast(JsonFile):
    """Errors of all methods on the same values of a split, each forecast from earlier values."""

    error_type = EvaluationError
    unusable_text = "forecast ({error}): remove it and forecast again"

    run: str
    split: str
    column: str
    season: int
    values: int
    ways: list[ForecastMethod]

    def write(self, folder: Path) -> Path:
        """Write the forecast as JSON into the run's folder, atomically."""
        return self.write_json(folder / FILE_NAME.format(split=self.split))


def forecast(
    run: TrainedModel, corpus: Corpus, split: str, season: int, progress: Progress
) -> SeriesForecast:
    """Forecast the values of a split that have the run's context and a season before them.

    The autoregression needs statsmodels, and is left out without it. It has lags of up to two
    seasons and is fitted to the training part of the same recording. ``season`` is in rows.

    Raises:
        EvaluationError: The corpus has no series, is not the run's, or is too short.
    """
    if corpus.series is None:
        raise EvaluationError(
            f"{corpus.folder} has no series: name by --corpus one that was prepared with `series`"
        )
    check_own_corpus(run, corpus)
    if season < 1:
        raise EvaluationError(
            f"season is {season}: write 1 or more rows, such as 24 for hourly rows"
        )
    context = max(run.config.model.context, SEASONS * season)
    errors: dict[str, list[np.ndarray]] = {}
    targets: list[tuple[str, np.ndarray]] = []
    recordings = [recording for recording in corpus.recordings if split in recording.ranges]
    for number, recording in enumerate(recordings):
        progress(number, len(recordings))
        begin, end = recording.ranges[split]
        offsets = np.arange(max(begin, context), end)
        if not len(offsets):
            continue
        codes = shards.read(corpus.folder, recording.location, 0, end).copy()
        values = _decode(codes, corpus)
        forecasts = {
            **_forecast_by_run(run, corpus, codes, offsets),
            "the value before": values[offsets - 1],
            f"the value {season} before": values[offsets - season],
            **_autoregression(recording, values, offsets, season),
        }
        for name, forecast_values in forecasts.items():
            errors.setdefault(name, []).append(forecast_values - values[offsets])
        targets.append((recording.name, offsets))
    progress(len(recordings), len(recordings))
    if not targets:
        raise EvaluationError(
            f"no value of the {split} split has {context:,} rows before it: take a longer series, "
            "or a shorter context"
        )
    return SeriesForecast(
        run=run.record.id,
        split=split,
        column=corpus.series.column,
        season=season,
        values=sum(len(offsets) for _, offsets in targets),
        ways=_compare_methods(errors, targets, f"the value {season} before"),
    )


def _compare_methods(
    errors: dict[str, list[np.ndarray]], targets: list[tuple[str, np.ndarray]], seasonal: str
) -> list[ForecastMethod]:
    """Summarise each method's errors, and its paired difference to the seasonal method."""
    names = np.concatenate([np.full(len(offsets), name) for name, offsets in targets])
    member, _ = assign_clusters(names, np.concatenate([offsets for _, offsets in targets]))
    reference = np.abs(np.concatenate(errors[seasonal]))
    methods = []
    for name, parts in errors.items():
        error = np.concatenate(parts)
        difference, standard_error = mean_and_error(np.abs(error) - reference, member)
        methods.append(
            ForecastMethod(
                name=name,
                mean_absolute=float(np.abs(error).mean()),
                root_mean_square=float(np.sqrt((error**2).mean())),
                difference=difference,
                half_interval=half_interval(standard_error, len(np.unique(member))),
            )
        )
    return methods


def _decode(codes: np.ndarray, corpus: Corpus) -> np.ndarray:
    """Return the values (float64) of codes, at most half a code's width from the measured ones."""
    assert corpus.series is not None
    amplitudes = quantise.decode(codes, corpus.codec, corpus.levels).astype(np.float64)
    return corpus.series.values(amplitudes)


@torch.no_grad()
def _forecast_by_run(
    run: TrainedModel, corpus: Corpus, codes: np.ndarray, offsets: np.ndarray
) -> dict[str, np.ndarray]:
    """Return the mean and the median (n,) of the run's distribution at each offset (n,)."""
    model = run.config.model
    device = next(run.network.parameters()).device
    values = _decode(np.arange(corpus.levels, dtype=quantise.code_dtype(corpus.levels)), corpus)
    windows = np.lib.stride_tricks.sliding_window_view(codes, model.context + 1)
    means, medians = [], []
    for at in range(0, len(offsets), BATCH):
        batch = windows[offsets[at : at + BATCH] - model.context]
        window_BT = codes_tensor(batch).to(device)
        targets = Targets("last", model.chunk)
        logits_BQ = run.network.logits(window_BT, targets)[:, 0, 0].double()
        probabilities = logits_BQ.softmax(-1).cpu().numpy()
        means.append(probabilities @ values)
        medians.append(values[(probabilities.cumsum(-1) < 0.5).sum(-1)])
    return {
        "the run, its mean": np.concatenate(means),
        "the run, its median": np.concatenate(medians),
    }


def _autoregression(
    recording: Recording, values: np.ndarray, offsets: np.ndarray, season: int
) -> dict[str, np.ndarray]:
    """Forecast by an AR model, if statsmodels and enough training values are available."""
    if "train" not in recording.ranges or not find_spec("statsmodels"):
        return {}
    begin, end = recording.ranges["train"]
    lags = SEASONS * season
    if end - begin < 4 * lags:
        return {}
    library = importlib.import_module("statsmodels.tsa.ar_model")
    fitted: Any = library.AutoReg(values[begin:end], lags=lags).fit()
    constant, *weights = fitted.params
    past = np.lib.stride_tricks.sliding_window_view(values, lags)[offsets - lags]
    return {f"AR({lags})": constant + past[:, ::-1] @ np.array(weights)}
