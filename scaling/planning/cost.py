"""Seconds, accelerator hours and dollars of a run, on paper."""

from dataclasses import dataclass

from datasets.manifest import Corpus
from model import accounting
from model.architecture import Architecture
from model.targets import Targets
from scaling.config.hardware import SECONDS_PER_HOUR, Hardware
from scaling.config.run_config import RunConfig
from scaling.planning.data_throughput import StreamMeasurement, forecast
from scaling.planning.footprint import OVERLAPPED, volume
from scaling.runs.loss_by_context import trained_contexts


@dataclass(frozen=True)
class StepParts:
    """Seconds of a step.

    ``communication`` is the time of all collectives, and ``exposed`` the part of it that no
    computation hides. ``waiting`` is the time for which the stream is late.
    """

    compute: float
    communication: float
    exposed: float
    waiting: float

    @property
    def seconds(self) -> float:
        """The whole step."""
        return self.compute + self.exposed + self.waiting


def step_parts(
    config: RunConfig,
    corpus: Corpus | None,
    hardware: Hardware,
    measured: StreamMeasurement,
    workers: int,
    batch: int,
) -> StepParts:
    """Return the parts of a step of ``batch`` windows on so many workers, which fill nodes in turn.

    If the hardware's file has no bandwidth of a ring, communication takes no time.
    """
    train = config.train.model_copy(update={"batch": batch})
    cluster = config.cluster.model_copy(update={"workers": workers})
    spread = config.model_copy(update={"train": train, "cluster": cluster})
    stream = forecast(spread, corpus, hardware, measured)
    compute = batch / stream.expected.windows_per_second
    communication = 0.0
    if bandwidth := _bandwidth(hardware, stream.nodes):
        communication = sent_bytes(config, config.train.zero, workers) / bandwidth
    hidden = compute if OVERLAPPED[config.train.zero] else 0.0
    exposed = max(0.0, communication - hidden)
    waiting = max(0.0, batch / stream.delivered_windows_per_second - compute - exposed)
    return StepParts(compute, communication, exposed, waiting)


def sent_bytes(config: RunConfig, stage: int, workers: int) -> float:
    """Return the bytes that each worker sends in a step at a ZeRO stage."""
    parameters = sum(accounting.parameters(config.model).values())
    step = volume(stage, parameters, half=config.half, accumulate=config.train.accumulate)
    return step.sent(workers)


def _bandwidth(hardware: Hardware, nodes: int) -> float | None:
    """Return the bytes per second around the ring, which is as fast as its slowest link."""
    link, ring = hardware.link_bytes_per_second, hardware.ring_bytes_per_second
    if nodes == 1 or link is None or ring is None:
        return link
    return min(link, ring)


@dataclass(frozen=True)
class Cost:
    """Cost of a run on hardware whose workers reach the share ``utilisation`` of their peak.

    ``seconds`` has all steps and validations, without starts, checkpoints and failures. ``dollars``
    is None if the hardware's file has no price; it counts the run's workers, though nodes are
    rented whole. ``bytes_per_second`` is the rate of codes for all workers together.
    """

    hardware: str
    utilisation: float
    step: StepParts
    validation_seconds: float
    seconds: float
    accelerator_hours: float
    dollars: float | None
    bytes_per_second: float


def cost(
    config: RunConfig,
    corpus: Corpus | None,
    hardware: Hardware,
    measured: StreamMeasurement,
    window_bytes: int,
) -> Cost:
    """Return the cost of a run whose windows have ``window_bytes`` bytes of codes each."""
    train, workers = config.train, config.cluster.workers
    step = step_parts(config, corpus, hardware, measured, workers, train.batch)
    rate = workers * hardware.operations_per_second * hardware.utilisation
    validation = validation_operations(config) / rate
    limit = float("inf") if train.seconds is None else train.seconds
    seconds = min(train.steps * step.seconds, limit) + validation
    hours = seconds * workers / SECONDS_PER_HOUR
    price = hardware.dollars_per_worker_hour
    return Cost(
        hardware=hardware.name,
        utilisation=hardware.utilisation,
        step=step,
        validation_seconds=validation,
        seconds=seconds,
        accelerator_hours=hours,
        dollars=None if price is None else hours * price,
        bytes_per_second=train.batch * window_bytes / step.seconds,
    )


def validation_operations(config: RunConfig) -> float:
    """Return the forward operations of all validations; the last has every trained context."""
    validation, shape = config.validation, config.model
    if isinstance(shape, Architecture):
        contexts = (shape.context, *trained_contexts(config))
        targets = [Targets("last", validation.spacing, context=context) for context in contexts]
        own, *others = [
            sum(accounting.forward_operations(shape, one, validation.per_window).values())
            for one in targets
        ]
    else:
        read = shape.context + (validation.per_window - 1) * validation.spacing + 1
        own, others = shape.operations(read), []
    times = -(-config.train.steps // validation.every)
    return validation.windows * (times * own + sum(others))
