"""A kind of accelerator and the nodes that have it."""

from typing import Annotated

from pydantic import Field

from scaling.config.run_config import Positive, Rate, Section

SECONDS_PER_HOUR = 3_600


class Hardware(Section):
    """One kind of accelerator and the nodes that have it."""

    name: str
    """Name of the accelerator."""
    operations_per_second: Rate
    """Dense floating-point operations of one accelerator at its peak. Unit: operations per second.
    """
    utilisation: Annotated[float, Field(gt=0, le=1)]
    """Share of the peak that a run reaches. Unit: fraction."""
    accelerators_per_node: Positive
    """Accelerators of a node; each worker uses one. Unit: accelerators."""
    memory_bytes: Positive
    """Main memory of a node. Unit: bytes."""
    network_bits_per_second: Rate | None = None
    """Network of a node; without it the network is no limit. Unit: bits per second."""
    accelerator_bytes: Positive | None = None
    """Memory of one accelerator; `plan --nodes` needs it. Unit: bytes."""
    link_bytes_per_second: Rate | None = None
    """Bandwidth of one accelerator within a node, each way, for ring collectives; `plan --nodes`
    needs it. Unit: bytes per second.
    """
    ring_bytes_per_second: Rate | None = None
    """Bandwidth of a node to other nodes, each way, for ring collectives; `plan --nodes` needs it.
    Unit: bytes per second.
    """
    storage_bytes_per_second: Rate | None = None
    """Bandwidth of a node to the shared storage; `plan --nodes` needs it. Unit: bytes per second.
    """
    dollars_per_hour: Rate | None = None
    """Price of a node; a run pays the share that its workers use. Unit: US dollars per hour."""

    @property
    def dollars_per_worker_hour(self) -> float | None:
        """What a worker pays of its node; None where the price is not stated."""
        price = self.dollars_per_hour
        return None if price is None else price / self.accelerators_per_node
