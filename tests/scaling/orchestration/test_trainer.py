"""Actors of a run: they use Ray's ready processes, and the controllers' host is reused."""

import os
import signal
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
import ray
from ray._private.state import state
from ray.core.generated.gcs_pb2 import ActorTableData
from ray.util import placement_group, placement_group_table, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from scaling.orchestration.train import make_job, train
from scaling.runs.job import Fault
from tests.helpers.runs import (
    digests,
    expected_digests,
    losses,
    plain_losses,
    small_run,
    wait_for_steps,
)

OF_A_RUN = ("ControllerHost", "RayTrainWorker", "SynchronizationActor", "SplitCoordinator")


def started(name):
    """Return the actors of this class that belong to this job."""
    job = ray.JobID.from_hex(ray.get_runtime_context().get_job_id())
    rows = state._connect_and_get_accessor().get_actor_table(job, None)
    found = [ActorTableData.FromString(row) for row in rows]
    return [actor for actor in found if actor.class_name == name]


def alive(name):
    """Return the process ids of those that are alive."""
    return {actor.pid for actor in started(name) if actor.state == ActorTableData.ALIVE}


def wait_until(is_true):
    """Wait for a condition: a killed process takes a moment to end."""
    deadline = time.monotonic() + 60
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def placement_groups():
    """Return the placement groups that are not removed."""
    table = placement_group_table()
    return {group for group, entry in table.items() if entry["state"] != "REMOVED"}


@pytest.mark.parametrize("name", ["ControllerHost", "SynchronizationActor", "RayTrainWorker"])
def test_processes_of_a_run_have_no_runtime_environment(chunks_run, name):
    found = started(name)
    assert found
    assert {actor.serialized_runtime_env for actor in found} <= {"", "{}"}


@pytest.mark.fault(
    "Processes",
    "Ray Train's controller dies",
    "the run restarts, with the same order and losses",
)
@pytest.mark.slow
def test_a_run_reuses_the_controllers_of_an_earlier_run_and_survives_their_kill(
    chunks_run, embedded_corpus, tmp_path
):
    before = {name: alive(name) for name in OF_A_RUN}
    assert before["ControllerHost"]
    config = small_run(embedded_corpus, tmp_path, train__steps=40, cluster__workers=2)

    def kill_after_steps():
        wait_for_steps(config, 7)
        for controllers in before["ControllerHost"]:
            os.kill(controllers, signal.SIGKILL)

    killer = threading.Thread(target=kill_after_steps)
    killer.start()
    record = train(make_job(config, {}))
    killer.join()
    (restart,) = record.restarts
    assert restart.workers == 2
    assert digests(config) == expected_digests(config, embedded_corpus)
    np.testing.assert_allclose(losses(config), plain_losses(config, embedded_corpus), atol=2e-3)
    wait_until(lambda: [len(alive(name) - before[name]) for name in OF_A_RUN] == [1, 0, 0, 0])


@pytest.mark.slow
def test_after_a_workers_error_no_actor_of_its_start_remains(embedded_corpus, tmp_path):
    before = {name: alive(name) for name in OF_A_RUN[1:]}
    config = small_run(embedded_corpus, tmp_path, cluster__workers=2)
    record = train(replace(make_job(config, {}), faults=(Fault("raise", 4, 1),)))
    assert len(record.restarts) == 1
    wait_until(lambda: not any(alive(name) - before[name] for name in OF_A_RUN[1:]))


@pytest.mark.fault(
    "Processes",
    "a trial is killed while its workers train, and the sweep continues",
    "its workers' placement group is removed, without a dashboard",
)
@pytest.mark.slow
def test_the_placement_group_of_a_killed_trial_is_removed(embedded_corpus, tmp_path):
    # Tune gives a trial its own placement group, and Ray starts all of its actors in that.
    own = placement_group([{"CPU": 0.5}])
    inside = PlacementGroupSchedulingStrategy(own, placement_group_capture_child_tasks=True)
    groups, releasers = placement_groups(), alive("PlacementGroupReleaser")
    config = small_run(embedded_corpus, tmp_path, train__steps=4_000, cluster__workers=2)

    @ray.remote(num_cpus=0.5, scheduling_strategy=inside)
    class Trial:
        def train(self):
            train(make_job(config, {}))

    trial = Trial.remote()
    trial.train.remote()
    wait_for_steps(config, 7)
    assert len(placement_groups() - groups) == len(alive("PlacementGroupReleaser") - releasers) == 1
    ray.kill(trial)
    wait_until(
        lambda: placement_groups() == groups and alive("PlacementGroupReleaser") == releasers
    )
    remove_placement_group(own)
