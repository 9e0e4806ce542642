"""The exact loss of a trained model on a split, by one of two protocols, with its error.

What is kept of the targets are sums by recording and second: enough for the errors of a loss and of
the paired difference of two, whatever the length of the recordings.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Self

import numpy as np

from datasets.files import replacing
from datasets.manifest import Corpus
from scaling.clusters import cluster, clustered_mean
from scaling.protocols import Protocol, Scoring, from_silence, full_context
from scaling.record import Part, bits
from scaling.trained import Trained

Progress = Callable[[int, int], None]

COLUMNS = ("run", "linear", "histogram")


class EvaluationError(ValueError):
    """What cannot be scored or compared, with what to do."""


class Second(Part):
    """The targets in one second of a recording, and the sums of their nats: the run's, and those of
    the linear AR(32) and of the histogram of the training codes.
    """

    recording: str
    second: int
    targets: int
    run: float
    linear: float
    histogram: float


class Quantiser(Part):
    """What codes stand for: losses of other ones are not comparable."""

    rate: int
    codec: str
    levels: int
    scaling: str
    chunk: int


class Loss(Part):
    """A mean a sample, in nats and bits, and its standard error with correlation in clusters."""

    nats: float
    standard_error: float
    bits: float
    standard_error_bits: float


class Evaluation(Part):
    """A loss, and what it was measured on.

    ``targets_hash`` identifies the list of (recording, offset) and ``left_out`` counts samples of
    the split that are not in it. ``clusters`` of ``clustered_by`` carry the standard errors.
    ``linear`` and ``histogram`` are the plain references on the same targets, and ``margin`` is the
    paired difference of the run to the former.
    """

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

    @property
    def sentence(self) -> str:
        """The loss in words."""
        seen = (
            f"each from {self.context:,} samples of context"
            if self.protocol == "full-context"
            else "in chunks that begin with silence"
        )
        loss, margin = self.loss, self.margin
        return (
            f"{self.run} on {self.split}, {self.protocol}: {loss.bits:.4f} bits "
            f"({loss.nats:.4f} nats) a sample, standard error {loss.standard_error_bits:.4f} bits "
            f"({self.clusters:,} {self.clustered_by}), over {self.targets:,} targets, {seen} "
            f"({self.left_out:,} samples of the split are left out); "
            f"{abs(margin.bits):.4f} bits {'below' if margin.nats < 0 else 'above'} a linear "
            f"AR(32) predictor on the same targets (standard error "
            f"{margin.standard_error_bits:.4f} bits)."
        )

    def write(self, folder: Path) -> Path:
        """Write it as JSON into the run's folder, whole or not at all."""
        path = folder / file_name(self.split, self.protocol, self.positions, self.history)
        with replacing(path) as partial:
            partial.write_text(self.model_dump_json(indent=1) + "\n")
        return path

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read one; EvaluationError says which file is unusable and why."""
        try:
            return cls.model_validate_json(path.read_text())
        except (OSError, ValueError) as error:
            raise EvaluationError(
                f"{path} is not a usable evaluation ({error}): remove it and evaluate again"
            ) from error


def file_name(split: str, protocol: Protocol, positions: str, history: int) -> str:
    """The name of an evaluation in its run's folder."""
    return f"evaluation-{split}-{protocol}-{positions}-{history}.json"


def evaluate(
    run: Trained,
    corpus: Corpus,
    split: str,
    progress: Progress,
    protocol: Protocol = "full-context",
    positions: int | None = None,
    history: int | None = None,
) -> Evaluation:
    """Score a split by a protocol.

    ``full-context`` scores every sample, or ``positions`` random ones, rounded up to whole windows,
    of those with ``history`` samples before them (without it, the model's context).
    ``from-silence`` scores every sample of every whole chunk. ``progress`` is called with targets
    done and targets in all. EvaluationError where the corpus is not the run's, WindowError and
    ManifestError where the split holds no target.
    """
    if corpus.fingerprint != run.record.corpus.fingerprint:
        raise EvaluationError(
            f"{corpus.folder} has the fingerprint {corpus.fingerprint[:12]}, and the run was "
            f"trained on {run.record.corpus.fingerprint[:12]}: prepare the run's corpus again"
        )
    context = run.config.model.context
    if protocol == "from-silence":
        positions, history = None, 0
        scoring = from_silence(run, corpus, split)
    else:
        history = context if history is None else history
        scoring = full_context(run, corpus, split, positions, history)
    seconds = _by_second(scoring, corpus.rate, progress)
    member, clustered_by = cluster(
        np.array([one.recording for one in seconds]), np.array([one.second for one in seconds])
    )
    counts, *sums = (
        clustered([getattr(one, name) for one in seconds], member) for name in ("targets", *COLUMNS)
    )
    of_run, of_linear, of_histogram = sums
    return Evaluation(
        run=run.record.id,
        corpus_fingerprint=corpus.fingerprint,
        quantiser=Quantiser(**{name: getattr(corpus, name) for name in Quantiser.model_fields}),
        split=split,
        protocol=protocol,
        positions="all" if positions is None else str(positions),
        context=context,
        history=history,
        targets=int(counts.sum()),
        left_out=scoring.left_out,
        targets_hash=scoring.targets_hash,
        clusters=len(counts),
        clustered_by=clustered_by,
        loss=_loss(of_run, counts),
        linear=_loss(of_linear, counts),
        histogram=_loss(of_histogram, counts),
        margin=_loss(of_run - of_linear, counts),
        by_second=seconds,
    )


def clustered(values: list[float], member: np.ndarray) -> np.ndarray:
    """The sums (G,) of values (n,) in each cluster."""
    _, number = np.unique(member, return_inverse=True)
    return np.bincount(number, weights=values)


def _loss(sums: np.ndarray, counts: np.ndarray) -> Loss:
    nats, error = clustered_mean(sums, counts)
    return Loss(nats=nats, standard_error=error, bits=bits(nats), standard_error_bits=bits(error))


def _by_second(scoring: Scoring, rate: int, progress: Progress) -> list[Second]:
    """The sums of all pieces by recording and second, in the order of both."""
    found: dict[tuple[str, int], np.ndarray] = {}
    done = 0
    for piece in scoring.pieces:
        own, member = np.unique(piece.offsets // rate, return_inverse=True)
        weights = [None, *(getattr(piece, name) for name in COLUMNS)]
        columns = [np.bincount(member, weights=weight) for weight in weights]
        for second, row in zip(own.tolist(), np.stack(columns, 1), strict=True):
            key = (piece.recording, second)
            found[key] = found.get(key, 0) + row
        done += len(piece.offsets)
        progress(done, scoring.targets)
    return [
        Second(
            recording=recording,
            second=second,
            targets=int(row[0]),
            **dict(zip(COLUMNS, row[1:].tolist(), strict=True)),
        )
        for (recording, second), row in sorted(found.items())
    ]
