"""What was measured and counted here, as a forecast for many nodes needs it: no torch, no Ray."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from math import log
from pathlib import Path
from statistics import median
from typing import Any, Self

from model.targets import Mode
from scaling.common.paths import CLONE
from scaling.config.hardware import Hardware
from scaling.config.run_config import RunConfig
from scaling.planning.data_throughput import MeasuredError
from scaling.runs.record import FILE_NAME, RunRecord

STEPS_RECORD = CLONE / "configs/measurements/bench-cpu.json"
WORKERS_RECORD = CLONE / "configs/measurements/workers-cpu.json"


@dataclass(frozen=True)
class Calibration:
    """Figures of worker processes and of training steps.

    ``save_rates`` are the bytes a second at which the busiest worker writes its part of a
    checkpoint at each ZeRO stage, ``read_rate`` at which it reads it again, and ``start_seconds``
    pass from the start of new processes to the end of their first step, without that reading.
    ``shares`` are those of a matrix product's rate that training steps reached, lowest and highest,
    by mode.
    """

    processor: str
    save_rates: dict[int, float]
    read_rate: float
    start_seconds: float
    shares: dict[str, tuple[float, float]]

    @classmethod
    def read(cls, workers: Path = WORKERS_RECORD, steps: Path = STEPS_RECORD) -> Self:
        """The figures of ``bench workers --json`` and ``bench --json``; MeasuredError without."""
        of_workers, of_steps = (
            _record(workers, "bench workers --json"),
            _record(steps, "bench --json"),
        )
        try:
            restart = of_workers["restart"]
            reading = restart["read_seconds"]["median"]
            return cls(
                processor=of_workers["hardware"]["processor"],
                save_rates={
                    row["stage"]: max(row["saved"]) / row["save_seconds"]["median"]
                    for row in of_workers["counted"]
                    if row["precision"] == "float32"
                },
                read_rate=restart["read"] / reading,
                start_seconds=restart["seconds"]["median"] - reading,
                shares=_shares(of_steps["rows"]),
            )
        except (TypeError, KeyError, ValueError, ArithmeticError) as error:
            raise MeasuredError(
                f"{workers} and {steps} are no records of workers and steps "
                f"({type(error).__name__}: {error}): type `python -m scaling bench workers --json` "
                "and `python -m scaling bench --json`, and save what they print."
            ) from error

    def share_sentence(self, mode: Mode) -> str:
        """What training steps in this mode reached here, as far as they were measured."""
        if mode not in self.shares:
            return f"no step in the mode {mode} was measured here"
        lowest, highest = self.shares[mode]
        return (
            f"steps in the mode {mode} reached {lowest:.0%} to {highest:.0%} of a matrix product's "
            f"rate on {self.processor}"
        )


def _record(path: Path, command: str) -> Any:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise MeasuredError(
            f"{path} cannot be read ({error}): type `python -m scaling {command}` and save what it "
            "prints."
        ) from error


def _shares(rows: list[dict[str, Any]]) -> dict[str, tuple[float, float]]:
    """The lowest and highest share of a matrix product's rate, by mode of the training rows."""
    found: dict[str, list[float]] = {}
    for mode, _, row in training_rows(rows):
        found.setdefault(mode, []).append(row["of_ceiling"])
    return {mode: (min(shares), max(shares)) for mode, shares in found.items()}


def training_rows(rows: list[dict[str, Any]]) -> Iterator[tuple[str, bool, dict[str, Any]]]:
    """The rows of a bench record that are training: their mode, whether bfloat16, and the row."""
    for row in rows:
        verb, mode, *rest = row["what"].replace(",", "").split()
        if verb == "train":
            yield mode, rest[:2] == ["in", "bfloat16"], row


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
