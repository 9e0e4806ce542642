"""The run record: everything that analysis may know about one finished run, as one JSON file.

Reports, fits and tables read records and nothing else, so that every number in them can be traced
to a run, its configuration, its code version and its corpus. Losses are held in nats a sample; bits
are derived (``bits = nats / ln 2``) and never stored beside them.
"""

import math
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from datasets.files import replacing

SCHEMA = 6
FILE_NAME = "record.json"
LONGEST_PLACE = 200
"""Characters of where a problem is: a damaged key may have thousands."""


class RecordError(ValueError):
    """A record file that cannot be used, with its path and the reason."""


def bits(nats: float) -> float:
    """Convert nats to bits: ``nats / ln 2``."""
    return nats / math.log(2)


def in_both_units(nats: float, digits: int = 4, sign: str = "") -> str:
    """Return a loss as text in bits and nats; ``sign`` is empty or ``+``."""
    return f"{bits(nats):{sign}.{digits}f} bits ({nats:{sign}.{digits}f} nats)"


class RecordPart(BaseModel):
    """Base of the record's parts: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class JsonFile(RecordPart):
    """Base of what is kept as a JSON file of its own.

    ``refused`` is the error where a file cannot be used, and ``unusable`` what it says of it.
    """

    error_type: ClassVar[type[ValueError]] = RecordError
    unusable_text: ClassVar[str]

    def write_json(self, path: Path) -> Path:
        """Write it to ``path``, whole or not at all."""
        with replacing(path) as partial:
            partial.write_text(self.model_dump_json(indent=1) + "\n")
        return path

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read one; ``refused`` says which file is unusable and why."""
        try:
            return cls.model_validate_json(path.read_text())
        except (OSError, ValueError) as error:
            reason = _first(error) if isinstance(error, ValidationError) else error
            raise cls.error_type(
                f"{path} is not a usable {cls.unusable_text.format(error=reason)}"
            ) from error


def _first(error: ValidationError) -> str:
    """The first problem in a line: there may be thousands, each with all that it was found in."""
    problems = error.errors(include_url=False, include_input=False, include_context=False)
    where = ".".join(map(str, problems[0]["loc"]))[:LONGEST_PLACE]
    more = f", and {len(problems) - 1:,} more" if len(problems) > 1 else ""
    return f"{where}{': ' if where else ''}{problems[0]['msg']}{more}"


class References(RecordPart):
    """The two plain predictors every loss is read against, in nats a sample.

    ``histogram`` is the entropy of the split's own code histogram, ``linear`` the linear AR(32)
    predictor with a discretised logistic residual, both over the whole split (corpus manifest).
    ``linear_on_targets`` is the same predictor on exactly the validation targets of this run, and
    ``margin`` the paired difference (run minus predictor) with its standard error: negative where
    the run predicts better.
    """

    histogram: float
    linear: float
    linear_on_targets: float
    margin: float
    margin_standard_error: float


class ContextLoss(RecordPart):
    """Mean loss (nats) of targets that see from ``shortest`` to ``longest`` samples of context.

    ``excess`` is how much more that is than at the longest context, pair by pair. The standard
    errors are None where there is one observation.
    """

    shortest: int
    longest: int
    nats: float
    standard_error: float | None
    excess: float
    excess_standard_error: float | None


class Validation(RecordPart):
    """The final loss on the frozen list of held-out targets.

    ``by_context`` scores the same targets from every context that the run trained, in octaves.

    ``standard_error`` (nats) lets the targets of a cluster be correlated: ``clusters`` recordings,
    or blocks of time, as ``clustered_by`` says. ``targets_hash`` identifies the list: losses with
    different hashes must never share a table or a fit. The weights of ``step`` are scored:
    the last ones, or with ``validation.patience`` the best.
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
    """One point of a learning curve: mean loss after ``targets`` trained targets."""

    step: int
    targets: int
    nats: float


class CorpusFacts(RecordPart):
    """Which samples, cut and quantised how; ``chunk`` samples were scaled together, 0 for none.

    ``copies`` of the recordings are changed copies, ``augmentation`` how far they were changed.
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
    """What was trained on. ``order_digest`` condenses the sequence of global batches.

    A window held ``positions`` places a chunk apart, with ``phases`` targets at each. Where targets
    saw several contexts, ``by_context`` is their training loss in octaves, over the last quarter of
    the steps, each step being one observation. ``left_out`` eligible targets were in no window, and
    ``padded_windows`` of the split's windows began before their recording.
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
        """How often a target was seen: more than once where the data was repeated."""
        return self.seen / self.unique


class Operations(RecordPart):
    """Floating-point operations (2 for a multiply-add), forward and backward, by formula.

    ``naive_per_target`` is what a target costs that has a window of the full context of its own,
    ``counted_per_target`` what torch counted in the first step; None in records before version 6.
    """

    per_target: float
    total: float
    naive_per_target: float
    counted_per_target: float | None = None


class Throughput(RecordPart):
    """Speed of the run.

    ``step_seconds`` is the median step. ``training_seconds`` are those of all steps, without the
    waits for the stream to fill after each start, of which ``first_batch_seconds`` is the longest.
    ``goodput`` is their share of ``wall_seconds``, from the first start to the end; steps that were
    lost and done again count once.
    ``data_wait_share`` is the share of step time spent waiting for data, without those first steps.
    ``peak_memory_bytes`` is that of one worker, ``idle_memory_bytes`` what it held before there was
    a model: of a GPU nothing, without one what its process and libraries take (None in records
    before version 6).
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
    """A start of the workers after the first: from which step, how many, and why.

    ``lost_steps`` were done and had to be done again. ``seconds`` are those from the last step
    before it to the first one after it, None where one of them is missing.
    """

    step: int
    workers: int
    why: str | None
    lost_steps: int
    seconds: float | None


class RunRecord(JsonFile):
    """One finished run. ``axes`` names what its sweep varied, as dotted configuration keys.

    ``warnings`` are what went wrong on the way without ending it.
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
        """Write ``record.json`` into the run folder, at once or not at all."""
        return self.write_json(folder / FILE_NAME)
