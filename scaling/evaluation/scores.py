"""Evaluations and probes as JSON files in a run's folder, and paired differences of evaluations.

Sums by recording and second suffice for the errors of losses and of paired differences. This
module imports no torch.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Self, get_args

import numpy as np

from scaling.evaluation.clustered_errors import (
    assign_clusters,
    cluster_sums,
    clustered_mean,
    half_interval,
)
from scaling.runs.record import JsonFile, RecordPart, bits

Protocol = Literal["full-context", "from-silence"]
Kind = Literal["silence", "shuffled", "another"]
KINDS: tuple[Kind, ...] = get_args(Kind)
KEPT_SHARE = 0.95
"""Share of the gain from older chunks that the effective context keeps."""
PROBE_NAME = "probe-{split}.json"


class EvaluationError(ValueError):
    """A model, corpus or file that cannot be scored or compared, with the remedy."""


class Second(RecordPart):
    """Targets in one second of a recording, and the sums of the run's and the references' nats."""

    recording: str
    second: int
    targets: int
    run: float
    linear: float
    histogram: float


class Quantiser(RecordPart):
    """Meaning of the codes. Losses are comparable only between equal quantisers."""

    rate: int
    codec: str
    levels: int
    scaling: str
    chunk: int


class Loss(RecordPart):
    """Mean loss a sample with its cluster-robust standard error, in nats and in bits."""

    nats: float
    standard_error: float
    bits: float
    standard_error_bits: float

    @classmethod
    def of(cls, nats: float, error: float) -> Self:
        """Build a loss from a mean and its standard error, both in nats."""
        return cls(
            nats=nats, standard_error=error, bits=bits(nats), standard_error_bits=bits(error)
        )


class ContextScore(RecordPart):
    """Loss from ``context`` samples, and its paired difference to the loss at the run's context.

    ``extrapolates`` is true if the context is longer than the trained one.
    """

    context: int
    seconds: float
    loss: Loss
    difference: Loss | None
    difference_half_interval: float | None
    extrapolates: bool


class Evaluation(JsonFile):
    """Loss of a run on a list of targets, and the reference losses on the same targets.

    ``left_out`` samples of the split cannot be targets. The standard errors allow for correlation
    within ``clusters``. ``margin`` is the paired difference of the run to ``linear``.
    ``root_mean_square`` is the root mean squared error in codes, if the run learned one value from
    it. ``other_corpus`` is the corpus's name, if the run was trained on another one.
    """

    error_type = EvaluationError
    unusable_text = "evaluation ({error}): remove it and evaluate again"

    run: str
    corpus_fingerprint: str
    quantiser: Quantiser
    split: str
    protocol: Protocol
    positions: str
    context: int
    history: int
    targets: int
    left_out: int
    targets_hash: str
    clusters: int
    clustered_by: str
    loss: Loss
    linear: Loss
    histogram: Loss
    margin: Loss
    by_second: list[Second]
    root_mean_square: float | None = None
    other_corpus: str | None = None

    @property
    def sentence(self) -> str:
        """The loss in words."""
        loss, margin = self.loss, self.margin
        context = "in chunks that begin with silence"
        if self.protocol == "full-context":
            context = f"each from {self.context:,} samples of context"
        corpus = error = ""
        if self.other_corpus:
            corpus = f" of {self.other_corpus}, another corpus than it was trained on"
        if self.root_mean_square is not None:
            share = self.root_mean_square / (self.quantiser.levels / 2)
            error = (
                f" Its root mean squared error is {self.root_mean_square:.1f} codes, {share:.3g} "
                "of full scale."
            )
        return (
            f"{self.run} on {self.split}{corpus}, {self.protocol}: {loss.bits:.4f} bits "
            f"({loss.nats:.4f} nats) a sample, standard error {loss.standard_error_bits:.4f} bits "
            f"({self.clusters:,} {self.clustered_by}), over {self.targets:,} targets, {context} "
            f"({self.left_out:,} samples of the split are left out); "
            f"{abs(margin.bits):.4f} bits {'below' if margin.nats < 0 else 'above'} a linear "
            f"AR(32) predictor on the same targets (standard error "
            f"{margin.standard_error_bits:.4f} bits).{error}"
        )

    def write(self, folder: Path) -> Path:
        """Write the evaluation as JSON into the run's folder, atomically."""
        split = self.split
        if self.other_corpus:
            split += f"-{self.corpus_fingerprint[:12]}"
        name = file_name(split, self.protocol, self.positions, self.history, self.context)
        return self.write_json(folder / name)


def file_name(split: str, protocol: Protocol, positions: str, history: int, context: int) -> str:
    """Return the file name of an evaluation; ``history`` and ``context`` are in samples."""
    return f"evaluation-{split}-{protocol}-{positions}-{history}-{context}.json"


def cluster_seconds(seconds: Sequence[Second]) -> tuple[np.ndarray, str]:
    """Assign each second to a cluster, as :func:`assign_clusters` does."""
    return assign_clusters(
        np.array([second.recording for second in seconds]),
        np.array([second.second for second in seconds]),
    )


def check_evaluations_comparable(evaluations: Sequence[Evaluation]) -> None:
    """Raise EvaluationError if two losses of one protocol were not measured on the same targets."""
    firsts: dict[Protocol, Evaluation] = {}
    for evaluation in evaluations:
        first = firsts.setdefault(evaluation.protocol, evaluation)
        for field in ("targets_hash", "quantiser", "split", "corpus_fingerprint"):
            if getattr(first, field) != getattr(evaluation, field):
                raise EvaluationError(
                    f"run {first.run} was scored with {field} {getattr(first, field)} and run "
                    f"{evaluation.run} with {getattr(evaluation, field)} "
                    f"({evaluation.protocol}): their losses must not share a table. Score both on "
                    "the same targets of one corpus"
                )


def paired_difference(
    minuend: Evaluation, subtrahend: Evaluation, columns: tuple[str, str] = ("run", "run")
) -> tuple[Loss, float]:
    """Return the mean paired difference of two losses and half of its 95 % interval (nats).

    ``columns`` names the sums of :class:`Second` that are compared: the run's or a reference's.
    """
    check_evaluations_comparable([minuend, subtrahend])
    seconds = minuend.by_second
    member, _ = cluster_seconds(seconds)
    differences = [
        getattr(left, columns[0]) - getattr(right, columns[1])
        for left, right in zip(seconds, subtrahend.by_second, strict=True)
    ]
    counts = cluster_sums([second.targets for second in seconds], member)
    nats, error = clustered_mean(cluster_sums(differences, member), counts)
    return Loss.of(nats, error), half_interval(error, len(counts))


class Difference(RecordPart):
    """Paired difference of two runs' losses on the same targets, with half of its 95 % interval."""

    run: str
    against: str
    difference: Loss
    half_interval: float

    @classmethod
    def of(cls, run: Evaluation, against: Evaluation) -> Self:
        """Return ``run`` minus ``against``; EvaluationError if they are not comparable."""
        nats, half = paired_difference(run, against)
        return cls(run=run.run, against=against.run, difference=nats, half_interval=half)

    @property
    def sentence(self) -> str:
        """The difference in words."""
        nats, half = self.difference.nats, self.half_interval
        return (
            f"On the same targets {self.run} is {abs(bits(nats)):.4f} bits ({abs(nats):.4f} nats) "
            f"{'below' if nats < 0 else 'above'} {self.against}, ± {bits(half):.4f} bits (95 %)."
        )


class ReplacedContext(RecordPart):
    """Excess loss (nats a sample) over the full context, with all older chunks replaced.

    The ``kept`` newest samples are unchanged. ``half_interval`` is half of the 95 % interval.
    """

    kind: Kind
    kept: int
    excess: Loss
    half_interval: float


class AttentionMass(RecordPart):
    """Share of attention on the ``newest`` samples by layer, averaged over targets and heads."""

    newest: int
    by_layer: list[float]


class ContextUse(JsonFile):
    """Use that a run makes of its context, on targets of one split.

    ``gain`` is the loss that the chunks older than the newest one save, compared with chunks from
    ``donors``. ``effective`` (samples) is the shortest newest context, in octaves of chunks, that
    keeps 95 % of the gain. It is one chunk if the gain is within its interval of zero.
    """

    error_type = EvaluationError
    unusable_text = "probe ({error}): remove it and probe the run again"

    run: str
    split: str
    rate: int
    context: int
    chunk: int
    targets: int
    targets_hash: str
    loss: Loss
    gain: Loss
    gain_half_interval: float
    effective: int
    donors: str
    replaced: list[ReplacedContext]
    attention: list[AttentionMass]

    @property
    def sentence(self) -> str:
        """The effective context in words."""
        start = (
            f"{self.run} on {self.split} sees {self.context:,} samples "
            f"({self.context / self.rate:.3g} s)"
        )
        gain = f"{self.gain.bits:.4f} ± {bits(self.gain_half_interval):.4f} bits a sample"
        if self.gain.nats <= self.gain_half_interval:
            return (
                f"{start}. The samples before its newest chunk ({self.chunk:,} samples) save "
                f"{gain} compared with chunks of {self.donors}: no measurable gain on "
                f"{self.targets:,} targets."
            )
        return (
            f"{start} and uses {self.effective:,} ({self.effective / self.rate:.3g} s): they keep "
            f"{KEPT_SHARE:.0%} or more of the {gain} that the samples before its newest chunk save "
            f"compared with chunks of {self.donors}."
        )

    def write(self, folder: Path) -> Path:
        """Write the probe as JSON into the run's folder, atomically."""
        return self.write_json(folder / PROBE_NAME.format(split=self.split))


def context_uses(folder: Path, runs: Sequence[str]) -> list[ContextUse]:
    """Read the probes of a study's runs in their order; EvaluationError if one is unusable."""
    return [
        ContextUse.read(path)
        for run in runs
        for path in sorted((folder / run).glob(PROBE_NAME.format(split="*")))
    ]
