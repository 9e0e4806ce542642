"""What was measured and counted here, as a forecast for many nodes needs it: no torch, no Ray."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from model.targets import Mode
from scaling.delivery import MeasuredError
from scaling.paths import CLONE

STEPS_RECORD = CLONE / "docs/measurements/bench-cpu.json"
WORKERS_RECORD = CLONE / "docs/measurements/workers-cpu.json"


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
