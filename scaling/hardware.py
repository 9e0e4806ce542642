"""A kind of accelerator and the nodes that have it."""

from typing import Annotated

from pydantic import Field

from scaling.config import Positive, Rate, Section

SECONDS_PER_HOUR = 3_600


class Hardware(Section):
    """One kind of accelerator, a worker's each, and the nodes that hold it.

    ``operations_per_second`` are the dense floating-point operations of an accelerator at its peak,
    of which a run reaches the share ``utilisation``. ``memory_bytes`` and
    ``network_bits_per_second`` are a node's; without the latter it bounds nothing.

    ``plan --nodes`` asks for more: ``accelerator_bytes`` of an accelerator's own memory, what a
    ring of collectives carries each way, an accelerator's ``link_bytes_per_second`` within a node
    and a node's ``ring_bytes_per_second`` between nodes, and the ``storage_bytes_per_second`` that
    a node writes to the storage that all share, or reads from it.

    ``dollars_per_hour`` are a node's; a run pays for the share of it that its workers take.
    """

    name: str
    operations_per_second: Rate
    utilisation: Annotated[float, Field(gt=0, le=1)]
    accelerators_per_node: Positive
    memory_bytes: Positive
    network_bits_per_second: Rate | None = None
    accelerator_bytes: Positive | None = None
    link_bytes_per_second: Rate | None = None
    ring_bytes_per_second: Rate | None = None
    storage_bytes_per_second: Rate | None = None
    dollars_per_hour: Rate | None = None

    @property
    def dollars_per_worker_hour(self) -> float | None:
        """What a worker pays of its node; None where the price is not stated."""
        price = self.dollars_per_hour
        return None if price is None else price / self.accelerators_per_node
