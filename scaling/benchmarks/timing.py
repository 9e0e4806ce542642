"""How a benchmark measures: two ways in turn, in one process, with medians and peak memory."""

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median

import psutil
import torch

from scaling.common.polling import polling_every

Work = Callable[[], object]
POLL_SECONDS = 0.005
CEILING_SIZE = {"cpu": 1_024, "cuda": 8_192}


@dataclass(frozen=True)
class Timed:
    """Seconds a unit of the naive and of the fast way, and their ratio, over the repeats.

    ``ratio`` is the median of the ratios of neighbouring runs, ``lowest`` and ``highest`` their
    range. ``peak_bytes`` is what the fast way took on top of what was there.
    """

    naive_seconds: float
    fast_seconds: float
    ratio: float
    lowest: float
    highest: float
    peak_bytes: int


def seconds(work: Work) -> float:
    """Seconds of one run: CPU time of the process, or wall time of the GPU until it is idle."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        began = time.perf_counter()
        work()
        torch.cuda.synchronize()
        return time.perf_counter() - began
    began = time.process_time()
    work()
    return time.process_time() - began


def side_by_side(
    naive: Work, naive_units: int, fast: Work, fast_units: int, repeats: int, warm: bool = True
) -> Timed:
    """The two ways in turn, ``repeats`` times, after a first run of each that does not count.

    ``units`` are what one run does. ``warm`` is false where a first run would take minutes.
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
    ratios = [one / other for one, other in zip(of_naive, of_fast, strict=True)]
    return Timed(
        naive_seconds=median(of_naive),
        fast_seconds=median(of_fast),
        ratio=median(ratios),
        lowest=min(ratios),
        highest=max(ratios),
        peak_bytes=max(peaks),
    )


def matmul_ceiling(dtype: torch.dtype, device: str) -> float:
    """Floating-point operations a second of a square matrix product: what kernels can reach."""
    size = CEILING_SIZE[device]
    left, right = torch.randn(2, size, size, device=device, dtype=dtype)
    torch.mm(left, right)
    return 2 * size**3 / min(seconds(lambda: torch.mm(left, right)) for _ in range(7))


@contextmanager
def _peak_memory() -> Iterator[list[int]]:
    """The bytes that the block takes at most, beyond those of its beginning, as its one element."""
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
