"""Plan of a run or a sweep before it starts, without torch and Ray."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from datasets.manifest import Corpus, ManifestError
from model import accounting
from model.accounting import Passes
from scaling.config import check
from scaling.config.hardware import Hardware
from scaling.config.run_config import RunConfig
from scaling.config.run_windows import targets_in_epoch
from scaling.planning.calibration import Calibration, Rates
from scaling.planning.cost import Cost, cost
from scaling.planning.data_throughput import (
    StreamMeasurement,
    ThroughputForecast,
    forecast,
    window_bytes,
)
from scaling.planning.match_parameters import Match
from scaling.planning.memory_plan import Memory, advice, memory, memory_by_stage
from scaling.planning.multi_node import NodePlan, node_notes, plan_on_nodes


@dataclass(frozen=True)
class PlannedRun:
    """One run by formula.

    ``operations_per_target`` counts forward and backward floating-point operations with everything
    that targets share, ``naive_operations_per_target`` with a window of the full context for each.
    ``operations_by_part`` is per window. ``epoch`` is the number of different targets of the
    training split (None before the corpus is prepared). Windows per step are those of all workers.
    """

    id: str
    axes: dict[str, Any]
    parameters: dict[str, int]
    targets: int
    operations_per_target: float
    naive_operations_per_target: float
    operations_by_part: dict[str, Passes]
    operations: float
    memory: Memory
    memory_by_stage: list[Memory]
    windows_per_step: int
    window_bytes: int
    epoch: int | None
    forecast: ThroughputForecast | None = None
    cost: Cost | None = None
    nodes: list[NodePlan] = field(default_factory=list)


@dataclass(frozen=True)
class Plan:
    """The planned runs, the problems that prevent a start, notes, and the value of a search."""

    runs: list[PlannedRun]
    problems: list[str]
    notes: list[str]
    match: Match | None = None

    @property
    def verdicts(self) -> list[str]:
        """The sentence of the run with the least supply, and how many runs would wait."""
        forecasts = [(run.id, run.forecast) for run in self.runs if run.forecast]
        if not forecasts:
            return []
        name, least = min(forecasts, key=lambda pair: pair[1].expected.times)
        waiting = sum(forecast.expected.times < 1 for _, forecast in forecasts)
        counted = [f"{waiting} of {len(forecasts)} runs would wait"] if waiting else []
        return [*counted, f"run {name}: {least.sentence}"]

    @property
    def accelerator_hours(self) -> float | None:
        """Accelerator hours of all runs; None without hardware."""
        hours = [run.cost.accelerator_hours for run in self.runs if run.cost]
        return sum(hours) if hours else None

    @property
    def dollars(self) -> float | None:
        """Price of all runs; None without hardware that has a price."""
        costs = [run.cost.dollars for run in self.runs if run.cost]
        prices = [dollars for dollars in costs if dollars is not None]
        return sum(prices) if prices else None


def make_plan(
    runs: Sequence[tuple[dict[str, Any], RunConfig]],
    hardware: Hardware | None = None,
    measured: StreamMeasurement | None = None,
    calibration: Calibration | None = None,
    numbers: Sequence[int] = (),
    rates: Rates | None = None,
) -> Plan:
    """Plan runs, each given with its axes.

    ``hardware`` and ``measured`` together add forecasts; ``calibration`` adds those on ``numbers``
    of nodes. A measured rate in the run's mode and precision replaces the stated utilisation.
    """
    problems: list[str] = []
    notes: list[str] = []
    planned = []
    corpora: dict[str, Corpus | None] = {}
    for axes, config in runs:
        folder = str(config.corpus)
        if folder not in corpora:
            corpora[folder] = _load(config, notes)
        corpus = corpora[folder]
        if run_problems := check.problems(config, corpus):
            problems += run_problems
            continue
        run = _plan(axes, config, corpus, notes)
        if hardware and measured:
            trains_on = rates.on(config, hardware) if rates else hardware
            data = forecast(config, corpus, trains_on, measured)
            price = cost(config, corpus, trains_on, measured, run.window_bytes)
            run = replace(run, forecast=data, cost=price)
            notes += filter(None, [advice(config, trains_on)])
            if calibration:
                nodes = plan_on_nodes(config, corpus, trains_on, measured, calibration, numbers)
                run = replace(run, nodes=nodes)
                notes += node_notes(config, trains_on, nodes)
        planned.append(run)
    problems += check.history_problems([config for _, config in runs])
    return Plan(planned, list(dict.fromkeys(problems)), list(dict.fromkeys(notes)))


def _load(config: RunConfig, notes: list[str]) -> Corpus | None:
    try:
        return Corpus.load(config.corpus)
    except ManifestError as error:
        notes.append(f"{error} Until then no check that needs the corpus is made.")
        return None


def _plan(
    axes: dict[str, Any], config: RunConfig, corpus: Corpus | None, notes: list[str]
) -> PlannedRun:
    targets = config.train.steps * config.targets_per_step
    counted = config.model, config.targets, config.positions
    per_target, naive = accounting.training_operations_per_target(*counted)
    epoch = targets_in_epoch(config, corpus) if corpus else None
    if epoch and targets > epoch:
        notes.append(
            f"run {config.id} trains on {targets} targets, of which {epoch} differ: it sees each "
            f"{targets / epoch:.1f} times"
        )
    return PlannedRun(
        id=config.id,
        axes=axes,
        parameters=accounting.parameters(config.model),
        targets=targets,
        operations_per_target=per_target,
        naive_operations_per_target=naive,
        operations_by_part=accounting.training_operations(*counted),
        operations=per_target * targets,
        memory=memory(config),
        memory_by_stage=memory_by_stage(config),
        windows_per_step=config.train.batch,
        window_bytes=window_bytes(config, corpus),
        epoch=epoch,
    )
