"""The share of a run's time that is work that is not lost: by formula, and by simulation."""

import math
from dataclasses import dataclass

import numpy as np

from scaling.config.hardware import SECONDS_PER_HOUR

SECONDS_PER_DAY = 86_400
SIMULATED_FAILURES = 20_000


@dataclass(frozen=True)
class FailureRate:
    """How often something fails: an accelerator's mean hours to failure, a node's losses a day."""

    name: str
    hours: float
    preemptions_per_day: float = 0.0

    def per_second(self, nodes: int, accelerators: int) -> float:
        """Failures a second of so many nodes that hold so many accelerators in all."""
        broken = accelerators / (self.hours * SECONDS_PER_HOUR)
        return broken + nodes * self.preemptions_per_day / SECONDS_PER_DAY


REGIMES = (
    # 419 unexpected interruptions in 54 days of 16,384 H100 (Llama Team 2024, arXiv 2407.21783).
    FailureRate("Llama 3", 50_000),
    # 7.9 hours between failures of 1,024 A100 (Kokolis et al. 2024, arXiv 2410.21680).
    FailureRate("FAIR", 8_000),
    # An assumption: four nodes lose one of them every two hours.
    FailureRate("spot", 8_000, 3.0),
)


@dataclass(frozen=True)
class CheckpointTiming:
    """Seconds that a checkpoint stops the steps, that it takes afterwards until it would survive,
    and that pass from a failure to the first step."""

    blocked: float
    behind: float
    recovery: float

    def best_interval(self, rate: float) -> float:
        """The seconds of work between two checkpoints that lose least at ``rate`` failures/second.

        ``sqrt(2 d / f)`` (Young 1974, Comm. ACM 17, 530-531; Daly 2006, Future Gener. Comput. Syst.
        22, 303-312, has the next terms), but never less than the one before takes to be safe.
        """
        return max(math.sqrt(2 * self.blocked / rate), self.behind)

    def goodput(self, interval: float, rate: float) -> float:
        """The share of time that is kept, to first order: ``1 - d / T - f (T / 2 + w + R)``.

        A checkpoint every ``interval`` seconds T of work stops it for d; a failure loses half of
        one, what was not safe yet (w) and the recovery R. 0 where failures come faster than that.
        """
        lost = rate * (interval / 2 + self.behind + self.recovery)
        return max(0.0, 1 - self.blocked / interval - lost)

    def simulated(self, interval: float, rate: float, seed: int = 0) -> float:
        """The share of time that is kept in a simulation of 20,000 failures drawn from ``seed``.

        Between two failures the run recovers, and then works and saves in turn; it goes on from the
        newest checkpoint that was safe. A failure may strike in a recovery or in a save.
        """
        generator = np.random.default_rng(seed)
        up = generator.exponential(1 / rate, SIMULATED_FAILURES)
        return float(self.kept(up, interval).sum() / up.sum())

    def kept(self, up: np.ndarray, interval: float) -> np.ndarray:
        """Seconds of work (n,) that survive the failure at the end of each time ``up`` (n,)."""
        at_work = up - self.recovery - self.behind
        return np.maximum(0, at_work // (interval + self.blocked)) * interval
