"""Paired differences of two evaluations on the same targets."""

from collections.abc import Sequence
from typing import Self

import numpy as np

from scaling.evaluation.clustered_errors import (
    assign_clusters,
    cluster_sums,
    clustered_mean,
    half_interval,
)
from scaling.evaluation.scores import Evaluation, EvaluationError, Loss, Protocol
from scaling.runs.record import RecordPart, bits


def check_evaluations_comparable(evaluations: Sequence[Evaluation]) -> None:
    """EvaluationError where two losses of one protocol differ in what they were measured on."""
    firsts: dict[Protocol, Evaluation] = {}
    for other in evaluations:
        first = firsts.setdefault(other.protocol, other)
        for what in ("targets_hash", "quantiser", "split", "corpus_fingerprint"):
            if getattr(first, what) != getattr(other, what):
                raise EvaluationError(
                    f"run {first.run} was scored with {what} {getattr(first, what)} and run "
                    f"{other.run} with {getattr(other, what)} ({other.protocol}): their losses "
                    "must not share a table; score both on the same targets of one corpus"
                )


def paired_difference(
    one: Evaluation, other: Evaluation, columns: tuple[str, str] = ("run", "run")
) -> tuple[Loss, float]:
    """The mean difference of two losses on the same targets, one minus other, and half of its 95 %
    interval, both with correlation within clusters.
    """
    check_evaluations_comparable([one, other])
    seconds = one.by_second
    member, _ = assign_clusters(
        np.array([second.recording for second in seconds]),
        np.array([second.second for second in seconds]),
    )
    differences = [
        getattr(own, columns[0]) - getattr(theirs, columns[1])
        for own, theirs in zip(seconds, other.by_second, strict=True)
    ]
    counts = cluster_sums([second.targets for second in seconds], member)
    nats, error = clustered_mean(cluster_sums(differences, member), counts)
    return Loss.of(nats, error), half_interval(error, len(counts))


class Difference(RecordPart):
    """How far one run's loss is from another's on the same targets, with half of its interval."""

    run: str
    against: str
    difference: Loss
    half_interval: float

    @classmethod
    def of(cls, one: Evaluation, other: Evaluation) -> Self:
        """The paired difference, one minus other; EvaluationError where they do not compare."""
        nats, half = paired_difference(one, other)
        return cls(run=one.run, against=other.run, difference=nats, half_interval=half)

    @property
    def sentence(self) -> str:
        """The difference in words."""
        nats, half = self.difference.nats, self.half_interval
        return (
            f"On the same targets {self.run} is {abs(bits(nats)):.4f} bits ({abs(nats):.4f} nats) "
            f"{'below' if nats < 0 else 'above'} {self.against}, ± {bits(half):.4f} bits (95 %)."
        )
