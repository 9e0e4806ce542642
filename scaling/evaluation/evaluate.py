"""The exact loss of a trained model on a split, by one of two protocols, with its error."""

from collections.abc import Callable

import numpy as np

from datasets.manifest import Corpus
from scaling.evaluation.clustered_errors import assign_clusters, cluster_sums, clustered_mean
from scaling.evaluation.protocols import Scoring, from_silence, full_context
from scaling.evaluation.scores import Evaluation, EvaluationError, Loss, Protocol, Quantiser, Second
from scaling.runs.trained_model import TrainedModel

COLUMNS = ("run", "linear", "histogram")
Progress = Callable[[int, int], None]


def evaluate(
    run: TrainedModel,
    corpus: Corpus,
    split: str,
    progress: Progress,
    protocol: Protocol = "full-context",
    positions: int | None = None,
    history: int | None = None,
    *,
    transfer: bool = False,
) -> Evaluation:
    """Score a split by a protocol.

    ``full-context`` scores every sample, or ``positions`` random ones, rounded up to whole windows,
    of those with ``history`` samples before them (without it, the model's context).
    ``from-silence`` scores every sample of every whole chunk. ``progress`` is called with targets
    done and targets in all. With ``transfer`` the corpus may be another than the run's, of codes
    that mean the same; EvaluationError where it is not what it may be, WindowError and
    ManifestError where the split holds no target.
    """
    other = _other(run, corpus, transfer=transfer)
    context = run.config.model.context
    if protocol == "from-silence":
        positions, history = None, 0
        scoring = from_silence(run, corpus, split)
    else:
        history = context if history is None else history
        scoring = full_context(run, corpus, split, positions, history)
    seconds = _by_second(scoring, corpus.rate, progress)
    member, clustered_by = assign_clusters(
        np.array([one.recording for one in seconds]), np.array([one.second for one in seconds])
    )
    counts, *sums = (
        cluster_sums([getattr(one, name) for one in seconds], member)
        for name in ("targets", *COLUMNS)
    )
    of_run, of_linear, of_histogram = sums
    loss = Loss.of(*clustered_mean(of_run, counts))
    return Evaluation(
        run=run.record.id,
        other_corpus=other,
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
        loss=loss,
        linear=Loss.of(*clustered_mean(of_linear, counts)),
        histogram=Loss.of(*clustered_mean(of_histogram, counts)),
        margin=Loss.of(*clustered_mean(of_run - of_linear, counts)),
        by_second=seconds,
        root_mean_square=run.network.root_mean_square(loss.nats),
    )


def _other(run: TrainedModel, corpus: Corpus, *, transfer: bool) -> str | None:
    """The corpus's name, where it is not the run's; EvaluationError where it may not be that."""
    own = run.record.corpus
    if corpus.fingerprint == own.fingerprint:
        return None
    if not transfer:
        raise EvaluationError(
            f"{corpus.folder} has the fingerprint {corpus.fingerprint[:12]}, and the run was "
            f"trained on {own.fingerprint[:12]}: prepare the run's corpus again"
        )
    differ = [
        f"{name} is {getattr(corpus, name)} and was {getattr(own, name)}"
        for name in Quantiser.model_fields
        if getattr(corpus, name) != getattr(own, name)
    ]
    if differ:
        raise EvaluationError(
            f"the codes of {corpus.folder} do not mean what those mean that the run was trained "
            f"on: {', '.join(differ)}. Prepare it with the values that were"
        )
    return corpus.name


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
