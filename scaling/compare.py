"""A comparison: its models trained on equal budgets, scored alike, and put into one table."""

from collections.abc import Sequence
from typing import Any

from model import accounting
from scaling import comparison, study, sweep
from scaling.comparing import CompareConfig
from scaling.comparison import Comparison
from scaling.config import RunConfig
from scaling.evaluation import Progress
from scaling.load import Sweep, with_values
from scaling.record import RunRecord
from scaling.scoring import score
from scaling.train import TrainingError

TIMED_STEPS = 4
"""Steps of the short run that tells a row's seconds a step; the first one is not counted."""


class CompareError(RuntimeError):
    """A comparison that did not end, with the reason of each row."""


def timing(config: CompareConfig, runs: Sequence[RunConfig]) -> list[RunConfig]:
    """The short runs that tell seconds a step, where wall time settles the steps."""
    if config.settled != "wall_time":
        return []
    changes = {
        "study": f"{config.study}-timing",
        "train.steps": TIMED_STEPS,
        "train.checkpoint_every": TIMED_STEPS,
        "validation.windows": 1,
        "validation.per_window": 1,
    }
    return [_changed(run, changes) for run in runs]


def trained(config: CompareConfig, runs: Sequence[RunConfig]) -> list[RunConfig]:
    """The runs of the rows, with the steps that their budget buys; timed ones have ended."""
    if config.settled is None or config.amount is None:
        return list(runs)
    rows = []
    for number, run in enumerate(runs):
        if config.settled == "targets":
            cost = float(run.targets_per_step)
        elif config.settled == "operations":
            per_target, _ = accounting.training_operations_per_target(
                run.model, run.targets, run.positions
            )
            cost = per_target * run.targets_per_step
        else:
            cost = record_of(timing(config, runs)[number]).throughput.step_seconds
        rows.append(_changed(run, {"train.steps": max(1, round(config.amount / cost))}))
    return rows


def train(config: CompareConfig, runs: Sequence[RunConfig], concurrent: int) -> None:
    """Train what is not trained yet, on the connected cluster; CompareError where a run failed."""
    names = [{"row": row.name} for row in config.rows]
    failures: list[TrainingError] = sweep.run(
        Sweep(list(zip(names, runs, strict=True)), config.concurrent), concurrent
    )
    if failures:
        raise CompareError("\n".join(map(str, failures)))


def table(config: CompareConfig, runs: Sequence[RunConfig], progress: Progress) -> Comparison:
    """The comparison of finished runs, which are scored where they are not yet."""
    scores = score(config.scoring, runs, progress)
    return comparison.make(config, [record_of(run) for run in runs], scores)


def record_of(run: RunConfig) -> RunRecord:
    """The record of a run that has ended."""
    record = study.finished(run)
    assert record is not None
    return record


def _changed(run: RunConfig, changes: dict[str, Any]) -> RunConfig:
    return RunConfig.model_validate(with_values(run.resolved(), changes))
