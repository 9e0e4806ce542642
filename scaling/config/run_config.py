"""The configuration's shape: what may be written, its types and defaults.

``RunConfig`` is one training run; a corpus's is in :mod:`scaling.config.corpus_config`. All are
frozen and refuse unknown keys. How YAML files become these is in :mod:`scaling.config.load`; what
makes sense together is checked in :mod:`scaling.config.check`.
"""

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from model.architecture import Architecture
from model.baselines.shapes import (
    SampleRNNArchitecture,
    SaShiMiArchitecture,
    WaveNetArchitecture,
)
from model.targets import Mode, Targets

Positive = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(gt=0)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]


class Section(BaseModel):
    """Base of all sections: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class WindowsConfig(Section):
    """What a window trains: its targets (``docs/targets.md``).

    ``per_window`` places a chunk apart share a window; without it 1 for ``last``, and as many as a
    context has chunks for ``chunks`` and ``samples``. For ``sequence`` they are the samples of a
    window, without it those of a context. ``phases`` consecutive samples are targets at
    each place of ``samples``; without it all. ``history`` samples are kept before the first target
    of a recording, so that runs of several contexts are scored, and in ``last`` mode trained, on
    the same targets; without it the run's own context is kept. ``short`` says what becomes of
    targets with less than a context before them: they are left out, or their windows are padded on
    the left and the padding masked, from ``history`` samples on (without it, one chunk).
    ``polarity`` inverts each training window or not, by a fair coin. With ``unique`` a run has
    so many different targets alone, in whole windows drawn by its seed, and then has them again.
    """

    targets: Mode = "last"
    per_window: Positive | None = None
    phases: Positive | None = None
    history: Positive | None = None
    short: Literal["leave_out", "pad"] = "leave_out"
    polarity: bool = False
    unique: Positive | None = None


class TrainConfig(Section):
    """How a run trains. The defaults are the paper's.

    ``batch`` windows make an optimizer step, over all workers; each worker takes its share in
    ``accumulate`` equal pieces. The learning rate is ``learning_rate``, and from the fraction
    ``second_phase`` of the steps on ``second_learning_rate``. Where ``seconds`` are given, the run
    ends with the step in which they are over, if not before: the sequence of batches is the same,
    its length is the machine's.
    """

    batch: Positive = 40
    accumulate: Positive = 1
    steps: Positive = 500_000
    seconds: Rate | None = None
    learning_rate: Rate = 1e-4
    second_learning_rate: Rate = 0.5e-5
    second_phase: Annotated[float, Field(ge=0, le=1)] = 0.5
    precision: Literal["auto", "float32", "bfloat16"] = "float32"
    zero: Literal[0, 1, 2, 3] = 0
    checkpoint_every: Positive = 1_000


class ValidationConfig(Section):
    """The frozen held-out targets: ``windows`` windows of ``per_window``, ``spacing`` apart.

    ``spacing`` (samples) must be a multiple of every chunk that is compared. They are scored every
    ``every`` steps and at the end.

    With ``patience`` the run ends with the weights that were best on them, and early where so many
    scorings in a row, after the learning rate has fallen, were no better.
    """

    windows: Positive = 64
    per_window: Positive = 32
    spacing: Positive = 8_000
    every: Positive = 10_000
    patience: Positive | None = None


TRACKERS = {"tensorboard": "tensorboardX", "mlflow": "mlflow", "wandb": "wandb"}
"""What a run's figures can go to besides its log, and the package that this needs."""


class ClusterConfig(Section):
    """Where a run trains. Nothing here changes what it computes, so it is not part of its id.

    ``workers`` are waited for at the start, ``wait_seconds`` at most; where some are lost on the
    way, the run goes on with as many as divide its batch, ``min_workers`` or more, and takes the
    others back when there is room. ``storage`` is the folder of all studies; on several machines it
    must be shared by all of them. A run that failed is started again from its newest checkpoint,
    ``max_failures`` times in a row without a newer one. A worker that begins nothing new for
    ``hang_seconds`` (or five steps' time, if that is more) counts as stuck. ``trackers`` get the
    run's figures, too.

    ``hardware`` is a file such as ``configs/hardware/a100.yaml`` that says what trains and what it
    costs; runs that are planned to cost more than ``max_dollars`` together are not started, and
    where they do cost so much they stop in their checkpoints.
    """

    workers: Positive = 1
    min_workers: Positive = 1
    wait_seconds: Rate = 3_600
    cpus_per_worker: Positive = 1
    gpu: bool = False
    storage: Path = Path("runs")
    max_failures: Annotated[int, Field(ge=0)] = 3
    hang_seconds: Rate = 60
    trackers: tuple[Literal["tensorboard", "mlflow", "wandb"], ...] = ()
    hardware: Path | None = None
    max_dollars: Rate | None = None


def kind_of(model: Any) -> Any:
    """The ``model.kind`` of what a configuration says of the model; ``latent`` unless it says."""
    if isinstance(model, dict):
        return model.get("kind", Architecture.kind)
    return getattr(model, "kind", None)


class RunConfig(Section):
    """One training run of one study on one prepared corpus."""

    study: Name
    corpus: str
    seed: Annotated[int, Field(ge=0)] = 0
    model: Annotated[
        Annotated[Architecture, Tag("latent")]
        | Annotated[WaveNetArchitecture, Tag("wavenet")]
        | Annotated[SampleRNNArchitecture, Tag("samplernn")]
        | Annotated[SaShiMiArchitecture, Tag("sashimi")],
        Discriminator(kind_of),
    ] = Architecture()
    windows: WindowsConfig = WindowsConfig()
    train: TrainConfig = TrainConfig()
    validation: ValidationConfig = ValidationConfig()
    cluster: ClusterConfig = ClusterConfig()

    @property
    def history(self) -> int:
        """Samples kept before the first target of a recording."""
        shortest = self.model.chunk if self.padded else self.model.context
        return self.windows.history or shortest

    @property
    def padded(self) -> bool:
        """Whether windows may begin before their recording does."""
        return self.windows.short == "pad"

    @property
    def targets(self) -> Targets:
        """Which codes of a training window are targets, and what each of them sees."""
        every = self.model.chunk if self.windows.targets == "samples" else 1
        return Targets(self.windows.targets, self.model.chunk, self.windows.phases or every)

    @property
    def positions(self) -> int:
        """Places a chunk apart that share a training window."""
        return self.windows.per_window or (
            1 if self.windows.targets == "last" else self.model.latents
        )

    @property
    def targets_per_window(self) -> int:
        """Targets of one training window."""
        return self.positions * self.targets.phases

    @property
    def unique_windows(self) -> int | None:
        """Different windows that the run trains on, where it is not all of them."""
        unique = self.windows.unique
        return -(-unique // self.targets_per_window) if unique else None

    @property
    def targets_per_step(self) -> int:
        """Targets of one optimizer step, over all workers."""
        return self.train.batch * self.targets_per_window

    @property
    def half(self) -> bool:
        """Whether products are taken in bfloat16; of ``auto`` what a GPU of today does."""
        precision = self.train.precision
        return precision == "bfloat16" or (precision == "auto" and self.cluster.gpu)

    @property
    def id(self) -> str:
        """The run's id: a hash of everything that determines its result (all but ``cluster``)."""
        content = json.dumps(self.model_dump(mode="json", exclude={"cluster"}), sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:12]

    @property
    def folder(self) -> Path:
        """The run's folder: ``storage / study / id``, absolute."""
        return self.study_folder / self.id

    @property
    def study_folder(self) -> Path:
        """The study's folder: ``storage / study``, absolute."""
        return self.cluster.storage.resolve() / self.study

    def resolved(self) -> dict[str, Any]:
        """Every value, defaults included, as plain JSON types."""
        return self.model_dump(mode="json")


SEARCHABLE = (
    *("train.learning_rate", "train.second_learning_rate", "train.second_phase"),
    *("model.dropout", "model.encoder_dropout", "model.token_drop", "seed"),
)
"""What does not change a model's scale, so that the better of two may be kept for its cell."""


class SweepSection(Section):
    """What a sweep varies, by dotted keys: every combination of ``grid``, and single ``points``.

    ``concurrent`` runs train at once; without it as many as the cluster has room for.

    ``search`` has values that are tried in each of these cells, every combination: of a learning
    rate, never of a scale. At each of the ``rungs``, shares of the schedule in rising order, the
    better half goes on, from the last one the best alone.
    """

    grid: dict[str, tuple[Any, ...]] = {}
    points: tuple[dict[str, Any], ...] = ()
    search: dict[str, tuple[Any, ...]] = {}
    rungs: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = (0.25, 0.5)
    concurrent: Positive | None = None
