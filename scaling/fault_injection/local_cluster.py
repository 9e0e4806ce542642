"""A cluster of several nodes on this machine, which can be killed and added."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ray.cluster_utils import Cluster
from ray.util import placement_group_table

from scaling.cluster.ray_cluster import (
    ENVIRONMENT,
    READING_CPUS,
    SEVERAL_NODES,
    ray_session,
)
from scaling.fault_injection.downscale import CPUS


class LocalCluster:
    """A head that reads the data, and nodes with room for one worker each."""

    def __init__(self, nodes: int) -> None:
        self._cluster = Cluster(
            initialize_head=True,
            head_node_args={"num_cpus": READING_CPUS, **_node_settings()},
        )
        self._nodes = [self._node() for _ in range(nodes)]
        self._cluster.wait_for_nodes()

    @property
    def address(self) -> str:
        """Value for ``RAY_ADDRESS``."""
        return str(self._cluster.address)

    def kill_node(self) -> None:
        """Kill a node with a worker, like a machine that is switched off."""
        used = {
            node
            for group in placement_group_table().values()
            if group["state"] == "CREATED"
            for node in group["bundles_to_node_id"].values()
        }
        lost = next(node for node in self._nodes if node.node_id in used)
        self._nodes.remove(lost)
        self._cluster.remove_node(lost, allow_graceful=False)

    def add_node(self) -> None:
        """Start another node."""
        self._nodes.append(self._node())

    def close(self) -> None:
        """End every process of the cluster."""
        self._cluster.shutdown()

    def _node(self) -> Any:
        return self._cluster.add_node(num_cpus=CPUS, **_node_settings())


def _node_settings() -> dict[str, Any]:
    return {"object_store_memory": 100 * 2**20, "include_dashboard": False}


@contextmanager
def local_cluster(nodes: int) -> Iterator[LocalCluster]:
    """Start a cluster that this process is connected to while the block runs."""
    os.environ.update(ENVIRONMENT | SEVERAL_NODES)
    made = LocalCluster(nodes)
    try:
        with ray_session(made.address):
            yield made
    finally:
        made.close()
