import subprocess
import sys

import pytest
import torch

from scaling.benchmarks import timing
from scaling.benchmarks.timing import matmul_ceiling, seconds, side_by_side
from scaling.common.paths import CLONE


def test_the_ratio_is_of_seconds_per_unit_in_neighbouring_runs(monkeypatch):
    measured = iter([4.0, 10.0, 9.0, 10.0, 6.0, 30.0])
    monkeypatch.setattr(timing, "seconds", lambda work: next(measured))
    # Naive: 2 units in 4, 9 and 6 seconds; fast: 10 units in 10, 10 and 30.
    timed = side_by_side(lambda: None, 2, lambda: None, 10, repeats=3)
    assert (timed.naive_seconds, timed.fast_seconds) == (3.0, 1.0)
    assert (timed.lowest, timed.ratio, timed.highest) == (1.0, 2.0, 4.5)


def test_the_two_ways_run_in_turn_after_a_first_run_of_each():
    ran = []
    side_by_side(lambda: ran.append("naive"), 1, lambda: ran.append("fast"), 1, repeats=2)
    assert ran == ["naive", "fast"] * 3


HOLDING = """
import torch
from scaling.benchmarks.timing import side_by_side

def fast():
    held = torch.ones(2**24)
    for _ in range(20):
        held.mul_(1.01)

print(side_by_side(lambda: sum(range(10**5)), 1, fast, 1, repeats=1, warm=False).peak_bytes)
"""


def test_the_memory_of_the_fast_way_is_measured():
    # Memory that other tests free in this process would hide the peak, so it has a new process.
    shown = subprocess.run(
        [sys.executable, "-c", HOLDING], check=True, capture_output=True, text=True, cwd=CLONE
    )
    assert 2**26 * 0.8 < int(shown.stdout) < 2**26 * 2


def test_seconds_are_above_zero_for_work_of_this_process():
    assert seconds(lambda: sum(range(10**6))) > 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_matrix_product_gives_the_ceiling(dtype):
    assert matmul_ceiling(dtype, "cpu") > 1e6
