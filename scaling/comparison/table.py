"""Table of a comparison: every model on the same targets, with intervals and matched measures.

Losses on other targets or in other units are an error.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from scaling.config.comparison_config import CompareConfig, Measure
from scaling.evaluation.clustered_errors import half_interval
from scaling.evaluation.scores import (
    Evaluation,
    EvaluationError,
    Loss,
    Protocol,
    Quantiser,
    check_evaluations_comparable,
    paired_difference,
)
from scaling.runs.record import JsonFile, RecordPart, RunRecord, bits

FILE_NAME = "comparison.json"
TOLERANCE = 0.1
"""Largest relative difference of measures that count as matched."""
PROTOCOLS: tuple[Protocol, ...] = ("full-context", "from-silence")
REFERENCES = {"code histogram": ("histogram", 256), "linear AR(32)": ("linear", 34)}
"""Reference predictors: their column in an evaluation, and their number of parameters."""

Evaluations = Mapping[Protocol, Evaluation]


class ScoredLoss(RecordPart):
    """Loss with half of its 95 % interval, and its paired difference to the best row's loss.

    All are in nats a sample. ``difference`` is None for the best row itself.
    """

    loss: Loss
    half_interval: float
    difference: Loss | None
    difference_half_interval: float | None


class ComparisonRow(RecordPart):
    """Model with its size, its training cost and its losses; None if not applicable.

    ``operations`` counts all of training, forward and backward. ``training_seconds`` covers all
    steps. ``published`` is the loss of the full-size model on YouTubeMix, in bits a sample.
    """

    name: str
    run: str | None = None
    kind: str | None = None
    parameters: int
    context: int
    targets: int | None = None
    operations: float | None = None
    training_seconds: float | None = None
    scores: dict[Protocol, ScoredLoss]
    published: float | None = None


class Match(RecordPart):
    """Range of the trained rows in one measure; ``asked`` if the configuration matches it."""

    measure: Measure
    asked: bool
    lowest: float
    highest: float
    matched: bool

    @property
    def sentence(self) -> str:
        """The measure in words."""
        name = self.measure.replace("_", " ")
        shown = {"operations": "{:.3g}", "wall_time": "{:,.1f} s"}.get(self.measure, "{:,.0f}")
        limits = f"{shown.format(self.lowest)} to {shown.format(self.highest)}"
        verdict = f"matched within {TOLERANCE:.0%}" if self.matched else "not matched"
        if self.asked and not self.matched:
            verdict += ", although the configuration asks for it"
        return f"{name}: {verdict} ({limits})"


class ComparedTargets(RecordPart):
    """Targets of one protocol, shared by all rows."""

    targets: int
    left_out: int
    targets_hash: str
    clusters: int
    clustered_by: str


class Comparison(JsonFile):
    """All rows and their common facts.

    ``best`` names the row of the lowest full-context loss. All differences are to that row.
    """

    error_type = EvaluationError
    unusable_text = "comparison ({error}): remove it and compare again"

    study: str
    corpus: str
    corpus_fingerprint: str
    quantiser: Quantiser
    split: str
    history: int
    targets: dict[Protocol, ComparedTargets]
    matches: list[Match]
    best: str
    rows: list[ComparisonRow]
    hardware: dict[str, Any]
    versions: dict[str, str]
    code_version: str

    @property
    def headlines(self) -> list[str]:
        """The best rows and the matched measures, in sentences."""
        best = {row.name: row for row in self.rows}[self.best].scores["full-context"]
        silent = min(self.rows, key=lambda row: row.scores["from-silence"].loss.nats)
        loss = silent.scores["from-silence"].loss
        return [
            f"Best of {len(self.rows)} rows by its full-context loss: {self.best}, "
            f"{best.loss.bits:.3f} bits ({best.loss.nats:.3f} nats) a sample, 95% interval "
            f"{bits(best.loss.nats - best.half_interval):.3f} to "
            f"{bits(best.loss.nats + best.half_interval):.3f} bits.",
            f"Best from silence: {silent.name}, {loss.bits:.3f} bits ({loss.nats:.3f} nats).",
            "Between the trained rows: " + "; ".join(match.sentence for match in self.matches),
        ]

    def write(self, folder: Path) -> Path:
        """Write ``comparison.json`` into the study's folder, atomically."""
        return self.write_json(folder / FILE_NAME)


def build_comparison(
    config: CompareConfig, records: Sequence[RunRecord], evaluations: Sequence[Evaluations]
) -> Comparison:
    """Compare trained rows, in their order; EvaluationError if they are not comparable."""
    check_evaluations_comparable([row[protocol] for row in evaluations for protocol in PROTOCOLS])
    first = evaluations[0]
    losses = [row["full-context"].loss.nats for row in evaluations]
    best = int(np.argmin(losses))
    rows = [
        ComparisonRow(
            name=name,
            parameters=parameters,
            context=0 if column == "histogram" else 32,
            scores=_scores(first, column, evaluations[best]),
        )
        for name, (column, parameters) in REFERENCES.items()
    ]
    for number, (row, record, scored) in enumerate(
        zip(config.rows, records, evaluations, strict=True)
    ):
        rows.append(
            ComparisonRow(
                name=row.name,
                run=record.id,
                kind=record.config["model"]["kind"],
                parameters=record.total_parameters,
                context=record.config["model"]["context"],
                targets=record.targets.seen,
                operations=record.operations.total,
                training_seconds=record.throughput.training_seconds,
                scores=_scores(scored, "run", None if number == best else evaluations[best]),
                published=row.published,
            )
        )
    full = first["full-context"]
    return Comparison(
        study=config.study,
        corpus=records[0].corpus.name,
        corpus_fingerprint=full.corpus_fingerprint,
        quantiser=full.quantiser,
        split=full.split,
        history=full.history,
        targets={
            p: ComparedTargets.model_validate(first[p], from_attributes=True) for p in PROTOCOLS
        },
        matches=_matches(config, [row for row in rows if row.run]),
        best=config.rows[best].name,
        rows=rows,
        hardware=records[0].hardware,
        versions=records[0].versions,
        code_version=records[0].code_version,
    )


def _scores(row: Evaluations, column: str, best: Evaluations | None) -> dict[Protocol, ScoredLoss]:
    """Return a row's losses; ``best`` are the best row's evaluations, None for that row itself."""
    scores = {}
    for protocol in PROTOCOLS:
        evaluation = row[protocol]
        loss: Loss = evaluation.loss if column == "run" else getattr(evaluation, column)
        difference, half = None, None
        if best is not None:
            difference, half = paired_difference(evaluation, best[protocol], (column, "run"))
        scores[protocol] = ScoredLoss(
            loss=loss,
            half_interval=half_interval(loss.standard_error, evaluation.clusters),
            difference=difference,
            difference_half_interval=half,
        )
    return scores


def _matches(config: CompareConfig, rows: Sequence[ComparisonRow]) -> list[Match]:
    values: dict[Measure, list[float]] = {
        "parameters": [row.parameters for row in rows],
        "context": [row.context for row in rows],
        "targets": [row.targets or 0 for row in rows],
        "operations": [row.operations or 0 for row in rows],
        "wall_time": [row.training_seconds or 0 for row in rows],
    }
    return [
        Match(
            measure=measure,
            asked=measure in config.match,
            lowest=min(amounts),
            highest=max(amounts),
            matched=max(amounts) <= (1 + TOLERANCE) * min(amounts),
        )
        for measure, amounts in values.items()
    ]
