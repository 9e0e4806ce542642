"""Forecast of the data stream: the demand of a run on some hardware, and the measured supply."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import numpy as np

from datasets.manifest import Corpus
from datasets.quantise import code_dtype
from datasets.storage import Folder
from model import accounting
from scaling.common.paths import CLONE
from scaling.config.hardware import Hardware
from scaling.config.run_config import RunConfig
from scaling.config.run_windows import TRAIN

STREAM_RECORD = CLONE / "configs/measurements/data-cpu.json"
Bound = Literal["consumers", "network", "storage"]
Way = Literal["mapped", "carried"]
MEASURE = "run `python -m scaling bench data --json` and save its output"


class MeasuredError(ValueError):
    """A file without the measured rates that a forecast needs, with what to type."""


@dataclass(frozen=True)
class StreamMeasurement:
    """Seconds per window of one consumer, by way and by bytes of a window, on a processor."""

    processor: str
    seconds: Mapping[str, Mapping[int, float]]

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a record of ``bench data --json``; MeasuredError if it has no rates."""
        try:
            record = json.loads(path.read_text())
            seconds: dict[str, dict[int, float]] = {}
            for row in record["deliveries"]:
                if row["consumers"] == 1:
                    seconds.setdefault(row["way"], {})[row["window"]] = 1 / row["rate"]["median"]
            if missing := {"mapped", "carried"} - set(seconds):
                raise KeyError(", ".join(sorted(missing)))
            return cls(record["hardware"]["processor"], seconds)
        except OSError as error:
            raise MeasuredError(f"{path} cannot be read ({error.strerror}): {MEASURE}.") from error
        except (ValueError, TypeError, KeyError, ArithmeticError) as error:
            raise MeasuredError(
                f"{path} is no record of the stream's rates ({type(error).__name__}: {error}): "
                f"{MEASURE}."
            ) from error

    def windows_per_second(self, way: str, window_bytes: int) -> float:
        """Return the windows per second for one consumer.

        Seconds are interpolated between measured lengths. A shorter window takes as long as the
        shortest measured one; beyond the longest, seconds are proportional to the length.
        """
        lengths, seconds = zip(*sorted(self.seconds[way].items()), strict=True)
        longer = max(1.0, window_bytes / lengths[-1])
        return float(1 / (np.interp(window_bytes, lengths, seconds) * longer))


@dataclass(frozen=True)
class StreamDemand:
    """Demand of a run whose accelerators reach the share ``utilisation`` of their peak.

    ``bytes_per_second`` of codes is that of all nodes, and the highest demand on storage;
    ``node_bytes_per_second`` is that of the busiest node. ``times`` is the supply over the demand.
    """

    utilisation: float
    windows_per_second: float
    bytes_per_second: float
    node_bytes_per_second: float
    times: float


@dataclass(frozen=True)
class ThroughputForecast:
    """Supply and demand of the stream for a run on ``nodes`` nodes of some hardware.

    The supply for all workers has a ``bound``: the measured rate of consumers; the nodes' network,
    as if it carried all codes; or storage, as if each window were read from it, unless a node's
    memory keeps all codes. ``expected`` is the demand at the stated utilisation, ``most`` at the
    whole peak. ``epoch_bytes`` are the codes of the training recordings, if they are prepared.
    """

    hardware: str
    nodes: int
    way: Way
    delivered_windows_per_second: float
    bound: Bound
    expected: StreamDemand
    most: StreamDemand
    epoch_bytes: int | None
    in_memory: bool | None
    sentence: str


def window_bytes(config: RunConfig, corpus: Corpus | None) -> int:
    """Return the bytes of codes of one training window; without a corpus, codes have 8 bits."""
    width = code_dtype(corpus.levels).itemsize if corpus else 1
    return width * config.targets.samples(config.positions, config.model)


def operations_per_target(config: RunConfig) -> float:
    """Return the forward and backward operations of one target, with everything that is shared."""
    counted = config.model, config.targets, config.positions
    return accounting.training_operations_per_target(*counted)[0]


def forecast(
    config: RunConfig, corpus: Corpus | None, hardware: Hardware, measured: StreamMeasurement
) -> ThroughputForecast:
    """Forecast the stream of a run from the measured rate of one consumer."""
    workers, size = config.cluster.workers, window_bytes(config, corpus)
    nodes = -(-workers // hardware.accelerators_per_node)
    busiest = min(workers, hardware.accelerators_per_node)
    way: Way = "carried" if Folder(config.corpus).local is None else "mapped"
    delivered = workers * measured.windows_per_second(way, size)
    bound: Bound = "consumers"
    epoch = _epoch_bytes(corpus) if corpus else None
    in_memory = None if epoch is None else epoch <= hardware.memory_bytes
    for name, node_bytes in _node_bounds(hardware, in_memory):
        carried = node_bytes / size * workers / busiest
        if carried < delivered:
            delivered, bound = carried, name
    per_target = operations_per_target(config)

    def demand(utilisation: float) -> StreamDemand:
        targets_per_second = hardware.operations_per_second * utilisation / per_target
        rate = targets_per_second / config.targets_per_window
        return StreamDemand(
            utilisation=utilisation,
            windows_per_second=workers * rate,
            bytes_per_second=workers * rate * size,
            node_bytes_per_second=busiest * rate * size,
            times=delivered / (workers * rate),
        )

    expected = demand(hardware.utilisation)
    return ThroughputForecast(
        hardware=hardware.name,
        nodes=nodes,
        way=way,
        delivered_windows_per_second=delivered,
        bound=bound,
        expected=expected,
        most=demand(1.0),
        epoch_bytes=epoch,
        in_memory=in_memory,
        sentence=_verdict(workers, hardware, measured.processor, delivered, bound, expected)
        + _memory(epoch, hardware, expected),
    )


def _node_bounds(hardware: Hardware, in_memory: bool | None) -> Iterator[tuple[Bound, float]]:
    """Yield the bounds of the bytes per second into a node that the hardware's file has."""
    if hardware.network_bits_per_second is not None:
        yield "network", hardware.network_bits_per_second / 8
    if hardware.storage_bytes_per_second is not None and not in_memory:
        yield "storage", hardware.storage_bytes_per_second


def _verdict(
    workers: int,
    hardware: Hardware,
    processor: str,
    delivered: float,
    bound: str,
    taken: StreamDemand,
) -> str:
    given = f"{delivered / workers:,.0f} a second"
    source = {
        "consumers": f"a consumer got {given} on {processor}",
        "network": f"the nodes' network carries {given} to each worker",
        "storage": f"storage delivers {given} to each worker",
    }[bound]
    figures = (
        f"{workers:,} x {hardware.name} at {taken.utilisation:.0%} of the peak take "
        f"{taken.windows_per_second:,.0f} windows ({taken.bytes_per_second / 1e6:,.0f} MB) a "
        f"second, and {source}"
    )
    if taken.times >= 1:
        return f"the stream delivers {taken.times:,.1f} times what the run takes: {figures}"
    return f"the run would wait: {figures}, {taken.times:.2f} times what it takes"


def _memory(epoch: int | None, hardware: Hardware, taken: StreamDemand) -> str:
    most = f"storage is read at up to {taken.bytes_per_second / 1e6:,.0f} MB a second"
    if epoch is None:
        return f"; {most}, less what memory keeps, which is unknown until the corpus is prepared"
    memory = f"the {hardware.memory_bytes / 1e9:,.0f} GB of a node"
    if epoch <= hardware.memory_bytes:
        return f"; the epoch's codes ({epoch / 1e9:,.3f} GB) fit {memory}, which reads storage once"
    return f"; {most}: the epoch's codes ({epoch / 1e9:,.0f} GB) do not fit {memory}"


def _epoch_bytes(corpus: Corpus) -> int:
    samples = sum(entry.samples for entry in corpus.recordings if TRAIN in entry.ranges)
    return samples * code_dtype(corpus.levels).itemsize
