"""Exact loss of a trained model on a split, by one of two protocols and at several contexts."""

from collections.abc import Callable, Sequence

import numpy as np

from datasets.manifest import Corpus
from scaling.evaluation.clustered_errors import cluster_sums, clustered_mean
from scaling.evaluation.protocols import Scoring, check_own_corpus, from_silence, full_context
from scaling.evaluation.scores import (
    ContextScore,
    Evaluation,
    EvaluationError,
    Loss,
    Protocol,
    Quantiser,
    Second,
    cluster_seconds,
    paired_difference,
)
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
    """Score a split by a protocol (docs/evaluation.md).

    ``full-context`` scores the samples with ``history`` samples before them (default: the model's
    context), or about ``positions`` random ones, in whole windows. ``from-silence`` scores every
    sample of every whole chunk. ``progress`` gets the targets done and all targets. With
    ``transfer``, the corpus may differ from the run's if its codes mean the same.

    Raises:
        EvaluationError: The run cannot be scored on this corpus.
        WindowError, ManifestError: The split has no target.
    """
    other_corpus = _check_corpus(run, corpus, transfer=transfer)
    context = run.config.model.context
    if protocol == "from-silence":
        positions, history = None, 0
        scoring = from_silence(run, corpus, split)
    else:
        history = context if history is None else history
        scoring = full_context(run, corpus, split, positions, history)
    seconds = _sum_by_second(scoring, corpus.rate, progress)
    member, clustered_by = cluster_seconds(seconds)
    counts, run_sums, linear_sums, histogram_sums = (
        cluster_sums([getattr(second, name) for second in seconds], member)
        for name in ("targets", *COLUMNS)
    )
    loss = Loss.of(*clustered_mean(run_sums, counts))
    return Evaluation(
        run=run.record.id,
        other_corpus=other_corpus,
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
        linear=Loss.of(*clustered_mean(linear_sums, counts)),
        histogram=Loss.of(*clustered_mean(histogram_sums, counts)),
        margin=Loss.of(*clustered_mean(run_sums - linear_sums, counts)),
        by_second=seconds,
        root_mean_square=run.network.root_mean_square(loss.nats),
    )


def _check_corpus(run: TrainedModel, corpus: Corpus, *, transfer: bool) -> str | None:
    """Return the corpus's name if it is not the run's own; EvaluationError if it may not be."""
    own = run.record.corpus
    if not transfer:
        check_own_corpus(run, corpus)
    if corpus.fingerprint == own.fingerprint:
        return None
    differences = [
        f"{name} is {getattr(corpus, name)} and was {getattr(own, name)}"
        for name in Quantiser.model_fields
        if getattr(corpus, name) != getattr(own, name)
    ]
    if differences:
        raise EvaluationError(
            f"the codes of {corpus.folder} differ in meaning from those that the run was trained "
            f"on: {', '.join(differences)}. Prepare the corpus again with the earlier values"
        )
    return corpus.name


def _sum_by_second(scoring: Scoring, rate: int, progress: Progress) -> list[Second]:
    """Sum the nats of all pieces by recording and second, sorted by both."""
    sums: dict[tuple[str, int], np.ndarray] = {}
    done = 0
    for piece in scoring.pieces:
        numbers, member = np.unique(piece.offsets // rate, return_inverse=True)
        weights = [None, *(getattr(piece, name) for name in COLUMNS)]
        columns = [np.bincount(member, weights=weight) for weight in weights]
        for number, row in zip(numbers.tolist(), np.stack(columns, 1), strict=True):
            key = (piece.recording, number)
            sums[key] = sums.get(key, 0) + row
        done += len(piece.offsets)
        progress(done, scoring.targets)
    return [
        Second(
            recording=recording,
            second=number,
            targets=int(row[0]),
            **dict(zip(COLUMNS, row[1:].tolist(), strict=True)),
        )
        for (recording, number), row in sorted(sums.items())
    ]


def context_curve(
    run: TrainedModel,
    corpus: Corpus,
    split: str,
    contexts: Sequence[int],
    progress: Progress,
    positions: int | None,
    history: int | None = None,
    *,
    transfer: bool = False,
) -> tuple[list[ContextScore], list[Evaluation]]:
    """Score a run at several contexts (samples) and its own, all on the same targets.

    The targets have ``history`` samples before them, or without it the longest context. Return the
    scores from the shortest context to the longest, and their evaluations.

    Raises:
        EvaluationError: The history is shorter than the longest context.
        TrainedModelError: The model cannot read one of the contexts.
    """
    own = run.config.model.context
    lengths = sorted({*contexts, own})
    history = lengths[-1] if history is None else history
    if history < lengths[-1]:
        raise EvaluationError(
            f"history is {history}, shorter than the longest context of {lengths[-1]}: write "
            f"--history {lengths[-1]} or more, or leave it out"
        )
    evaluations = [
        evaluate(
            model, corpus, split, progress, positions=positions, history=history, transfer=transfer
        )
        for model in [run.with_context(length) for length in lengths]
    ]
    reference = evaluations[lengths.index(own)]
    differences = [
        (None, None) if one is reference else paired_difference(one, reference)
        for one in evaluations
    ]
    scores = [
        ContextScore(
            context=one.context,
            seconds=one.context / corpus.rate,
            loss=one.loss,
            difference=difference,
            difference_half_interval=half,
            extrapolates=one.context > own,
        )
        for one, (difference, half) in zip(evaluations, differences, strict=True)
    ]
    return scores, evaluations
