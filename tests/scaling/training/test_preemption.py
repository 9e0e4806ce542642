"""What a worker takes for a notice that its machine will be taken away."""

import os
import signal
from types import SimpleNamespace

import pytest

from scaling.training import preemption
from scaling.training.heartbeat import DRAINING, ENDING, NONE, SENTENCES
from scaling.training.preemption import PreemptionCallback


@pytest.fixture
def train_context(monkeypatch):
    """What Ray Train tells a worker about itself, before any notice."""
    context = SimpleNamespace(preemption_context=SimpleNamespace(preemption_info=None))
    monkeypatch.setattr(preemption, "get_train_context", lambda: context)
    monkeypatch.setattr(preemption, "_received", [])
    return context


@pytest.mark.fault(
    "Processes",
    "a worker gets SIGTERM",
    "the run writes a checkpoint at the end of the step; no step is lost",
)
def test_a_worker_lives_on_after_sigterm_and_knows_of_it(train_context):
    before = signal.getsignal(signal.SIGTERM)
    try:
        PreemptionCallback().after_init_train_context()
        assert preemption.current_stop_reason() == NONE
        os.kill(os.getpid(), signal.SIGTERM)
        assert preemption.current_stop_reason() == ENDING
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.fault(
    "Nodes and networks",
    "Ray is notified that a node will be taken away",
    "the run writes a checkpoint at the end of the step",
)
def test_a_worker_knows_that_ray_drains_a_node(train_context):
    assert preemption.current_stop_reason() == NONE
    train_context.preemption_context.preemption_info = object()
    assert SENTENCES[preemption.current_stop_reason()] == "a node is being taken away"
    assert preemption.current_stop_reason() == DRAINING
