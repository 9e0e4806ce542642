"""The evaluation of a run as it is kept: a loss, what it was measured on, and its sums by second.

Sums by recording and second are enough for the error of a loss and for that of the paired
difference of two, whatever the length of the recordings.
"""

from pathlib import Path
from typing import Literal, Self

from scaling.runs.record import JsonFile, RecordPart, bits

Protocol = Literal["full-context", "from-silence"]


class EvaluationError(ValueError):
    """What cannot be scored or compared, with what to do."""


class Second(RecordPart):
    """The targets in one second of a recording, and the sums of their nats: the run's, and those of
    the linear AR(32) and of the histogram of the training codes.
    """

    recording: str
    second: int
    targets: int
    run: float
    linear: float
    histogram: float


class Quantiser(RecordPart):
    """What codes stand for: losses of other ones are not comparable."""

    rate: int
    codec: str
    levels: int
    scaling: str
    chunk: int


class Loss(RecordPart):
    """A mean a sample, in nats and bits, and its standard error with correlation in clusters."""

    nats: float
    standard_error: float
    bits: float
    standard_error_bits: float

    @classmethod
    def of(cls, nats: float, error: float) -> Self:
        """A mean and its standard error, both in nats."""
        return cls(
            nats=nats, standard_error=error, bits=bits(nats), standard_error_bits=bits(error)
        )


class ContextScore(RecordPart):
    """The loss from ``context`` samples, and its paired difference to the run's own context.

    ``extrapolates`` is true beyond that: the model then reads places that it was never trained on.
    """

    context: int
    seconds: float
    loss: Loss
    difference: Loss | None
    difference_half_interval: float | None
    extrapolates: bool


class Evaluation(JsonFile):
    """A loss, and what it was measured on.

    ``targets_hash`` identifies the list of (recording, offset) and ``left_out`` counts samples of
    the split that cannot be in it. ``clusters`` of ``clustered_by`` carry the standard errors.
    ``linear`` and ``histogram`` are the plain references on the same targets, and ``margin`` is the
    paired difference of the run to the former. ``root_mean_square`` is the root of the mean squared
    error, in codes, of a run that learned one value from it. ``other_corpus`` is the name of the
    corpus where it is not the one that the run was trained on.
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
        seen = (
            f"each from {self.context:,} samples of context"
            if self.protocol == "full-context"
            else "in chunks that begin with silence"
        )
        loss, margin = self.loss, self.margin
        where = ""
        if self.other_corpus:
            where = f" of {self.other_corpus}, another corpus than it was trained on"
        return (
            f"{self.run} on {self.split}{where}, {self.protocol}: {loss.bits:.4f} bits "
            f"({loss.nats:.4f} nats) a sample, standard error {loss.standard_error_bits:.4f} bits "
            f"({self.clusters:,} {self.clustered_by}), over {self.targets:,} targets, {seen} "
            f"({self.left_out:,} samples of the split are left out); "
            f"{abs(margin.bits):.4f} bits {'below' if margin.nats < 0 else 'above'} a linear "
            f"AR(32) predictor on the same targets (standard error "
            f"{margin.standard_error_bits:.4f} bits)."
        ) + ("" if self.root_mean_square is None else self._error)

    @property
    def _error(self) -> str:
        """The root of the mean squared error in words."""
        assert self.root_mean_square is not None
        share = self.root_mean_square / (self.quantiser.levels / 2)
        return (
            f" The root of its mean squared error is {self.root_mean_square:.1f} codes, "
            f"{share:.3g} of full scale."
        )

    def write(self, folder: Path) -> Path:
        """Write it as JSON into the run's folder, whole or not at all."""
        split = self.split
        if self.other_corpus:
            split += f"-{self.corpus_fingerprint[:12]}"
        name = file_name(split, self.protocol, self.positions, self.history, self.context)
        return self.write_json(folder / name)


def file_name(split: str, protocol: Protocol, positions: str, history: int, context: int) -> str:
    """The name of an evaluation in its run's folder; ``history`` and ``context`` are in samples."""
    return f"evaluation-{split}-{protocol}-{positions}-{history}-{context}.json"
