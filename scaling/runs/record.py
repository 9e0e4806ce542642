"""Run record: all data of one finished run for analysis, as one JSON file.

Reports, fits and tables read only records. So every number in them can be traced to a run, its
configuration, its code version and its corpus. Losses are stored in nats per sample; bits are
computed from them (``bits = nats / ln 2``) and never stored.
"""

import math
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from datasets.files import write_whole

SCHEMA = 6
FILE_NAME = "record.json"
LONGEST_PLACE = 200
"""Characters of a key in a sentence: a damaged key may have thousands."""


class RecordError(ValueError):
    """A record file that cannot be used."""


def bits(nats: float) -> float:
    """Return nats in bits: ``nats / ln 2``."""
    return nats / math.log(2)


def in_both_units(nats: float, digits: int = 4, sign: str = "") -> str:
    """Return a loss as text in bits and nats; ``sign`` is empty or ``+``."""
    return f"{bits(nats):{sign}.{digits}f} bits ({nats:{sign}.{digits}f} nats)"


class RecordPart(BaseModel):
    """Base of the record's parts: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class JsonFile(RecordPart):
    """Base of parts that are a JSON file of their own.

    ``error_type`` is raised for an unusable file; ``unusable_text`` ends its sentence.
    """

    error_type: ClassVar[type[ValueError]] = RecordError
    unusable_text: ClassVar[str]

    def write_json(self, path: Path) -> Path:
        """Write the file, whole or not at all."""
        write_whole(path, self.model_dump_json(indent=1) + "\n")
        return path

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file; raise ``error_type`` with the path and the reason if it cannot be used."""
        try:
            return cls.model_validate_json(path.read_text())
        except (OSError, ValueError) as error:
            reason = _first(error) if isinstance(error, ValidationError) else error
            raise cls.error_type(
                f"{path} is not a usable {cls.unusable_text.format(error=reason)}"
            ) from error


def _first(error: ValidationError) -> str:
    """Return the first problem in one line: a file may have thousands."""
    problems = error.errors(include_url=False, include_input=False, include_context=False)
    where = ".".join(map(str, problems[0]["loc"]))[:LONGEST_PLACE]
    more = f", and {len(problems) - 1:,} more" if len(problems) > 1 else ""
    return f"{where}{': ' if where else ''}{problems[0]['msg']}{more}"


class References(RecordPart):
    """Losses of two plain predictors, with which every loss is compared, in nats per sample.

    Attributes:
        histogram: entropy of the split's code histogram, over the whole split (corpus manifest).
        linear: linear AR(32) predictor with a discretised logistic residual, over the whole split.
        linear_on_targets: the same predictor on the validation targets of this run.
        margin: paired difference, run minus predictor; negative if the run predicts better.
    """

    histogram: float
    linear: float
    linear_on_targets: float
    margin: float
    margin_standard_error: float


class ContextLoss(RecordPart):
    """Mean loss (nats) of targets with ``shortest`` to ``longest`` samples of context.

    ``excess`` is the paired difference from the longest context. The standard errors are None for a
    single observation.
    """

    shortest: int
    longest: int
    nats: float
    standard_error: float | None
    excess: float
    excess_standard_error: float | None


class Validation(RecordPart):
    """Final loss on the frozen list of held-out targets.

    Attributes:
        step: step of the scored weights: the last, or with ``validation.patience`` the best.
        targets_hash: id of the list; losses with different ids must not share a table or a fit.
        standard_error: in nats; targets of one cluster may be correlated.
        clusters: number of clusters, which ``clustered_by`` names: recordings or blocks of time.
        by_context: loss of the same targets from every trained context, in octaves.
    """

    split: str
    step: int | None = None
    targets: int
    targets_hash: str
    nats: float
    standard_error: float
    clusters: int
    clustered_by: str
    references: References
    by_context: list[ContextLoss]


class CurvePoint(RecordPart):
    """Point of a learning curve: mean loss after ``targets`` trained targets."""

    step: int
    targets: int
    nats: float


class CorpusFacts(RecordPart):
    """Corpus of a run: its ``rate`` (hertz), the length of all recordings (``seconds``), and more.

    ``chunk`` samples were scaled together, 0 without scaling by chunk. ``copies`` recordings are
    changed copies, within the limits of ``augmentation``.
    """

    name: str
    fingerprint: str
    rate: int
    codec: str
    levels: int
    scaling: str
    chunk: int
    split_rule: str
    contexts_cross_splits: bool
    recordings: int
    copies: int
    augmentation: dict[str, Any]
    seconds: float


class TargetCounts(RecordPart):
    """Targets of training.

    Attributes:
        positions, phases: positions of a window, a chunk apart; consecutive targets at each.
        by_context: training loss in octaves of context over the last quarter of the steps, each
            step one observation; empty if all targets saw the same context.
        left_out: eligible targets in no window.
        padded_windows: windows of the split that begin before their recording.
        order_digest: digest of the sequence of global batches.
    """

    mode: str
    positions: int
    phases: int
    by_context: list[ContextLoss]
    per_step: int
    steps: int
    seen: int
    unique: int
    left_out: int
    padded_windows: int
    order_digest: str

    @property
    def passes(self) -> float:
        """Mean number of times that each target was trained."""
        return self.seen / self.unique


class Operations(RecordPart):
    """Floating-point operations (2 for a multiply-add), forward and backward, by formula.

    ``naive_per_target`` is for a target with a full context of its own, ``counted_per_target`` the
    count of PyTorch in the first step; None in records before version 6.
    """

    per_target: float
    total: float
    naive_per_target: float
    counted_per_target: float | None = None


class Throughput(RecordPart):
    """Speed and memory of the run.

    Attributes:
        step_seconds: median step.
        training_seconds: all steps, without the wait for the first batch of each start.
        data_wait_share: share of step time that waited for data, without those first batches.
        goodput: share of ``training_seconds`` in ``wall_seconds``; repeated steps count once.
        first_batch_seconds: longest wait for the first batch of a start.
        wall_seconds: from the first start to the end.
        peak_memory_bytes: peak of one worker.
        idle_memory_bytes: memory of a worker before it has a model: 0 on a GPU, on a CPU that of
            the process and its libraries; None in records before version 6.
    """

    targets_per_second: float
    step_seconds: float
    training_seconds: float
    data_wait_share: float
    goodput: float
    first_batch_seconds: float
    wall_seconds: float
    peak_memory_bytes: int
    idle_memory_bytes: int | None = None


class Restart(RecordPart):
    """Start of the workers after the first one, at which ``lost_steps`` are repeated.

    ``seconds`` are from the last step before it to the first one after it, None if one is missing.
    """

    step: int
    workers: int
    why: str | None
    lost_steps: int
    seconds: float | None


class RunRecord(JsonFile):
    """Record of one finished run, with the values that its sweep varied (``axes``) by dotted key.

    ``warnings`` are about problems that did not end it; times are in ISO 8601.
    """

    unusable_text = "run record: {error}"

    record_version: int = SCHEMA
    id: str
    study: str
    axes: dict[str, Any]
    config: dict[str, Any]
    code_version: str
    hardware: dict[str, Any]
    versions: dict[str, str]
    corpus: CorpusFacts
    parameters: dict[str, int]
    precision: str
    operations: Operations
    targets: TargetCounts
    validation: Validation
    training_curve: list[CurvePoint]
    validation_curve: list[CurvePoint]
    throughput: Throughput
    restarts: list[Restart]
    warnings: list[str]
    started: str
    finished: str

    @property
    def total_parameters(self) -> int:
        """Trainable parameters of all groups."""
        return sum(self.parameters.values())

    def write(self, folder: Path) -> Path:
        """Write ``record.json`` into the run folder, whole or not at all."""
        return self.write_json(folder / FILE_NAME)
