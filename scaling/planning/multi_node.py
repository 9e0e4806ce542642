"""A run on 1 to 64 nodes, on paper: steps, communication, memory, checkpoints and failures.

From formulas, local measurements and assumptions of the hardware's file (``docs/scale.md``).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from datasets.manifest import Corpus
from model import accounting
from scaling.config.hardware import SECONDS_PER_HOUR, Hardware
from scaling.config.load import ConfigError
from scaling.config.run_config import RunConfig
from scaling.planning.calibration import Calibration
from scaling.planning.cost import StepParts, sent_bytes, step_parts
from scaling.planning.data_throughput import StreamMeasurement
from scaling.planning.footprint import STAGES, CheckpointSize, Footprint, checkpoint, footprint

SECONDS_PER_DAY = 86_400
SIMULATED_FAILURES = 20_000
REQUIRED_HARDWARE = (
    "accelerator_bytes",
    "link_bytes_per_second",
    "ring_bytes_per_second",
    "storage_bytes_per_second",
)


@dataclass(frozen=True)
class FailureRate:
    """Failures: an accelerator's mean hours to failure, and preemptions per node and day."""

    name: str
    hours: float
    preemptions_per_day: float = 0.0

    def per_second(self, nodes: int, accelerators: int) -> float:
        """Return the failures per second of so many nodes with so many accelerators in all."""
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
    """Seconds for which a checkpoint stops the steps and, ``behind`` them, until it is durable.

    A restart takes ``recovery`` from the failure to the first step.
    """

    blocked: float
    behind: float
    recovery: float

    def best_interval(self, rate: float) -> float:
        """Return the seconds of work between checkpoints that lose least at ``rate`` failures/s.

        ``sqrt(2 d / f)`` (Young 1974, Comm. ACM 17, 530-531; Daly 2006, Future Gener. Comput. Syst.
        22, 303-312, has the next terms), but at least ``behind``.
        """
        return max(math.sqrt(2 * self.blocked / rate), self.behind)

    def goodput(self, interval: float, rate: float) -> float:
        """Return the useful share of time, to first order: ``1 - d / T - f (T / 2 + w + R)``.

        After every ``interval`` T of work a checkpoint stops it for d. A failure loses T / 2, the
        work that is not yet durable (w) and the recovery R. If failures are more frequent, it is 0.
        """
        lost = rate * (interval / 2 + self.behind + self.recovery)
        return max(0.0, 1 - self.blocked / interval - lost)

    def simulated(self, interval: float, rate: float, seed: int = 0) -> float:
        """Return the useful share of time over 20,000 simulated failures.

        Between two failures the run recovers, then works and saves in turn, and continues from the
        newest durable checkpoint. A failure may occur in a recovery or in a save.
        """
        generator = np.random.default_rng(seed)
        up = generator.exponential(1 / rate, SIMULATED_FAILURES)
        return float(self.kept(up, interval).sum() / up.sum())

    def kept(self, up: np.ndarray, interval: float) -> np.ndarray:
        """Return the seconds of work (n,) that survive the failure after each time ``up`` (n,)."""
        at_work = up - self.recovery - self.behind
        return np.maximum(0, at_work // (interval + self.blocked)) * interval


@dataclass(frozen=True)
class Step(StepParts):
    """An optimizer step of ``batch`` windows; ``efficiency`` compares nodes with the fewest."""

    batch: int
    targets_per_second: float
    efficiency: float


@dataclass(frozen=True)
class Stage:
    """A ZeRO stage: bytes that a worker sends in a step, and its memory without activations."""

    stage: int
    sent: float
    footprint: Footprint
    fits: bool


@dataclass(frozen=True)
class CheckpointGoodput:
    """Useful share of time, by formula and simulated, at the best interval in seconds."""

    saving: CheckpointTiming
    interval: float
    goodput: float
    simulated: float


@dataclass(frozen=True)
class FailureOutlook:
    """A failure regime: hours between two failures, and the goodput of both kinds of checkpoint."""

    name: str
    hours: float
    blocking: CheckpointGoodput
    asynchronous: CheckpointGoodput


@dataclass(frozen=True)
class NodePlan:
    """The run on a number of nodes.

    ``step`` has the configured batch, ``grown`` one that grows with the nodes from that of the
    fewest; None if the batch does not divide among the workers.
    """

    nodes: int
    workers: int
    step: Step | None
    grown: Step | None
    stages: tuple[Stage, ...]
    checkpoint: CheckpointSize
    outlooks: tuple[FailureOutlook, ...]


def parse_node_counts(text: str) -> list[int]:
    """Parse numbers of nodes such as ``1,2,4``; ConfigError if they are none."""
    try:
        counts = sorted({int(part) for part in text.split(",")})
        if counts[0] < 1:
            raise ValueError
    except ValueError:
        raise ConfigError(
            f"--nodes is {text!r}: write numbers of 1 or more with commas between, such as 1,2,4"
        ) from None
    return counts


def plan_on_nodes(
    config: RunConfig,
    corpus: Corpus | None,
    hardware: Hardware,
    measured: StreamMeasurement,
    calibration: Calibration,
    numbers: Sequence[int],
) -> list[NodePlan]:
    """Plan the run on each number of nodes; ConfigError if the hardware's file lacks a figure."""
    if missing := [name for name in REQUIRED_HARDWARE if getattr(hardware, name) is None]:
        raise ConfigError(
            f"the hardware {hardware.name} has no {', '.join(missing)}, which --nodes needs: "
            "write them into its file, as in configs/hardware/a100.yaml"
        )
    planner = _Planner(config, corpus, hardware, measured, calibration)
    plans: list[NodePlan] = []
    for nodes in numbers:
        plans.append(planner.plan(nodes, numbers[0], plans))
    return plans


def node_notes(config: RunConfig, hardware: Hardware, plans: Sequence[NodePlan]) -> list[str]:
    """Return sentences about node counts that do not suit the batch or the memory."""
    notes = []
    if indivisible := [plan for plan in plans if plan.step is None]:
        micro_batches = indivisible[-1].workers * config.train.accumulate
        notes.append(
            f"run {config.id}: train.batch = {config.train.batch} does not divide among the "
            f"workers of {', '.join(str(plan.nodes) for plan in indivisible)} nodes: write "
            f"train.batch={micro_batches} or a multiple of it"
        )
    if large := [plan for plan in plans if not plan.stages[config.train.zero].fits]:
        fitting = [stage.stage for stage in large[-1].stages if stage.fits]
        advice = f"write train.zero={fitting[0]}" if fitting else "no ZeRO stage fits there"
        notes.append(
            f"run {config.id}: at train.zero={config.train.zero} the state of a worker does not "
            f"fit an accelerator on {', '.join(str(plan.nodes) for plan in large)} nodes: {advice}"
        )
    if not config.half:
        notes.append(
            f"run {config.id} trains with train.precision={config.train.precision}, and the file "
            f"of {hardware.name} has its rate in bfloat16: steps may take longer"
        )
    return notes


@dataclass(frozen=True)
class _Planner:
    """One run on some hardware, for any number of nodes."""

    config: RunConfig
    corpus: Corpus | None
    hardware: Hardware
    measured: StreamMeasurement
    calibration: Calibration

    @property
    def parameters(self) -> int:
        return sum(accounting.parameters(self.config.model).values())

    def plan(self, nodes: int, fewest: int, before: Sequence[NodePlan]) -> NodePlan:
        """Plan on ``nodes`` nodes, after the plans on fewer."""
        batch = self.config.train.batch
        workers = nodes * self.hardware.accelerators_per_node
        best = self.config.validation.patience is not None
        size = checkpoint(self.parameters, workers, best=best)
        steps = [(plan.nodes, plan.step) for plan in before]
        grown = [(plan.nodes, plan.grown) for plan in before]
        return NodePlan(
            nodes=nodes,
            workers=workers,
            step=self._step(nodes, batch, steps),
            grown=self._step(nodes, batch * nodes // fewest, grown),
            stages=tuple(self._stage(stage, workers) for stage in STAGES),
            checkpoint=size,
            outlooks=self._outlooks(nodes, workers, size),
        )

    def _step(
        self, nodes: int, batch: int, before: Sequence[tuple[int, Step | None]]
    ) -> Step | None:
        config, hardware = self.config, self.hardware
        workers = nodes * hardware.accelerators_per_node
        if batch % (workers * config.train.accumulate):
            return None
        parts = step_parts(config, self.corpus, hardware, self.measured, workers, batch)
        rate = batch * config.targets_per_window / parts.seconds
        each = rate / nodes
        of_fewest = next((step.targets_per_second / n for n, step in before if step), each)
        efficiency = each / of_fewest
        return Step(**vars(parts), batch=batch, targets_per_second=rate, efficiency=efficiency)

    def _stage(self, stage: int, workers: int) -> Stage:
        state = footprint(stage, self.parameters, workers, half=self.config.half)
        limit = self.hardware.accelerator_bytes
        assert limit is not None
        return Stage(stage, sent_bytes(self.config, stage, workers), state, state.total <= limit)

    def _outlooks(
        self, nodes: int, workers: int, size: CheckpointSize
    ) -> tuple[FailureOutlook, ...]:
        local, storage = self.hardware.accelerators_per_node, self.hardware.storage_bytes_per_second
        assert storage is not None
        written = size.part / self.calibration.save_rates[self.config.train.zero]
        # The node of the first worker sends most; its other workers write less.
        sent = local * size.part / storage
        started = self.calibration.start_seconds + local * size.whole / storage
        recovery = started + size.whole / self.calibration.read_rate
        blocking = CheckpointTiming(written + sent, 0.0, recovery)
        behind = CheckpointTiming(written, sent, recovery)
        outlooks = []
        for regime in REGIMES:
            rate = regime.per_second(nodes, workers)
            kinds = _goodput(blocking, rate), _goodput(behind, rate)
            outlooks.append(FailureOutlook(regime.name, 1 / rate / SECONDS_PER_HOUR, *kinds))
        return tuple(outlooks)


def _goodput(saving: CheckpointTiming, rate: float) -> CheckpointGoodput:
    best = saving.best_interval(rate)
    return CheckpointGoodput(saving, best, saving.goodput(best, rate), saving.simulated(best, rate))
