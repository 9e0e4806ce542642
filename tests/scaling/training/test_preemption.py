"""Notices that a worker will lose its machine."""

import os
import signal
from types import SimpleNamespace

import pytest

from scaling.training import ray_internals
from scaling.training.heartbeat import STOP_SENTENCES, StopReason
from scaling.training.ray_internals import PreemptionCallback, preemption_reason


@pytest.fixture
def train_context(monkeypatch):
    """The context that Ray Train gives a worker, before any notice."""
    context = SimpleNamespace(preemption_context=SimpleNamespace(preemption_info=None))
    monkeypatch.setattr(ray_internals, "get_train_context", lambda: context)
    monkeypatch.setattr(ray_internals, "_received", [])
    return context


@pytest.mark.fault(
    "Processes",
    "a worker receives SIGTERM",
    "a checkpoint at the end of its step; no step is lost",
)
def test_a_worker_survives_sigterm_and_notices_it(train_context):
    before = signal.getsignal(signal.SIGTERM)
    try:
        PreemptionCallback().after_init_train_context()
        assert preemption_reason() == StopReason.NONE
        os.kill(os.getpid(), signal.SIGTERM)
        assert preemption_reason() == StopReason.TERMINATED
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.fault(
    "Nodes and networks",
    "Ray drains a node",
    "a checkpoint at the end of the step",
)
def test_a_worker_notices_that_ray_drains_its_node(train_context):
    assert preemption_reason() == StopReason.NONE
    train_context.preemption_context.preemption_info = object()
    assert STOP_SENTENCES[preemption_reason()] == "a node is being drained"
    assert preemption_reason() == StopReason.NODE_DRAINED
