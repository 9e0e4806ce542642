"""Comparison of models: trained on equal budgets, scored on the same targets, in one table."""

from collections.abc import Sequence

from model import accounting
from scaling.comparison.scoring import score
from scaling.comparison.table import Comparison, build_comparison
from scaling.config.comparison_config import CompareConfig
from scaling.config.load import Sweep, with_values
from scaling.config.run_config import RunConfig
from scaling.evaluation.evaluate import Progress
from scaling.orchestration.restarts import TrainingError
from scaling.runs import study
from scaling.runs.record import RunRecord
from scaling.sweeps import sweep

MOST_STEPS = 100_000
"""Most steps of a run with a budget of seconds."""


class CompareError(RuntimeError):
    """A comparison with failed rows, with the reason of each."""


def apply_budget(config: CompareConfig, runs: Sequence[RunConfig]) -> list[RunConfig]:
    """Set the steps or the seconds of each run to the budget of the comparison."""
    if config.budget_measure is None or config.budget_amount is None:
        return list(runs)
    rows = []
    for run in runs:
        if config.budget_measure == "wall_time":
            changes = {"train.seconds": config.budget_amount, "train.steps": MOST_STEPS}
        else:
            cost = float(run.targets_per_step)
            if config.budget_measure == "operations":
                cost *= accounting.training_operations_per_target(
                    run.model, run.targets, run.positions
                )[0]
            changes = {"train.steps": max(1, round(config.budget_amount / cost))}
        rows.append(RunConfig.model_validate(with_values(run.resolved(), changes)))
    return rows


def train_rows(config: CompareConfig, runs: Sequence[RunConfig], concurrent: int) -> None:
    """Train the missing runs on the connected cluster; CompareError if a run failed."""
    names = [{"row": row.name} for row in config.rows]
    failures: list[TrainingError] = sweep.run(
        Sweep(list(zip(names, runs, strict=True)), config.concurrent), concurrent
    )
    if failures:
        raise CompareError("\n".join(map(str, failures)))


def compare_runs(
    config: CompareConfig, runs: Sequence[RunConfig], progress: Progress
) -> Comparison:
    """Score the finished runs that have no scores yet, and compare all runs."""
    scores = score(config.scoring, runs, progress)
    return build_comparison(config, [finished_run_record(run) for run in runs], scores)


def finished_run_record(run: RunConfig) -> RunRecord:
    """Return the record of a run that has ended."""
    record = study.finished_record(run)
    assert record is not None
    return record
