"""How near the next value of a series a run comes, beside plain ways to say it in advance.

A run's distribution over codes becomes one number by its mean, which is best for squared errors,
and by its median, which is best for absolute ones (Gneiting 2011, JASA 106, 746-762).
"""

import importlib
from collections.abc import Callable
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
from scaling.evaluation.scores import EvaluationError
from scaling.runs.record import JsonFile, RecordPart
from scaling.runs.trained_model import TrainedModel

Progress = Callable[[int, int], None]
READ_TOGETHER = 64
SEASONS = 2
"""Of rows that the autoregression sees."""
FILE_NAME = "forecast-{split}.json"


class ForecastMethod(RecordPart):
    """One way to say the next value: its mean absolute error, and its root mean squared one.

    Both are in the series' own unit. ``difference`` is the paired one of the absolute error to the
    seasonal way's, with half of its 95 % interval.
    """

    name: str
    mean_absolute: float
    root_mean_square: float
    difference: float
    half_interval: float


class SeriesForecast(JsonFile):
    """All ways on the same values of a split, each from what lies before it."""

    error_type = EvaluationError
    unusable_text = "forecast ({error}): remove it and forecast again"

    run: str
    split: str
    column: str
    season: int
    values: int
    ways: list[ForecastMethod]

    def write(self, folder: Path) -> Path:
        """Write it as JSON into the run's folder, whole or not at all."""
        return self.write_json(folder / FILE_NAME.format(split=self.split))


def forecast(
    run: TrainedModel, corpus: Corpus, split: str, season: int, progress: Progress
) -> SeriesForecast:
    """Score the values of a split that have the run's context and a season before them.

    The autoregression, by statsmodels where that is installed, is fitted to the training part of
    the same recording with lags of up to two seasons. EvaluationError where the corpus is no series
    or not the run's.
    """
    if corpus.series is None or corpus.fingerprint != run.record.corpus.fingerprint:
        raise EvaluationError(
            f"{corpus.folder} is not the series that {run.folder} was trained on: name one that "
            "was prepared with `series`, by --corpus"
        )
    if season < 1:
        raise EvaluationError(f"season is {season}: write 1 or more rows, as 24 for hours of a day")
    context = max(run.config.model.context, SEASONS * season)
    errors: dict[str, list[np.ndarray]] = {}
    places: list[tuple[str, np.ndarray]] = []
    owners = [recording for recording in corpus.recordings if split in recording.ranges]
    for number, recording in enumerate(owners):
        progress(number, len(owners))
        begin, end = recording.ranges[split]
        offsets = np.arange(max(begin, context), end)
        if not len(offsets):
            continue
        codes = shards.read(corpus.folder, recording.location, 0, end).copy()
        values = _values(codes, corpus)
        told = {
            **_of_run(run, corpus, codes, offsets),
            "the value before": values[offsets - 1],
            f"the value {season} before": values[offsets - season],
            **_autoregression(recording, values, offsets, season),
        }
        for name, numbers in told.items():
            errors.setdefault(name, []).append(numbers - values[offsets])
        places.append((recording.name, offsets))
    progress(len(owners), len(owners))
    if not places:
        raise EvaluationError(
            f"no value of the {split} split has {context:,} rows before it: take a longer series, "
            "or a shorter context"
        )
    return SeriesForecast(
        run=run.record.id,
        split=split,
        column=corpus.series.column,
        season=season,
        values=sum(len(offsets) for _, offsets in places),
        ways=_ways(errors, places, f"the value {season} before"),
    )


def _ways(
    errors: dict[str, list[np.ndarray]], places: list[tuple[str, np.ndarray]], seasonal: str
) -> list[ForecastMethod]:
    """Each way's errors, and its difference to the seasonal one's."""
    names = np.concatenate([np.full(len(offsets), name) for name, offsets in places])
    member, _ = assign_clusters(names, np.concatenate([offsets for _, offsets in places]))
    reference = np.abs(np.concatenate(errors[seasonal]))
    found = []
    for name, parts in errors.items():
        error = np.concatenate(parts)
        difference, spread = mean_and_error(np.abs(error) - reference, member)
        found.append(
            ForecastMethod(
                name=name,
                mean_absolute=float(np.abs(error).mean()),
                root_mean_square=float(np.sqrt((error**2).mean())),
                difference=difference,
                half_interval=half_interval(spread, len(np.unique(member))),
            )
        )
    return found


def _values(codes: np.ndarray, corpus: Corpus) -> np.ndarray:
    """What codes stand for, float64: half a code's width from what was measured, at most."""
    assert corpus.series is not None
    amplitudes = quantise.decode(codes, corpus.codec, corpus.levels).astype(np.float64)
    return corpus.series.values(amplitudes)


@torch.no_grad()
def _of_run(
    run: TrainedModel, corpus: Corpus, codes: np.ndarray, offsets: np.ndarray
) -> dict[str, np.ndarray]:
    """The mean and the median of the run's distribution at each offset."""
    model = run.config.model
    device = next(run.network.parameters()).device
    levels = _values(np.arange(corpus.levels, dtype=quantise.code_dtype(corpus.levels)), corpus)
    windows = np.lib.stride_tricks.sliding_window_view(codes, model.context + 1)
    means, medians = [], []
    for at in range(0, len(offsets), READ_TOGETHER):
        some = windows[offsets[at : at + READ_TOGETHER] - model.context]
        window_BT = codes_tensor(some).to(device)
        targets = Targets("last", model.chunk)
        logits_BQ = run.network.logits(window_BT, targets)[:, 0, 0].double()
        chances = logits_BQ.softmax(-1).cpu().numpy()
        means.append(chances @ levels)
        medians.append(levels[(chances.cumsum(-1) < 0.5).sum(-1)])
    return {
        "the run, its mean": np.concatenate(means),
        "the run, its median": np.concatenate(medians),
    }


def _autoregression(
    recording: Recording, values: np.ndarray, offsets: np.ndarray, season: int
) -> dict[str, np.ndarray]:
    """An AR model's predictions at the offsets, where the library and training values are there."""
    if "train" not in recording.ranges or not find_spec("statsmodels"):
        return {}
    begin, end = recording.ranges["train"]
    lags = SEASONS * season
    if end - begin < 4 * lags:
        return {}
    model = importlib.import_module("statsmodels.tsa.ar_model")
    fitted: Any = model.AutoReg(values[begin:end], lags=lags).fit()
    constant, *weights = fitted.params
    past = np.lib.stride_tricks.sliding_window_view(values, lags)[offsets - lags]
    return {f"AR({lags})": constant + past[:, ::-1] @ np.array(weights)}
