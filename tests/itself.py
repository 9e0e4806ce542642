"""What an actor on each node of a cluster is told about itself, asked in a process of its own."""

import json
import subprocess
import sys

from tests.conftest import CLONE

ASKED = """
import json, ray
from ray.util.state import get_actor
from ray.util.state.exception import ServerUnavailable
from scaling import cluster
from {module} import {opens}

@ray.remote(num_cpus=0)
class Itself:
    def state(self):
        try:
            found = get_actor(ray.get_runtime_context().get_actor_id())
        except ServerUnavailable:
            return "nobody answers"
        return found and found.state

with {opens}({arguments}):
    nodes = [Itself.options(scheduling_strategy=cluster.on(node)) for node in ray.nodes()]
    print(json.dumps(ray.get([node.remote().state.remote() for node in nodes])))
"""


def states(module, opens, arguments="", environment=None):
    """The state of an actor on each node of the cluster that ``module.opens(arguments)`` opens."""
    script = ASKED.format(module=module, opens=opens, arguments=arguments)
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=CLONE, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
