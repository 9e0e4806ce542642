import time

import torch

from scaling.timing import matmul_ceiling, seconds, side_by_side


def spin(units):
    """Work that takes CPU time in proportion to ``units``."""

    def work():
        until = time.process_time() + units * 0.002
        while time.process_time() < until:
            pass

    return work


def test_a_ratio_is_of_the_seconds_of_a_unit():
    timed = side_by_side(spin(10), 1, spin(5), 10, repeats=3)
    # 10 a unit against half a unit: 20 times, whatever else the machine does meanwhile.
    assert 15 < timed.ratio < 25
    assert timed.lowest <= timed.ratio <= timed.highest
    assert timed.naive_seconds > timed.fast_seconds > 0


def test_what_the_fast_way_takes_in_memory_is_seen():
    def fast():
        held = torch.ones(50 * 2**20 // 4)
        spin(10)()
        del held

    timed = side_by_side(spin(1), 1, fast, 1, repeats=1, warm=False)
    assert 40 * 2**20 < timed.peak_bytes < 120 * 2**20


def test_sleep_is_no_work_on_a_cpu():
    assert seconds(lambda: time.sleep(0.2)) < 0.1


def test_a_matrix_product_gives_the_ceiling():
    assert matmul_ceiling(torch.float32, "cpu") > 1e8
