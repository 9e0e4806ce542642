"""Rates at which training steps were seen to compute: from a bench record, or a study's runs."""

import json
from dataclasses import dataclass
from math import log
from pathlib import Path
from statistics import median
from typing import Any, Self

from scaling.calibration import training_rows
from scaling.config import RunConfig
from scaling.delivery import Hardware, MeasuredError
from scaling.record import FILE_NAME, RunRecord


@dataclass(frozen=True)
class Rate:
    """Operations a second of one worker, in a mode and a precision, at a context."""

    mode: str
    half: bool
    context: int
    operations_per_second: float


@dataclass(frozen=True)
class Rates:
    """What was measured, and where it stands."""

    source: Path
    rates: list[Rate]

    @classmethod
    def read(cls, path: Path) -> Self:
        """The rates in a record of ``bench --json``, or of a study's folder of finished runs.

        MeasuredError where there are none.
        """
        try:
            found = _of_runs(path) if path.is_dir() else _of_bench(json.loads(path.read_text()))
        except (OSError, ValueError, TypeError, KeyError) as error:
            found, why = [], f" ({type(error).__name__}: {error})"
        else:
            why = ""
        if not found:
            raise MeasuredError(
                f"{path} holds no rates of training steps{why}: type `python -m scaling bench "
                "--json` and save what it prints, or name the folder of a study with finished runs."
            )
        return cls(path, found)

    def on(self, config: RunConfig, hardware: Hardware) -> Hardware:
        """The hardware as it computes such a run: at the rate measured of the nearest context.

        As it is stated where no run of this mode and precision was measured.
        """
        alike = [r for r in self.rates if (r.mode, r.half) == (config.windows.targets, config.half)]
        if not alike:
            return hardware
        context = log(config.model.context or 1)
        nearest = min(abs(log(rate.context) - context) for rate in alike)
        rate = median(
            r.operations_per_second for r in alike if abs(log(r.context) - context) == nearest
        )
        return hardware.model_copy(update={"utilisation": rate / hardware.operations_per_second})


def _of_bench(record: Any) -> list[Rate]:
    return [
        Rate(mode, half, row["context"], row["of_ceiling"] * record["ceilings"][_name(half)])
        for mode, half, row in training_rows(record["rows"])
    ]


def _of_runs(folder: Path) -> list[Rate]:
    found = []
    for path in sorted(folder.glob(f"*/{FILE_NAME}")):
        run = RunRecord.read(path)
        workers = run.config["cluster"]["workers"]
        rate = run.operations.per_target * run.throughput.targets_per_second / workers
        context = run.config["model"]["context"] or 1
        found.append(Rate(run.targets.mode, run.precision == "bfloat16", context, rate))
    return found


def _name(half: bool) -> str:
    return "bfloat16" if half else "float32"
