"""What Ray Train starts for a run starts like every other process of the cluster."""

import pytest
import ray
from ray.util.state import list_actors


@pytest.mark.parametrize("name", ["TrainController", "SynchronizationActor", "DatasetManager"])
def test_what_a_run_starts_has_no_environment_of_its_own(chunks_run, name):
    job = ray.get_runtime_context().get_job_id()
    found = list_actors(filters=[("class_name", "=", name), ("job_id", "=", job)], detail=True)
    assert found
    assert {actor.serialized_runtime_env for actor in found} == {"{}"}
