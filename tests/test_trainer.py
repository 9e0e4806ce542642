"""What Ray Train starts for a run starts like every other process of the cluster, and stays."""

import os
import signal
import threading
from dataclasses import replace

import numpy as np
import pytest
import ray
from ray.util.state import list_actors

from scaling.job import Fault
from scaling.train import make_job, train
from tests.runs import plain_losses, small_run
from tests.test_train import digests, expected_digests, losses, wait_for_steps

OF_A_RUN = ("Controllers", "RayTrainWorker", "SynchronizationActor", "SplitCoordinator")


def started(name):
    """The actors of this class that this process has asked for."""
    job = ray.get_runtime_context().get_job_id()
    return list_actors(filters=[("class_name", "=", name), ("job_id", "=", job)], detail=True)


def alive(name):
    """The processes of those that have not ended."""
    return {actor.pid for actor in started(name) if actor.state == "ALIVE"}


@pytest.mark.parametrize("name", ["Controllers", "SynchronizationActor", "RayTrainWorker"])
def test_what_a_run_starts_has_no_environment_of_its_own(chunks_run, name):
    found = started(name)
    assert found
    assert {actor.serialized_runtime_env for actor in found} == {"{}"}


@pytest.mark.fault(
    "Processes",
    "Ray Train's controller dies",
    "the run is started again, in the order and with the losses undisturbed",
)
@pytest.mark.slow
def test_a_run_takes_the_controllers_of_the_one_before_and_goes_on_where_they_are_killed(
    chunks_run, embedded_corpus, tmp_path
):
    before = {name: alive(name) for name in OF_A_RUN}
    assert before["Controllers"]
    config = small_run(embedded_corpus, tmp_path, train__steps=40, cluster__workers=2)

    def kill_after_steps():
        wait_for_steps(config, 7)
        for controllers in before["Controllers"]:
            os.kill(controllers, signal.SIGKILL)

    killer = threading.Thread(target=kill_after_steps)
    killer.start()
    record = train(make_job(config, {}))
    killer.join()
    (restart,) = record.restarts
    assert restart.workers == 2
    assert digests(config) == expected_digests(config, embedded_corpus)
    np.testing.assert_allclose(losses(config), plain_losses(config, embedded_corpus), atol=2e-3)
    assert [len(alive(name) - before[name]) for name in OF_A_RUN] == [1, 0, 0, 0]


@pytest.mark.slow
def test_the_error_of_a_worker_keeps_nothing_that_was_started_for_it(embedded_corpus, tmp_path):
    before = {name: alive(name) for name in OF_A_RUN[1:]}
    config = small_run(embedded_corpus, tmp_path, cluster__workers=2)
    record = train(replace(make_job(config, {}), faults=(Fault("raise", 4, 1),)))
    assert len(record.restarts) == 1
    assert [alive(name) - before[name] for name in OF_A_RUN[1:]] == [set(), set(), set()]
