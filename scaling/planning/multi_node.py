"""A run on 1 to 64 nodes, on paper: steps, communication, memory, checkpoints and failures.

Plain arithmetic on formulas, on what was measured here and on what the hardware's file assumes
(``docs/scale.md``): no torch, no Ray.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from datasets.manifest import Corpus
from model import accounting
from scaling.config.hardware import SECONDS_PER_HOUR, Hardware
from scaling.config.load import ConfigError
from scaling.config.run_config import RunConfig
from scaling.planning.calibration import Calibration
from scaling.planning.cost import Parts, sent_bytes, step_parts
from scaling.planning.data_throughput import StreamMeasurement
from scaling.planning.footprint import CheckpointSize, Footprint, checkpoint, footprint
from scaling.planning.goodput import REGIMES, CheckpointTiming

STAGES = (0, 1, 2, 3)
NEEDED = (
    "accelerator_bytes",
    "link_bytes_per_second",
    "ring_bytes_per_second",
    "storage_bytes_per_second",
)


@dataclass(frozen=True)
class Step(Parts):
    """An optimizer step of ``batch`` windows and what it comes to.

    ``efficiency`` is a node's rate against that of a node of the fewest among which the batch
    divides.
    """

    batch: int
    targets_per_second: float
    efficiency: float


@dataclass(frozen=True)
class Stage:
    """A ZeRO stage: bytes that a worker sends in a step, and what it keeps."""

    stage: int
    sent: float
    footprint: Footprint
    fits: bool


@dataclass(frozen=True)
class CheckpointGoodput:
    """What checkpoints of one kind keep of the time at a rate of failures.

    ``interval`` is the best one, in seconds; ``goodput`` by formula, ``simulated`` with failures
    drawn from a seed.
    """

    saving: CheckpointTiming
    interval: float
    goodput: float
    simulated: float


@dataclass(frozen=True)
class FailureOutlook:
    """A regime of failures: hours between two of them, and what blocking and asynchronous
    checkpoints keep."""

    name: str
    hours: float
    blocking: CheckpointGoodput
    asynchronous: CheckpointGoodput


@dataclass(frozen=True)
class NodePlan:
    """The run on so many nodes.

    ``step`` is of the configured batch (None where it does not divide), ``grown`` of one that
    grows with the nodes from that of the fewest.
    """

    nodes: int
    workers: int
    step: Step | None
    grown: Step | None
    stages: tuple[Stage, ...]
    checkpoint: CheckpointSize
    outlooks: tuple[FailureOutlook, ...]


def counts(text: str) -> list[int]:
    """The numbers of nodes in a text such as ``1,2,4``; ConfigError where they are none."""
    try:
        found = sorted({int(part) for part in text.split(",")})
        if found[0] < 1:
            raise ValueError
    except ValueError:
        raise ConfigError(
            [f"--nodes is {text!r}: write numbers of 1 or more with commas between, as 1,2,4"]
        ) from None
    return found


def plan_on_nodes(
    config: RunConfig,
    corpus: Corpus | None,
    hardware: Hardware,
    measured: StreamMeasurement,
    calibration: Calibration,
    numbers: Sequence[int],
) -> list[NodePlan]:
    """The run on each of these numbers of nodes; ConfigError where the hardware says too little."""
    if missing := [name for name in NEEDED if getattr(hardware, name) is None]:
        raise ConfigError(
            [
                f"the hardware {hardware.name} has no {', '.join(missing)}, which --nodes needs: "
                "write them into its file, as configs/hardware/a100.yaml has them"
            ]
        )
    model = _Model(config, corpus, hardware, measured, calibration)
    found: list[NodePlan] = []
    for nodes in numbers:
        found.append(model.on(nodes, numbers[0], found))
    return found


def notes(config: RunConfig, hardware: Hardware, rows: Sequence[NodePlan]) -> list[str]:
    """What a reader of the rows should know, a sentence each."""
    said = []
    misfits = [row for row in rows if row.step is None]
    if misfits:
        pieces = misfits[-1].workers * config.train.accumulate
        said.append(
            f"run {config.id}: train.batch = {config.train.batch} does not divide among the "
            f"workers of {', '.join(str(row.nodes) for row in misfits)} nodes: write "
            f"train.batch={pieces} or a multiple of it"
        )
    large = [row for row in rows if not row.stages[config.train.zero].fits]
    if large:
        fitting = [stage.stage for stage in large[-1].stages if stage.fits]
        advice = f"write train.zero={fitting[0]}" if fitting else "no ZeRO stage fits there"
        said.append(
            f"run {config.id}: at train.zero={config.train.zero} the state of a worker does not "
            f"fit an accelerator on {', '.join(str(row.nodes) for row in large)} nodes: {advice}"
        )
    if not config.half:
        said.append(
            f"run {config.id} trains with train.precision={config.train.precision}, and "
            f"{hardware.name} is described by its rate in bfloat16: its steps may take longer"
        )
    return said


@dataclass(frozen=True)
class _Model:
    """One run on some hardware; what does not depend on the number of nodes is found once."""

    config: RunConfig
    corpus: Corpus | None
    hardware: Hardware
    measured: StreamMeasurement
    calibration: Calibration

    @property
    def parameters(self) -> int:
        return sum(accounting.parameters(self.config.model).values())

    def on(self, nodes: int, fewest: int, before: Sequence[NodePlan]) -> NodePlan:
        batch = self.config.train.batch
        grown = batch * nodes // fewest
        workers = nodes * self.hardware.accelerators_per_node
        best = self.config.validation.patience is not None
        kept = checkpoint(self.parameters, workers, best=best)
        return NodePlan(
            nodes=nodes,
            workers=workers,
            step=self._step(nodes, batch, [(row.nodes, row.step) for row in before]),
            grown=self._step(nodes, grown, [(row.nodes, row.grown) for row in before]),
            stages=tuple(self._stage(stage, workers) for stage in STAGES),
            checkpoint=kept,
            outlooks=self._outlooks(nodes, workers, kept),
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
        return Step(
            **vars(parts), batch=batch, targets_per_second=rate, efficiency=each / of_fewest
        )

    def _stage(self, stage: int, workers: int) -> Stage:
        held = footprint(stage, self.parameters, workers, half=self.config.half)
        limit = self.hardware.accelerator_bytes
        assert limit is not None
        return Stage(stage, sent_bytes(self.config, stage, workers), held, held.total <= limit)

    def _outlooks(
        self, nodes: int, workers: int, kept: CheckpointSize
    ) -> tuple[FailureOutlook, ...]:
        local = self.hardware.accelerators_per_node
        storage = self.hardware.storage_bytes_per_second
        assert storage is not None
        written = kept.part / self.calibration.save_rates[self.config.train.zero]
        # The first worker's node has the most to send; its other workers write less.
        sent = local * kept.part / storage
        recovery = (
            self.calibration.start_seconds
            + local * kept.whole / storage
            + kept.whole / self.calibration.read_rate
        )
        blocking = CheckpointTiming(written + sent, 0.0, recovery)
        asynchronous = CheckpointTiming(written, sent, recovery)
        found = []
        for regime in REGIMES:
            rate = regime.per_second(nodes, workers)
            kinds = [_kept(saving, rate) for saving in (blocking, asynchronous)]
            found.append(FailureOutlook(regime.name, 1 / rate / SECONDS_PER_HOUR, *kinds))
        return tuple(found)


def _kept(saving: CheckpointTiming, rate: float) -> CheckpointGoodput:
    interval = saving.best_interval(rate)
    return CheckpointGoodput(
        saving, interval, saving.goodput(interval, rate), saving.simulated(interval, rate)
    )
