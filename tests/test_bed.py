"""The cluster of several nodes on this machine that rehearsals and benchmarks run on."""

import json
import subprocess
import sys

import pytest

from tests.conftest import CLONE

ASKED = """
import json, ray
from ray.util.state import get_actor
from scaling import cluster
from scaling.bed import bed

@ray.remote(num_cpus=0)
class Itself:
    def state(self):
        found = get_actor(ray.get_runtime_context().get_actor_id())
        return found and found.state

with bed(1):
    nodes = [Itself.options(scheduling_strategy=cluster.on(node)) for node in ray.nodes()]
    print(json.dumps(ray.get([node.remote().state.remote() for node in nodes])))
"""


@pytest.mark.slow
@pytest.mark.fault(
    "Nodes and networks",
    "another Ray cluster runs on the same machine",
    "each asks its own whether a controller is alive, and keeps its workers' room",
)
def test_its_nodes_ask_itself_what_became_of_an_actor_though_another_cluster_runs(ray_session):
    # Ray Train takes the workers' room back where it is told that their controller is dead.
    done = subprocess.run([sys.executable, "-c", ASKED], cwd=CLONE, capture_output=True, text=True)
    assert json.loads(done.stdout) == ["ALIVE", "ALIVE"], done.stderr
