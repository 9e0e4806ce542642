"""Times and peak memory of two ways that run in turn in one process, and the spread of repeats."""

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any, Self

import psutil
import torch
from torch.utils import benchmark

from scaling.common import environment
from scaling.common.hardware import hardware
from scaling.common.polling import polling_every

Work = Callable[[], object]
Progress = Callable[[int, int], None]
POLL_SECONDS = 0.005
CEILING_SIZE = {"cpu": 1_024, "cuda": 8_192}


@dataclass(frozen=True)
class Spread:
    """The median of some measurements, and their range."""

    median: float
    lowest: float
    highest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        """Return the spread of one value or more."""
        return cls(median(values), min(values), max(values))


@dataclass(frozen=True)
class Benchmark:
    """Measurements of one machine, with its hardware and the code that was measured."""

    hardware: dict[str, Any]
    versions: dict[str, str]
    code_version: str

    @staticmethod
    def machine() -> tuple[dict[str, Any], dict[str, str], str]:
        """Return the values of these fields for this machine."""
        return hardware(), environment.versions(), environment.code_version()


@dataclass(frozen=True)
class Timed:
    """Median seconds per unit of both ways, and the ratios (median and range) of neighbouring runs.

    `peak_bytes` is the memory that the fast way took beyond what was in use before.
    """

    naive_seconds: float
    fast_seconds: float
    ratio: float
    lowest: float
    highest: float
    peak_bytes: int


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use a single thread in the block."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def clock() -> float:
    """Return seconds: CPU time of the process, or wall time after the GPU has become idle."""
    return float(benchmark.timer()) if torch.cuda.is_available() else time.process_time()


def seconds(work: Work) -> float:
    """Return the seconds of one run.

    `benchmark.Timer.timeit` cannot replace this: its two warm-up runs take minutes for some works.
    """
    began = clock()
    work()
    return clock() - began


def side_by_side(
    naive: Work, naive_units: int, fast: Work, fast_units: int, repeats: int, warm: bool = True
) -> Timed:
    """Run the two ways in turn, `repeats` times, after one run of each unless `warm` is False.

    `naive_units` and `fast_units` are the units of work in one run, such as targets.
    """
    if warm:
        naive()
        fast()
    of_naive, of_fast, peaks = [], [], []
    for _ in range(repeats):
        of_naive.append(seconds(naive) / naive_units)
        gc.collect()
        with _peak_memory() as peak:
            of_fast.append(seconds(fast) / fast_units)
        peaks.append(peak[0])
    ratio = Spread.of([one / other for one, other in zip(of_naive, of_fast, strict=True)])
    return Timed(
        median(of_naive), median(of_fast), ratio.median, ratio.lowest, ratio.highest, max(peaks)
    )


def matmul_ceiling(dtype: torch.dtype, device: str) -> float:
    """Return the floating-point operations per second of a square matrix product on one thread."""
    size = CEILING_SIZE[device]
    left, right = torch.randn(2, size, size, device=device, dtype=dtype)
    work = {"left": left, "right": right, "mm": torch.mm}
    timer = benchmark.Timer("mm(left, right)", timer=clock, globals=work)
    return 2 * size**3 / min(timer.blocked_autorange().times)


@contextmanager
def _peak_memory() -> Iterator[list[int]]:
    """Yield a list whose only element becomes the peak bytes of the block beyond its start."""
    found = [0]
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        yield found
        found[0] = torch.cuda.max_memory_allocated() - before
        return
    process = psutil.Process()
    before = process.memory_info().rss

    def look() -> None:
        found[0] = max(found[0], process.memory_info().rss - before)

    with polling_every(look, POLL_SECONDS):
        yield found
