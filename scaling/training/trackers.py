"""Trackers of a run's figures: Ray's metrics, TensorBoard, MLflow, Weights & Biases.

No tracker slows or stops a run: a thread passes the figures on, and a tracker that fails is dropped
with a warning. Addresses and keys are the trackers' own environment variables.
"""

import importlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from queue import Full, Queue, SimpleQueue
from threading import Thread
from typing import Any, Protocol

import yaml
from ray.util.metrics import Gauge

from scaling.config.run_config import TRACKERS, RunConfig
from scaling.runs.record import bits

CLOSE_SECONDS = 30.0
"""Longest wait for the trackers at the end of a run."""
WAITING_LINES = 100_000
"""Most lines that wait for slow trackers. Further ones are lost to them, never to the log."""


class Tracker(Protocol):
    """Receiver of named figures. After a restart, steps may come again."""

    def log(self, figures: dict[str, float], step: int) -> None:
        """Store the figures of a step."""

    def close(self) -> None:
        """Flush all figures."""


class Tracking:
    """Thread that passes a run's figures to Ray's metrics and to the run's trackers.

    The run began at ``began`` (seconds since 1970), and this start begins after ``step``.
    """

    def __init__(self, config: RunConfig, step: int, began: float) -> None:
        self._config, self._began = config, began
        self._lines: Queue[tuple[dict[str, float], int] | None] = Queue(WAITING_LINES)
        self._complaints: SimpleQueue[str] = SimpleQueue()
        self._thread = Thread(target=self._serve, args=(step,), daemon=True)
        self._thread.start()

    def note(self, kind: str, line: dict[str, Any], training_seconds: float) -> list[str]:
        """Pass on a line of the run's log. Return a sentence for each tracker that has failed.

        ``training_seconds`` are those of all steps so far.
        """
        figures = {}
        if kind == "step":
            figures = {
                "bits": bits(line["nats"]),
                "targets_per_second": self._config.targets_per_step / line["seconds"],
                "data_wait_share": line["data_wait_seconds"] / line["seconds"],
                "goodput": training_seconds / (time.time() - self._began),
            }
        elif kind == "validation":
            figures = {"validation_bits": bits(line["nats"])}
        if figures:
            with suppress(Full):
                self._lines.put_nowait((figures, line["step"]))
        return [self._complaints.get() for _ in range(self._complaints.qsize())]

    def close(self) -> None:
        """Wait at most ``CLOSE_SECONDS`` until the trackers have all figures."""
        with suppress(Full):
            self._lines.put_nowait(None)
        self._thread.join(CLOSE_SECONDS)

    def _serve(self, step: int) -> None:
        trackers: dict[str, Tracker] = {}
        for name in ("ray", *self._config.cluster.trackers):
            with self._complaining(name):
                trackers[name] = MAKERS[name](self._config, step)
        while (line := self._lines.get()) is not None:
            for name in list(trackers):
                tracker = trackers.pop(name)
                with self._complaining(name):
                    tracker.log(*line)
                    trackers[name] = tracker
        for name, tracker in trackers.items():
            with self._complaining(name):
                tracker.close()

    @contextmanager
    def _complaining(self, name: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            why = f"{type(error).__name__}: {error}"
            self._complaints.put(f"the tracker {name} failed and gets no more figures: {why}")


class _RayMetrics:
    """Ray's gauges ``longwave_...``, for its dashboard and Prometheus."""

    def __init__(self, config: RunConfig, step: int) -> None:
        self._tags = {"study": config.study, "run": config.id}
        self._gauges: dict[str, Gauge] = {}

    def log(self, figures: dict[str, float], step: int) -> None:
        for name, value in figures.items():
            if name not in self._gauges:
                self._gauges[name] = Gauge(f"longwave_{name}", tag_keys=tuple(self._tags))
                self._gauges[name].set_default_tags(self._tags)
            self._gauges[name].set(value)

    def close(self) -> None:
        """Do nothing: gauges need no flush."""


class _TensorBoard:
    """Event files in the run's folder."""

    def __init__(self, config: RunConfig, step: int) -> None:
        module = importlib.import_module(TRACKERS["tensorboard"])
        folder = config.folder / "tensorboard"
        self._writer = module.SummaryWriter(str(folder), purge_step=step + 1)

    def log(self, figures: dict[str, float], step: int) -> None:
        for name, value in figures.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()


class _MLflow:
    """A run of MLflow with the run's id as its name, in the experiment of the study's name."""

    def __init__(self, config: RunConfig, step: int) -> None:
        module = importlib.import_module(TRACKERS["mlflow"])
        self._metric = module.entities.Metric
        self._client = module.MlflowClient()
        experiment = self._client.get_experiment_by_name(config.study)
        folder = (
            experiment.experiment_id if experiment else self._client.create_experiment(config.study)
        )
        known = self._client.search_runs([folder], f"attributes.run_name = '{config.id}'")
        run = known[0] if known else self._client.create_run(folder, run_name=config.id)
        self._run = run.info.run_id
        if not known:
            self._client.log_text(self._run, yaml.safe_dump(config.resolved()), "config.yaml")

    def log(self, figures: dict[str, float], step: int) -> None:
        now = int(time.time() * 1_000)
        metrics = [self._metric(name, value, now, step) for name, value in figures.items()]
        self._client.log_batch(self._run, metrics=metrics)

    def close(self) -> None:
        self._client.set_terminated(self._run)


class _WeightsAndBiases:
    """A run of W&B with the run's id, in the project of the study's name."""

    def __init__(self, config: RunConfig, step: int) -> None:
        module = importlib.import_module(TRACKERS["wandb"])
        self._run = module.init(
            project=config.study,
            id=config.id,
            name=config.id,
            resume="allow",
            config=config.resolved(),
            dir=str(config.folder),
            settings=module.Settings(silent=True),
        )

    def log(self, figures: dict[str, float], step: int) -> None:
        self._run.log(figures, step=step)

    def close(self) -> None:
        self._run.finish()


MAKERS: dict[str, Callable[[RunConfig, int], Tracker]] = {
    "ray": _RayMetrics,
    "tensorboard": _TensorBoard,
    "mlflow": _MLflow,
    "wandb": _WeightsAndBiases,
}
