"""What a worker takes for a notice that its machine will be taken away."""

import os
import signal
from types import SimpleNamespace

import pytest

from scaling import notice
from scaling.notice import Noticed
from scaling.pulse import DRAINING, ENDING, NONE, SENTENCES


@pytest.fixture
def train_context(monkeypatch):
    """What Ray Train tells a worker about itself, before any notice."""
    context = SimpleNamespace(preemption_context=SimpleNamespace(preemption_info=None))
    monkeypatch.setattr(notice, "get_train_context", lambda: context)
    monkeypatch.setattr(notice, "_received", [])
    return context


@pytest.mark.fault(
    "Processes",
    "a worker is told to end (SIGTERM)",
    "a checkpoint at the end of its step; no step is lost",
)
def test_a_worker_lives_on_after_sigterm_and_knows_of_it(train_context):
    before = signal.getsignal(signal.SIGTERM)
    try:
        Noticed().after_init_train_context()
        assert notice.current() == NONE
        os.kill(os.getpid(), signal.SIGTERM)
        assert notice.current() == ENDING
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.fault(
    "Nodes and networks",
    "Ray is told that a node will be taken away",
    "a checkpoint at the end of the step",
)
def test_a_worker_knows_that_ray_drains_a_node(train_context):
    assert notice.current() == NONE
    train_context.preemption_context.preemption_info = object()
    assert SENTENCES[notice.current()] == "a node is being taken away"
    assert notice.current() == DRAINING
