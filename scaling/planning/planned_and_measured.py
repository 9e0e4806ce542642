"""Planned and measured quantities of a run side by side, from its record alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import ValidationError

from scaling.config import load
from scaling.config.hardware import SECONDS_PER_HOUR, Hardware
from scaling.config.load import ConfigError
from scaling.config.run_config import RunConfig
from scaling.planning.cost import cost
from scaling.planning.data_throughput import (
    STREAM_RECORD,
    StreamMeasurement,
    operations_per_target,
    window_bytes,
)
from scaling.planning.memory_plan import changed, memory
from scaling.runs.record import RunRecord

NOTES = {
    "operations": "torch counts the scores of fused attention twice, the formula once",
    "memory": "of a worker beyond its idle process, with everything that no plan counts",
    "seconds": "at the utilisation of the hardware's file; waits for data included",
    "hours": "measured from start to end, with starts, checkpoints and failures, which no plan has",
}
COLUMNS = ("run", "quantity", "unit", "planned", "measured", "ratio")


@dataclass(frozen=True)
class PlannedAndMeasured:
    """A quantity of a run, measured if its record has it; ``note`` explains a difference."""

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
    """Return the measured quantities of all runs, and the spread of each, as plain JSON types."""
    rows = [row for run in records for row in planned_and_measured(run)]
    measured = [row for row in rows if row.ratio is not None]
    groups: dict[str, list[PlannedAndMeasured]] = {}
    for row in measured:
        groups.setdefault(row.quantity, []).append(row)
    return {
        "quantities": [_spread(group) for group in groups.values()],
        "runs": [{key: getattr(row, key) for key in COLUMNS} for row in measured],
    }


def _spread(group: Sequence[PlannedAndMeasured]) -> dict[str, Any]:
    """Return the median and the ends of one quantity over all runs that measured it."""
    ranked = sorted(group, key=lambda row: row.ratio or 0.0)
    ratios = [row.ratio for row in ranked]
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
    """Return operations, memory, step time and accelerator hours of a run.

    Times need a ``cluster.hardware``. The list is empty if the configuration cannot be read.
    """
    try:
        config = changed(RunConfig.model_validate(run.config), {"train.precision": run.precision})
    except ValidationError:
        return []
    most, idle = run.throughput.peak_memory_bytes, run.throughput.idle_memory_bytes
    used = None if idle is None else float(most - idle)
    counted = run.operations.counted_per_target
    rows = [
        _row(run, "operations", "FLOP/target", operations_per_target(config), counted),
        _row(run, "memory", "bytes", memory(config).peak, used),
    ]
    hardware = _hardware(config)
    return rows + (_times(run, config, hardware) if hardware else [])


def _times(run: RunRecord, config: RunConfig, hardware: Hardware) -> list[PlannedAndMeasured]:
    trained = changed(config, {"train.steps": run.targets.steps, "train.seconds": None})
    stream, size = StreamMeasurement.read(STREAM_RECORD), window_bytes(config, None)
    planned = cost(trained, None, hardware, stream, size)
    hours = run.throughput.wall_seconds * config.cluster.workers / SECONDS_PER_HOUR
    return [
        _row(run, "seconds", "s/step", planned.step.seconds, run.throughput.step_seconds),
        _row(run, "hours", "accelerator-hours", planned.accelerator_hours, hours),
    ]


def _row(
    run: RunRecord, quantity: str, unit: str, planned: float, measured: float | None
) -> PlannedAndMeasured:
    return PlannedAndMeasured(run.id, quantity, unit, planned, measured, NOTES[quantity])


def _hardware(config: RunConfig) -> Hardware | None:
    """Return the hardware that the run names, if its file can still be read."""
    try:
        return load.hardware(config.cluster.hardware) if config.cluster.hardware else None
    except ConfigError:
        return None
