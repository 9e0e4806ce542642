"""The most that a call may cost, and what its runs have cost so far."""

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
    """The most that a call may cost, ``dollars``, and what a worker costs.

    ``since`` is when the call was made, in seconds since 1970.
    """

    dollars: float
    dollars_per_worker_hour: float
    since: float

    @classmethod
    def of(cls, cluster: ClusterConfig) -> Self | None:
        """That of a call that is made now; None where it has none.

        A cap without a price is refused before (:mod:`scaling.orchestration.start`).
        """
        if cluster.max_dollars is None or cluster.hardware is None:
            return None
        price = load.hardware(cluster.hardware).dollars_per_worker_hour
        return None if price is None else cls(cluster.max_dollars, price, time.time())

    def reached(self, study: Path) -> str | None:
        """The sentence that the study's runs have cost so much since the call; None before.

        OSError where their logs cannot be read.
        """
        seconds = sum(
            _worker_seconds(RunHistory.read(log.parent), self.since)
            for log in study.glob(f"*/{LOG_NAME}")
        )
        cost = seconds / SECONDS_PER_HOUR * self.dollars_per_worker_hour
        if cost < self.dollars:
            return None
        return (
            f"the runs of {study} have cost {cost:,.2f} dollars by their logs since the command "
            f"was typed, and cluster.max_dollars is {self.dollars:g}: to spend as much again, type "
            "it again, which goes on from the newest checkpoints; or write another "
            "cluster.max_dollars"
        )


def _worker_seconds(history: RunHistory, since: float) -> float:
    """What a run's workers have had, from the first line of each start to that of the next.

    Starts before ``since`` are not counted. Workers that are replaced keep their nodes.
    """
    starts = [line for line in history.starts if line["time"] >= since]
    if not starts:
        return 0.0
    newest = max(lines[-1]["time"] for lines in vars(history).values() if lines)
    ends = [*(line["time"] for line in starts[1:]), newest]
    return float(
        sum(line["workers"] * (end - line["time"]) for line, end in zip(starts, ends, strict=True))
    )
