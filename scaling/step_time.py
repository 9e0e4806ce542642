"""Seconds of an optimizer step on paper: computation, communication, and waiting for data."""

from dataclasses import dataclass

from datasets.manifest import Corpus
from model import accounting
from scaling.communication import OVERLAPPED, volume
from scaling.config import RunConfig
from scaling.delivery import Hardware, Measured, forecast


@dataclass(frozen=True)
class Parts:
    """Seconds of a step.

    ``communication`` is what all collectives take, ``exposed`` what of it no computation hides,
    ``waiting`` what the stream then lacks.
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
    measured: Measured,
    workers: int,
    batch: int,
) -> Parts:
    """The parts of a step of ``batch`` windows over so many workers, which fill nodes in turn.

    Where the hardware states no rate of a ring, communication takes no time.
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
    return Parts(compute, communication, exposed, waiting)


def sent_bytes(config: RunConfig, stage: int, workers: int) -> float:
    """Bytes that each of so many workers sends in a step at a ZeRO stage."""
    parameters = sum(accounting.parameters(config.model).values())
    accumulate = config.train.accumulate
    said = volume(stage, parameters, half=config.half, accumulate=accumulate)
    return said.sent(workers)


def _bandwidth(hardware: Hardware, nodes: int) -> float | None:
    """Bytes a second around the ring, which is as fast as its slowest link."""
    link, ring = hardware.link_bytes_per_second, hardware.ring_bytes_per_second
    if nodes == 1 or link is None or ring is None:
        return link
    return min(link, ring)
