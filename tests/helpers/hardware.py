"""Hardware and stream measurements for tests of plans."""

from scaling.config.hardware import Hardware
from scaling.planning.data_throughput import StreamMeasurement

HARDWARE = Hardware(
    name="X",
    operations_per_second=1e12,
    utilisation=0.25,
    accelerators_per_node=4,
    memory_bytes=10**10,
    network_bits_per_second=8e12,
)
MEASURED = StreamMeasurement("P", {"mapped": {1_000: 1e-5, 9_000: 5e-5}, "carried": {1_000: 1e-3}})
