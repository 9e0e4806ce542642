"""What a run was planned to take beside what it took: rows for a table, from its record alone."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import ValidationError

from model import accounting
from scaling import load
from scaling.config import RunConfig
from scaling.cost import cost
from scaling.delivery import RECORD, Hardware, Measured, window_bytes
from scaling.goodput import SECONDS_PER_HOUR
from scaling.load import ConfigError
from scaling.memory_plan import changed, memory
from scaling.record import RunRecord

NOTES = {
    "operations": "torch counts the scores of fused attention twice, the formula once",
    "memory": "what the worker took beyond its idle process; a CPU's buffers count once touched",
    "seconds": "at the share of the peak that the hardware's file states; waits for data included",
    "hours": "measured from start to end, with starts, checkpoints and failures, which no plan has",
}


@dataclass(frozen=True)
class Compared:
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


def rows(records: Sequence[RunRecord], hardware: Hardware | None = None) -> list[dict[str, Any]]:
    """The rows of all runs as plain JSON types, for a table."""
    return [
        {**asdict(one), "ratio": one.ratio}
        for run in records
        for one in planned_and_measured(run, hardware)
    ]


def planned_and_measured(run: RunRecord, hardware: Hardware | None = None) -> list[Compared]:
    """Operations, memory, step time and accelerator hours of a run, planned and measured.

    Time needs ``hardware``, by default what the run's own ``cluster.hardware`` names. Empty where
    this version cannot read the run's configuration.
    """
    try:
        config = changed(RunConfig.model_validate(run.config), {"train.precision": run.precision})
    except ValidationError:
        return []
    found = [_operations(run, config), _memory(run, config)]
    hardware = hardware or _own(config)
    return found + (_time(run, config, hardware) if hardware else [])


def _operations(run: RunRecord, config: RunConfig) -> Compared:
    per_target, _ = accounting.training_operations_per_target(
        config.model, config.targets, config.positions
    )
    counted = run.operations.counted_per_target
    return Compared(run.id, "operations", "FLOP/target", per_target, counted, NOTES["operations"])


def _memory(run: RunRecord, config: RunConfig) -> Compared:
    most, idle = run.throughput.peak_memory_bytes, run.throughput.idle_memory_bytes
    taken = None if idle is None else float(most - idle)
    return Compared(run.id, "memory", "bytes", memory(config).peak, taken, NOTES["memory"])


def _time(run: RunRecord, config: RunConfig, hardware: Hardware) -> list[Compared]:
    steps = {"train.steps": run.targets.steps, "train.seconds": None}
    planned = cost(
        changed(config, steps), None, hardware, Measured.read(RECORD), window_bytes(config, None)
    )
    measured = run.throughput
    hours = measured.wall_seconds * config.cluster.workers / SECONDS_PER_HOUR
    return [
        Compared(
            run.id,
            "seconds",
            "s/step",
            planned.step.seconds,
            measured.step_seconds,
            NOTES["seconds"],
        ),
        Compared(
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
