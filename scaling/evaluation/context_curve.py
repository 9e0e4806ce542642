"""One model at several contexts: what it loses where it sees less than it was trained to."""

from collections.abc import Sequence

from datasets.manifest import Corpus
from scaling.evaluation.evaluate import Progress, evaluate
from scaling.evaluation.paired import paired_difference
from scaling.evaluation.scores import ContextScore, Evaluation, EvaluationError
from scaling.runs.trained_model import TrainedModel


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
    """The run at these contexts (samples) and its own, the shortest first, and each evaluation.

    All are scored on the same targets: those with ``history`` samples before them, without it as
    many as the longest context has. ``transfer`` is that of :func:`evaluate`. EvaluationError where
    the history is less, TrainedError where a context cannot be.
    """
    own = run.config.model.context
    asked = sorted({*contexts, own})
    history = asked[-1] if history is None else history
    if history < asked[-1]:
        raise EvaluationError(
            f"history is {history}, and the longest context is {asked[-1]}: write "
            f"--history {asked[-1]} or more, or leave it out"
        )
    runs = [run.with_context(context) for context in asked]
    found = [
        evaluate(
            one, corpus, split, progress, "full-context", positions, history, transfer=transfer
        )
        for one in runs
    ]
    reference = found[asked.index(own)]
    return [_seen(one, reference, corpus.rate) for one in found], found


def _seen(found: Evaluation, reference: Evaluation, rate: int) -> ContextScore:
    difference, half = None, None
    if found is not reference:
        difference, half = paired_difference(found, reference, ("run", "run"))
    return ContextScore(
        context=found.context,
        seconds=found.context / rate,
        loss=found.loss,
        difference=difference,
        difference_half_interval=half,
        extrapolates=found.context > reference.context,
    )
