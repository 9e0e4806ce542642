"""Configuration of a run and of a sweep: keys, types and defaults.

:mod:`scaling.config.load` builds it from YAML; :mod:`scaling.config.check` checks values that must
fit together. All sections are frozen and refuse unknown keys.
"""

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from model.architecture import Architecture
from model.baselines.shapes import SampleRNNArchitecture, SaShiMiArchitecture, WaveNetArchitecture
from model.targets import Mode, Targets

Positive = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(gt=0)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]


class Section(BaseModel):
    """Base of all sections: frozen, and an unknown key is an error.

    The docstring below a key is its description in ``docs/configuration.md``; it ends with
    "Unit: ..." for a number.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", protected_namespaces=(), use_attribute_docstrings=True
    )


class WindowsConfig(Section):
    """Targets of a training window (``docs/targets.md``)."""

    targets: Mode = "last"
    """The samples of a window that are predicted: the next sample after a context (`last`), after
    every chunk (`chunks`), at consecutive samples of every chunk (`samples`), or at every sample of
    a sequence (`sequence`, the baselines).
    """
    per_window: Positive | None = None
    """Positions of a window, a chunk apart; of `sequence` the samples of a window. Without it 1 for
    `last` and one context otherwise. Unit: positions.
    """
    phases: Positive | None = None
    """Consecutive samples that are targets at each position of `samples`; without it every sample
    of the chunk. Unit: samples.
    """
    history: Positive | None = None
    """Samples before the first target of a recording; without it the context. Set it to the longest
    context of a study, so that all runs have the same targets. Unit: samples.
    """
    short: Literal["leave_out", "pad"] = "leave_out"
    """Treatment of targets with less than a context before them: left out, or padded on the left
    with the padding masked.
    """
    polarity: bool = False
    """Invert each training window with probability 1/2."""
    unique: Positive | None = None
    """Number of different targets of a run, rounded up to whole windows; the run then repeats them.
    Unit: targets.
    """


class TrainConfig(Section):
    """Optimiser, schedule and checkpoints of a run. The defaults are the paper's."""

    batch: Positive = 40
    """Windows of an optimizer step, over all workers. Unit: windows."""
    accumulate: Positive = 1
    """Micro-batches into which a worker divides its share of a batch. Unit: micro-batches."""
    steps: Positive = 500_000
    """Optimiser steps of the run. Unit: steps."""
    seconds: Rate | None = None
    """Time of training steps after which the run ends, if it has not ended before. Unit: seconds.
    """
    learning_rate: Rate = 1e-4
    """Learning rate of Adam in the first phase. Unit: 1."""
    second_learning_rate: Rate = 0.5e-5
    """Learning rate of Adam in the second phase. Unit: 1."""
    second_phase: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Share of the steps after which the second phase begins. Unit: fraction."""
    precision: Literal["auto", "float32", "bfloat16"] = "float32"
    """Number format of products: `auto` is bfloat16 on a GPU and float32 on a CPU."""
    zero: Literal[0, 1, 2, 3] = 0
    """ZeRO stage of DeepSpeed: what is sharded over workers."""
    checkpoint_every: Positive = 1_000
    """Steps between two checkpoints. Unit: steps."""


class ValidationConfig(Section):
    """Frozen held-out targets, scored during training and at its end."""

    windows: Positive = 64
    """Held-out windows, the same for every run of a study. Unit: windows."""
    per_window: Positive = 32
    """Targets of a held-out window. Unit: targets."""
    spacing: Positive = 8_000
    """Distance between two targets of a window; a multiple of every chunk in the study. Unit:
    samples.
    """
    every: Positive = 10_000
    """Steps between two validations; the last step is always validated. Unit: steps."""
    patience: Positive | None = None
    """Validations in a row without a lower loss, in the second phase, after which the run ends. The
    run keeps its best weights. Unit: validations.
    """


TRACKERS = {"tensorboard": "tensorboardX", "mlflow": "mlflow", "wandb": "wandb"}
"""Package that each destination of metrics needs."""


class ClusterConfig(Section):
    """Resources of a run. These keys do not change its result or its id."""

    workers: Positive = 1
    """Workers of the run. Unit: workers."""
    min_workers: Positive = 1
    """Fewest workers with which the run continues after others are lost. Unit: workers."""
    wait_seconds: Rate = 3_600
    """Longest wait for all workers at the first start. Unit: seconds."""
    cpus_per_worker: Positive = 1
    """CPU cores that Ray reserves for a worker. Unit: cores."""
    gpu: bool = False
    """Reserve one GPU for each worker."""
    storage: Path = Path("runs")
    """Folder of all studies; on several machines it must be shared."""
    max_failures: Annotated[int, Field(ge=0)] = 3
    """Failures in a row, without a newer checkpoint, after which the run is given up. Unit:
    failures.
    """
    hang_seconds: Rate = 60
    """Time without a new action after which a worker counts as stuck, or five steps' time if that
    is more. Unit: seconds.
    """
    trackers: tuple[Literal["tensorboard", "mlflow", "wandb"], ...] = ()
    """Destinations of metrics besides the run's log."""
    hardware: Path | None = None
    """File that describes the accelerator and its price, such as `configs/hardware/a100.yaml`."""
    max_dollars: Rate | None = None
    """Limit of the cost of all runs of a command: dearer plans do not start, and runs that reach
    the limit stop in their checkpoints. Unit: US dollars.
    """


def kind_of(model: Any) -> Any:
    """Return ``model.kind`` of a model or its keys; ``latent`` by default."""
    if isinstance(model, dict):
        return model.get("kind", Architecture.kind)
    return getattr(model, "kind", None)


class RunConfig(Section):
    """One training run of one study on one prepared corpus."""

    study: Name
    """Name of the study, and of its folder."""
    corpus: str
    """Folder or URI of a prepared corpus."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of weights, order of windows and dropout."""
    model: Annotated[
        Annotated[Architecture, Tag("latent")]
        | Annotated[WaveNetArchitecture, Tag("wavenet")]
        | Annotated[SampleRNNArchitecture, Tag("samplernn")]
        | Annotated[SaShiMiArchitecture, Tag("sashimi")],
        Discriminator(kind_of),
    ] = Architecture()
    """The model; `model.kind` selects one of the kinds below."""
    windows: WindowsConfig = WindowsConfig()
    """The targets of a training window (`docs/targets.md`)."""
    train: TrainConfig = TrainConfig()
    """Optimiser, schedule and checkpoints. The defaults are the paper's."""
    validation: ValidationConfig = ValidationConfig()
    """The frozen held-out targets, scored during training and at its end."""
    cluster: ClusterConfig = ClusterConfig()
    """Resources of the run. These keys do not change the result and are no part of the run's id."""

    @property
    def history(self) -> int:
        """Samples before the first target of a recording."""
        shortest = self.model.chunk if self.padded else self.model.context
        return self.windows.history or shortest

    @property
    def padded(self) -> bool:
        """Windows may begin before their recording."""
        return self.windows.short == "pad"

    @property
    def targets(self) -> Targets:
        """Targets of a training window, and the context of each."""
        every = self.model.chunk if self.windows.targets == "samples" else 1
        return Targets(self.windows.targets, self.model.chunk, self.windows.phases or every)

    @property
    def positions(self) -> int:
        """Positions of a training window, a chunk apart."""
        return self.windows.per_window or (
            1 if self.windows.targets == "last" else self.model.latents
        )

    @property
    def targets_per_window(self) -> int:
        """Targets of one training window."""
        return self.positions * self.targets.phases

    @property
    def unique_windows(self) -> int | None:
        """Number of different training windows; None for all."""
        unique = self.windows.unique
        return -(-unique // self.targets_per_window) if unique else None

    @property
    def targets_per_step(self) -> int:
        """Targets of one optimizer step, over all workers."""
        return self.train.batch * self.targets_per_window

    @property
    def half(self) -> bool:
        """Products are in bfloat16, which ``auto`` selects on a GPU."""
        precision = self.train.precision
        return precision == "bfloat16" or (precision == "auto" and self.cluster.gpu)

    @property
    def id(self) -> str:
        """Id of the run: a hash of all keys that determine its result (all but ``cluster``)."""
        content = json.dumps(self.model_dump(mode="json", exclude={"cluster"}), sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:12]

    @property
    def folder(self) -> Path:
        """Folder of the run: ``storage / study / id``, absolute."""
        return self.study_folder / self.id

    @property
    def study_folder(self) -> Path:
        """Folder of the study: ``storage / study``, absolute."""
        return self.cluster.storage.resolve() / self.study

    def resolved(self) -> dict[str, Any]:
        """Return every value, defaults included, as plain JSON types."""
        return self.model_dump(mode="json")


SEARCHABLE = (
    *("train.learning_rate", "train.second_learning_rate", "train.second_phase"),
    *("model.dropout", "model.encoder_dropout", "model.token_drop", "seed"),
)
"""Keys that do not change a model's scale, so a cell may keep the best of several values."""


class SweepSection(Section):
    """Runs of a sweep: every combination of ``grid``, and single ``points``."""

    grid: dict[str, tuple[Any, ...]] = {}
    """Values by dotted key; every combination is a cell."""
    points: tuple[dict[str, Any], ...] = ()
    """Single cells, each with values by dotted key."""
    search: dict[str, tuple[Any, ...]] = {}
    """Values by dotted key that are tried in every cell, of which the best run is kept: learning
    rates, dropout and the seed only.
    """
    rungs: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = (0.25, 0.5)
    """Shares of the schedule, in rising order, at which the better half of a cell continues. Unit:
    fraction.
    """
    concurrent: Positive | None = None
    """Runs that train at the same time; without it as many as the cluster has room for. Unit: runs.
    """
