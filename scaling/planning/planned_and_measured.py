"""What a run was planned to take beside what it took: rows for a table, from its record alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import ValidationError

from model import accounting
from scaling.config import load
from scaling.config.hardware import SECONDS_PER_HOUR, Hardware
from scaling.config.load import ConfigError
from scaling.config.run_config import RunConfig
from scaling.planning.cost import cost
from scaling.planning.data_throughput import STREAM_RECORD, StreamMeasurement, window_bytes
from scaling.planning.memory_plan import changed, memory
from scaling.runs.record import RunRecord

NOTES = {
    "operations": "torch counts the scores of fused attention twice, the formula once",
    "memory": "what a worker took beyond its idle process, with all that no plan counts",
    "seconds": "at the share of the peak that the hardware's file states; waits for data included",
    "hours": "measured from start to end, with starts, checkpoints and failures, which no plan has",
}


@dataclass(frozen=True)
class PlannedAndMeasured:
    """One quantity of one run: ``measured`` is None where its record does not have it.

    ``ratio`` is measured over planned; ``note`` what keeps them apart where nothing is wrong.
    """

    run: str
    quantity: str
    unit: str
    planned: float
    measured: float | None
    note: str

    @property
    def ratio(self) -> float | None:
        """Measured over planned."""
        return None if self.measured is None else self.measured / self.planned


def planned_content(records: Sequence[RunRecord]) -> dict[str, Any]:
    """All runs' quantities as plain JSON types, and of each quantity how far it is from the plan.

    ``quantities`` has the ratio's median, and its ends with their runs; ``runs`` every row.
    """
    compared = [one for run in records for one in planned_and_measured(run)]
    measured = [one for one in compared if one.ratio is not None]
    groups: dict[str, list[PlannedAndMeasured]] = {}
    for one in measured:
        groups.setdefault(one.quantity, []).append(one)
    return {
        "quantities": [_spread(group) for group in groups.values()],
        "runs": [
            {"run": one.run, "quantity": one.quantity, "unit": one.unit}
            | {"planned": one.planned, "measured": one.measured, "ratio": one.ratio}
            for one in measured
        ],
    }


def _spread(group: Sequence[PlannedAndMeasured]) -> dict[str, Any]:
    """One quantity over all runs that measured it."""
    ranked = sorted(group, key=lambda one: one.ratio or 0.0)
    ratios = [one.ratio for one in ranked]
    return {
        "quantity": ranked[0].quantity,
        "unit": ranked[0].unit,
        "runs": len(ranked),
        "median": float(np.median(np.array(ratios, dtype=float))),
        "lowest": {"run": ranked[0].run, "ratio": ratios[0]},
        "highest": {"run": ranked[-1].run, "ratio": ratios[-1]},
        "note": ranked[0].note,
    }


def planned_and_measured(run: RunRecord) -> list[PlannedAndMeasured]:
    """Operations, memory, step time and accelerator hours of a run, planned and measured.

    Time needs the hardware that the run's own ``cluster.hardware`` names. Empty where this version
    cannot read the run's configuration.
    """
    try:
        config = changed(RunConfig.model_validate(run.config), {"train.precision": run.precision})
    except ValidationError:
        return []
    found = [_operations(run, config), _memory(run, config)]
    hardware = _own(config)
    return found + (_time(run, config, hardware) if hardware else [])


def _operations(run: RunRecord, config: RunConfig) -> PlannedAndMeasured:
    per_target, _ = accounting.training_operations_per_target(
        config.model, config.targets, config.positions
    )
    counted = run.operations.counted_per_target
    return PlannedAndMeasured(
        run.id, "operations", "FLOP/target", per_target, counted, NOTES["operations"]
    )


def _memory(run: RunRecord, config: RunConfig) -> PlannedAndMeasured:
    most, idle = run.throughput.peak_memory_bytes, run.throughput.idle_memory_bytes
    taken = None if idle is None else float(most - idle)
    return PlannedAndMeasured(
        run.id, "memory", "bytes", memory(config).peak, taken, NOTES["memory"]
    )


def _time(run: RunRecord, config: RunConfig, hardware: Hardware) -> list[PlannedAndMeasured]:
    steps = {"train.steps": run.targets.steps, "train.seconds": None}
    planned = cost(
        changed(config, steps),
        None,
        hardware,
        StreamMeasurement.read(STREAM_RECORD),
        window_bytes(config, None),
    )
    measured = run.throughput
    hours = measured.wall_seconds * config.cluster.workers / SECONDS_PER_HOUR
    return [
        PlannedAndMeasured(
            run.id,
            "seconds",
            "s/step",
            planned.step.seconds,
            measured.step_seconds,
            NOTES["seconds"],
        ),
        PlannedAndMeasured(
            run.id, "hours", "accelerator-hours", planned.accelerator_hours, hours, NOTES["hours"]
        ),
    ]


def _own(config: RunConfig) -> Hardware | None:
    """The hardware that the run names, where its file can still be read."""
    if config.cluster.hardware is None:
        return None
    try:
        return load.hardware(config.cluster.hardware)
    except ConfigError:
        return None
