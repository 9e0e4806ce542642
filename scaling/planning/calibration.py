"""Measured figures of worker processes and training steps for forecasts."""

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

    ``save_rates`` has the bytes per second at which the busiest worker writes its part of a
    checkpoint, by ZeRO stage. ``read_rate`` has those at which it reads a checkpoint.
    ``start_seconds`` is the time from the start of new processes to the end of their first step,
    without that reading. ``shares`` has the lowest and highest share of a matrix product's rate
    that training steps reached, by mode.
    """

    processor: str
    save_rates: dict[int, float]
    read_rate: float
    start_seconds: float
    shares: dict[str, tuple[float, float]]

    @classmethod
    def read(cls, workers: Path = WORKERS_RECORD, steps: Path = STEPS_RECORD) -> Self:
        """Read records of ``bench workers --json`` and ``bench --json``, or raise MeasuredError."""
        worker_bench = _read_json(workers, "bench workers --json")
        model_bench = _read_json(steps, "bench --json")
        try:
            restart = worker_bench["restart"]
            reading = restart["read_seconds"]["median"]
            return cls(
                processor=worker_bench["hardware"]["processor"],
                save_rates={
                    row["stage"]: max(row["saved"]) / row["save_seconds"]["median"]
                    for row in worker_bench["counted"]
                    if row["precision"] == "float32"
                },
                read_rate=restart["read"] / reading,
                start_seconds=restart["seconds"]["median"] - reading,
                shares=_shares(model_bench["rows"]),
            )
        except (TypeError, KeyError, ValueError, ArithmeticError) as error:
            raise MeasuredError(
                f"{workers} and {steps} are no records of workers and steps "
                f"({type(error).__name__}: {error}): run `python -m scaling bench workers --json` "
                "and `python -m scaling bench --json`, and save what they print."
            ) from error

    def share_sentence(self, mode: Mode) -> str:
        """Return the measured share of training steps in this mode as a sentence."""
        if mode not in self.shares:
            return f"no step in the mode {mode} was measured here"
        lowest, highest = self.shares[mode]
        return (
            f"steps in the mode {mode} reached {lowest:.0%} to {highest:.0%} of a matrix product's "
            f"rate on {self.processor}"
        )


def _read_json(path: Path, command: str) -> Any:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise MeasuredError(
            f"{path} cannot be read ({error}): run `python -m scaling {command}` and save what it "
            "prints."
        ) from error


def _shares(rows: list[dict[str, Any]]) -> dict[str, tuple[float, float]]:
    """Return the lowest and highest share of a matrix product's rate by mode."""
    by_mode: dict[str, list[float]] = {}
    for mode, _, row in training_rows(rows):
        by_mode.setdefault(mode, []).append(row["of_ceiling"])
    return {mode: (min(shares), max(shares)) for mode, shares in by_mode.items()}


def training_rows(rows: list[dict[str, Any]]) -> Iterator[tuple[str, bool, dict[str, Any]]]:
    """Yield the training rows of a bench record: the mode, whether in bfloat16, and the row."""
    for row in rows:
        verb, mode, *rest = row["what"].replace(",", "").split()
        if verb == "train":
            yield mode, rest[:2] == ["in", "bfloat16"], row


@dataclass(frozen=True)
class Rate:
    """Operations per second of one worker, in a mode and a precision, at a context."""

    mode: str
    half: bool
    context: int
    operations_per_second: float


@dataclass(frozen=True)
class Rates:
    """Measured rates of training steps, and their source."""

    source: Path
    rates: list[Rate]

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a record of ``bench --json``, or a study's finished runs; MeasuredError if none."""
        rates, reason = [], ""
        try:
            rates = _of_runs(path) if path.is_dir() else _of_bench(json.loads(path.read_text()))
        except (OSError, ValueError, TypeError, KeyError) as error:
            reason = f" ({type(error).__name__}: {error})"
        if not rates:
            raise MeasuredError(
                f"{path} has no rates of training steps{reason}: run `python -m scaling bench "
                "--json` and save its output, or name the folder of a study with finished runs."
            )
        return cls(path, rates)

    def on(self, config: RunConfig, hardware: Hardware) -> Hardware:
        """Return the hardware with the utilisation measured at the context nearest to the run's.

        Without a measurement in the run's mode and precision, the stated utilisation stays.
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
    names = {True: "bfloat16", False: "float32"}
    return [
        Rate(mode, half, row["context"], row["of_ceiling"] * record["ceilings"][names[half]])
        for mode, half, row in training_rows(record["rows"])
    ]


def _of_runs(folder: Path) -> list[Rate]:
    rates = []
    for path in sorted(folder.glob(f"*/{FILE_NAME}")):
        run = RunRecord.read(path)
        workers = run.config["cluster"]["workers"]
        rate = run.operations.per_target * run.throughput.targets_per_second / workers
        context = run.config["model"]["context"] or 1
        rates.append(Rate(run.targets.mode, run.precision == "bfloat16", context, rate))
    return rates
