"""Limit of the cost of a command, and the cost of its runs so far."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from scaling.config import load
from scaling.config.hardware import SECONDS_PER_HOUR
from scaling.config.run_config import ClusterConfig
from scaling.runs.log import LOG_NAME, RunHistory


@dataclass(frozen=True)
class CostCap:
    """Limit of the cost of a command, which started at ``since`` (seconds since 1970)."""

    dollars: float
    dollars_per_worker_hour: float
    since: float

    @classmethod
    def of(cls, cluster: ClusterConfig) -> Self | None:
        """Return the cap of a command that starts now, or None without a limit.

        :mod:`scaling.orchestration.start` has refused a limit without a price.
        """
        if cluster.max_dollars is None or cluster.hardware is None:
            return None
        price = load.hardware(cluster.hardware).dollars_per_worker_hour
        return None if price is None else cls(cluster.max_dollars, price, time.time())

    def reached(self, study: Path) -> str | None:
        """Return a sentence if the study's runs reached the limit; OSError without logs."""
        seconds = sum(
            _worker_seconds(RunHistory.read(log.parent), self.since)
            for log in study.glob(f"*/{LOG_NAME}")
        )
        cost = seconds / SECONDS_PER_HOUR * self.dollars_per_worker_hour
        if cost < self.dollars:
            return None
        return (
            f"the runs of {study} have cost {cost:,.2f} dollars by their logs since the command "
            f"started, and cluster.max_dollars is {self.dollars:g}: run the command again to spend "
            "as much again, from the newest checkpoints, or raise cluster.max_dollars"
        )


def _worker_seconds(history: RunHistory, since: float) -> float:
    """Return worker-seconds of a run, from each start's first line to the next start's.

    Starts before ``since`` do not count. Workers that are replaced keep their nodes.
    """
    starts = [line for line in history.starts if line["time"] >= since]
    if not starts:
        return 0.0
    newest = max(lines[-1]["time"] for lines in vars(history).values() if lines)
    ends = [*(line["time"] for line in starts[1:]), newest]
    return float(
        sum(line["workers"] * (end - line["time"]) for line, end in zip(starts, ends, strict=True))
    )
