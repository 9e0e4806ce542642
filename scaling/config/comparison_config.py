"""The shape of a comparison's configuration: which models, matched on what, scored how."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from scaling.config.run_config import Name, Positive, Rate, Section

Measure = Literal["parameters", "context", "targets", "operations", "wall_time"]

SETTLING: tuple[Measure, ...] = ("targets", "operations", "wall_time")
"""Measures that a number of steps settles; the first one that is matched does."""


class BudgetConfig(Section):
    """Training budget of each model."""

    targets: Positive | None = None
    """Training targets of each model. Unit: targets."""
    operations: Rate | None = None
    """Floating-point operations of training of each model. Unit: operations."""
    wall_time: Rate | None = None
    """Time of training steps of each model. Unit: seconds."""


class ScoringConfig(Section):
    """Targets on which models are scored."""

    split: Literal["train", "validation", "test"] = "test"
    """Split on which the models are scored."""
    positions: Positive = 1_024
    """Random targets with a full context. Unit: targets."""


class RowConfig(Section):
    """One model of a comparison."""

    name: str
    """Name of the row."""
    config: Path
    """A run's configuration, relative to this file."""
    values: dict[str, Any] = Field(default_factory=dict)
    """Values by dotted key that replace those of the file."""
    published: Rate | None = None
    """Published loss of the full-size model on YouTubeMix. Unit: bits per sample."""


class CompareConfig(Section):
    """Models trained on equal budgets and scored alike."""

    study: Name
    """Name of the comparison, and of its folder."""
    corpus: str
    """Folder or URI of a prepared corpus."""
    match: tuple[Measure, Measure]
    """Two measures that are equal for all models. The first of targets, operations and wall_time
    sets the steps of each row.
    """
    budget: BudgetConfig = BudgetConfig()
    """Amount of the measure that sets the steps."""
    scoring: ScoringConfig = ScoringConfig()
    """Targets on which the models are scored."""
    values: dict[str, Any] = Field(default_factory=dict)
    """Values by dotted key that replace those of all rows."""
    concurrent: Positive | None = None
    """Rows that train at the same time; without it as many as the cluster has room for. Unit: rows.
    """
    rows: Annotated[tuple[RowConfig, ...], Field(min_length=1)]
    """The models."""

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        names = [row.name for row in self.rows]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"rows are named {', '.join(twice)} twice: give each its own name")
        measure = self.budget_measure
        if measure and self.budget_amount is None:
            raise ValueError(
                f"match names {measure}, but budget.{measure} is not given: write how much of it "
                "each model may take"
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
