"""The shape of a comparison's configuration: which models, matched on what, scored how."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from scaling.config.run_config import Name, Positive, Rate, Section

Measure = Literal["parameters", "context", "targets", "operations", "wall_time"]

SETTLING: tuple[Measure, ...] = ("targets", "operations", "wall_time")
"""Measures that a number of steps settles; the first one that is matched does."""


class BudgetConfig(Section):
    """What each model may train on: targets, floating-point operations, or seconds of steps."""

    targets: Positive | None = None
    operations: Rate | None = None
    wall_time: Rate | None = None


class ScoringConfig(Section):
    """What models are scored on: a split, and how many random targets have a full context."""

    split: Literal["train", "validation", "test"] = "test"
    positions: Positive = 1_024


class RowConfig(Section):
    """One model: a run's configuration, with values overridden by dotted keys.

    ``published`` is the loss of the model at its full size on YouTubeMix, in bits a sample.
    """

    name: str
    config: Path
    values: dict[str, Any] = Field(default_factory=dict)
    published: Rate | None = None


class CompareConfig(Section):
    """A comparison. ``values`` are overridden in all rows, by dotted keys.

    ``match`` names the two measures that are to be equal. Of targets, operations and wall time the
    first one that it names settles each row's steps, by its budget; ``concurrent`` rows train at
    once.
    """

    study: Name
    corpus: str
    match: tuple[Measure, Measure]
    budget: BudgetConfig = BudgetConfig()
    scoring: ScoringConfig = ScoringConfig()
    values: dict[str, Any] = Field(default_factory=dict)
    concurrent: Positive | None = None
    rows: Annotated[tuple[RowConfig, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        names = [row.name for row in self.rows]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"rows are named {', '.join(twice)} twice: give each its own name")
        if self.budget_measure and self.budget_amount is None:
            raise ValueError(
                f"match names {self.budget_measure}, but budget.{self.budget_measure} is not given: write how "
                "much of it each model may take"
            )
        return self

    @property
    def budget_measure(self) -> Measure | None:
        """The measure that settles the steps of each row; None leaves those of its file."""
        return next((measure for measure in SETTLING if measure in self.match), None)

    @property
    def budget_amount(self) -> float | None:
        """The budget of the measure that settles the steps."""
        found: float | None = (
            getattr(self.budget, self.budget_measure) if self.budget_measure else None
        )
        return found
