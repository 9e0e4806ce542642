import gc

import pytest
import torch
import torch.distributed as distributed

# PyTorch has no public way to make the fake tensors that its tracers leave behind.
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from scaling.benchmarks.worker_bench import Traffic, held_bytes


@pytest.fixture
def alone(tmp_path):
    """Join a process group with this process as its only worker."""
    distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path / 'meeting'}", rank=0, world_size=1
    )
    yield
    distributed.destroy_process_group()


def test_every_collective_is_counted_by_kind_with_all_its_bytes(alone):
    with Traffic() as traffic:
        distributed.all_reduce(torch.zeros(10))
        distributed.all_reduce(torch.zeros(3, dtype=torch.bfloat16))
        distributed.all_gather_single(torch.zeros(6), torch.zeros(6))
        distributed.reduce_scatter_single(torch.zeros(4), torch.zeros(4))
        distributed.broadcast(torch.zeros(2, dtype=torch.float64), 0)
    distributed.all_reduce(torch.zeros(1_000))
    assert traffic.given == {
        "all_reduced": 10 * 4 + 3 * 2,
        "gathered": 24,
        "scattered": 16,
        "broadcast_": 16,
    }


def test_bytes_held_are_read_at_the_first_reduction_of_more_than_a_number(alone):
    # Garbage of earlier tests that is freed during the block would reduce the bytes held.
    number = torch.zeros(1)
    gc.collect()
    with Traffic() as traffic:
        distributed.all_reduce(number)
        assert traffic.held == 0
        before = held_bytes()
        weights = torch.zeros(1_000)
        distributed.all_reduce(weights)
        more = torch.zeros(1_000)
        distributed.all_reduce(more)
    assert traffic.held - before == 4_000


def test_fake_tensors_of_a_tracer_have_no_memory():
    gc.collect()
    before = held_bytes()
    with FakeTensorMode():
        left = torch.zeros(1_000)
    assert isinstance(left, FakeTensor)
    assert held_bytes() == before


def test_memory_is_counted_once_for_all_views_and_includes_gradients():
    gc.collect()
    before = held_bytes()
    weights = torch.zeros(100, requires_grad=True)
    views = [weights.detach()[:10], weights.detach().view(10, 10)]
    assert held_bytes() - before == 400
    weights.grad = torch.zeros(100)
    assert held_bytes() - before == 800
    del weights, views
    assert held_bytes() == before
