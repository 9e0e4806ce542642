"""Connection to Ray: the cluster that ``RAY_ADDRESS`` names, or one of this machine."""

import logging
import os
import socket
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
import torch
import yaml
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from scaling.cluster import auth

BOOTSTRAP = "ray_bootstrap_config.yaml"
"""The cluster's configuration, which `ray up` writes into the home of the head's user."""


def autoscaling_resources(home: Path) -> dict[str, float]:
    """Return the CPUs and GPUs of the cluster at its largest, head included.

    Jobs run on the head, which has the file. Without the file, and for machines whose resources the
    provider does not list (such as one's own), both are zero.
    """
    path = home / BOOTSTRAP
    if not path.exists():
        return {"CPU": 0.0, "GPU": 0.0}
    config = yaml.safe_load(path.read_text())
    return {name: _largest(config, name) for name in ("CPU", "GPU")}


def _largest(config: Mapping[str, Any], name: str) -> float:
    kinds = config["available_node_types"]
    head = kinds[config["head_node_type"]]["resources"].get(name, 0)
    # Each kind of node has a limit, and all together have that of the cluster.
    nodes = [
        kind["resources"].get(name, 0)
        for kind in kinds.values()
        for _ in range(kind.get("max_workers", 0))
    ]
    return float(head + sum(sorted(nodes, reverse=True)[: config["max_workers"]]))


READING_CPUS = 1
"""CPUs kept free of training, so that Ray Data's reading tasks always find room."""

ENVIRONMENT = {
    # Ray Train looks this often for workers that died or finished; its default of 2 s is slow.
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
    "RAY_TRAIN_WORKER_HEALTH_CHECK_TIMEOUT_S": "60",
    # Workers start only if there is room for them, so one that waits this long has lost its room.
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "20",
    "RAY_TRAIN_PREEMPTION_POLL_INTERVAL_S": "1",
    # Ray would warn of each call for which Ray Train's controller waits, as it is built to.
    "RAY_WARN_BLOCKING_GET_INSIDE_ASYNC": "0",
    "OMP_NUM_THREADS": "1",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
}
"""Environment of Ray's processes on any cluster."""

LOCAL = {
    # Ray looks for new files of output and at every process once a minute, not ten times a second
    # and every five: nobody follows the output of workers or the load of nodes.
    "RAY_LOG_MONITOR_MANY_FILES_THRESHOLD": "0",
    "LOG_NAME_UPDATE_INTERVAL_S": "60",
    "REPORTER_UPDATE_INTERVAL_MS": "60000",
    # The import of Ray Train's own metrics takes each worker a third of a second.
    "RAY_TRAIN_METRICS_ENABLED": "0",
    # Workers are few and start at once; Ray would warn of each beyond the number of cores.
    "RAY_worker_maximum_startup_concurrency": "16",
}
"""Further environment of clusters of this machine."""

EMBEDDED = {
    **LOCAL,
    # Workers cannot be reached from outside.
    "GLOO_SOCKET_IFNAME": "lo",
    "NCCL_SOCKET_IFNAME": "lo",
    # Nobody takes the only node away, and a process that asks takes two seconds of each start.
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
}
"""Further environment of an embedded cluster: one node on this machine."""

SEVERAL_NODES = {
    **LOCAL,
    # The nodes have more threads than the machine has cores: waiting threads sleep.
    "OMP_WAIT_POLICY": "PASSIVE",
}
"""Further environment of a cluster of several nodes on this machine."""


@contextmanager
def connected() -> Iterator[None]:
    """Connect to the cluster in ``RAY_ADDRESS``, or to an embedded one that ends with the block."""
    if ray.is_initialized():
        yield
        return
    if address := os.environ.get("RAY_ADDRESS"):
        auth.require_token(address)
        # Processes elsewhere do not inherit this environment; without the address they may find
        # another cluster of their machine.
        session = ray_session(address, {**ENVIRONMENT, "RAY_ADDRESS": address})
    else:
        auth.store_token()
        os.environ.update(ENVIRONMENT | EMBEDDED)
        session = ray_session(cpus=(os.cpu_count() or 1) + READING_CPUS)
    with session:
        yield


@contextmanager
def ray_session(
    address: str | None = None,
    variables: Mapping[str, str] | None = None,
    *,
    cpus: int | None = None,
) -> Iterator[str]:
    """Connect this process to Ray while the block runs. Every connection is made here.

    Args:
        address: address of a running cluster, which ``RAY_ADDRESS`` has inside the block. None
            starts one node on this machine, which inherits this process's environment and ends
            with the block.
        variables: environment of the workers, if the cluster does not inherit this process's.
        cpus: CPUs of the new node.

    Yields:
        The address.
    """
    settings: dict[str, Any] = {"runtime_env": {"env_vars": dict(variables)}} if variables else {}
    before = os.environ.get("RAY_ADDRESS")
    if address is None:
        # Ray's processes look the cluster up by RAY_ADDRESS and take a stranger's if several run on
        # one machine. The port is chosen here so that every process has the address from its start.
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        address = f"127.0.0.1:{port}"
        os.environ["RAY_GCS_SERVER_PORT"] = str(port)
        settings = {"address": "local", "num_cpus": cpus, "include_dashboard": False}
    os.environ["RAY_ADDRESS"] = address
    try:
        ray.init(**settings, log_to_driver=False, logging_level=logging.ERROR)
        # Another cluster that a child process starts takes a port of its own.
        os.environ.pop("RAY_GCS_SERVER_PORT", None)
        yield address
    finally:
        ray.shutdown()
        del os.environ["RAY_ADDRESS"]
        if before is not None:
            os.environ["RAY_ADDRESS"] = before


def is_named() -> bool:
    """Return whether ``RAY_ADDRESS`` names a cluster."""
    return bool(os.environ.get("RAY_ADDRESS"))


def machine_resources() -> dict[str, float]:
    """Return the CPUs and GPUs that an embedded cluster offers to training."""
    return {"CPU": os.cpu_count() or 1, "GPU": torch.cuda.device_count()}


def cluster_resources() -> dict[str, float]:
    """Return the CPUs and GPUs that the connected cluster offers to training at its largest.

    A cluster that `ray up` started has at first only its head. It starts the nodes that are asked
    for, up to the limits of its file.
    """
    now, later = ray.cluster_resources(), autoscaling_resources(Path.home())
    most = {name: max(now.get(name, 0), later[name]) for name in ("CPU", "GPU")}
    return {"CPU": most["CPU"] - READING_CPUS, "GPU": most["GPU"]}


def can_grow() -> bool:
    """Return whether the connected cluster can start more nodes."""
    return any(autoscaling_resources(Path.home()).values())


def affinity_to(node: dict[str, Any]) -> NodeAffinitySchedulingStrategy:
    """Return the strategy that runs a task or an actor on this node of ``ray.nodes()``."""
    return NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)


def nodes_without_folder(folder: Path) -> list[str]:
    """Return a sentence for each node that does not share ``folder`` with this process.

    Each must see the files of the other.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".shared-", dir=folder) as common:
        nodes = [node for node in ray.nodes() if node["Alive"]]
        answers = [
            _write_into.options(scheduling_strategy=affinity_to(node)).remote(
                common, node["NodeID"]
            )
            for node in nodes
        ]
        found = []
        for node, why in zip(nodes, ray.get(answers), strict=True):
            if why is None and not (Path(common) / node["NodeID"]).exists():
                why = "its files are not seen here"
            if why is not None:
                found.append(
                    f"the node {node['NodeManagerHostname']} ({node['NodeManagerAddress']}) does "
                    f"not share {folder}, where runs are stored ({why}): set cluster.storage to "
                    "a folder that all nodes share, such as a network file system"
                )
        return found


@ray.remote(num_cpus=0)
def _write_into(folder: str, name: str) -> str | None:
    """Write an empty file, or return the reason why that fails."""
    if not os.path.isdir(folder):
        return "it does not see it"
    try:
        (Path(folder) / name).touch()
    except OSError as error:
        return f"it cannot write there ({error.strerror})"
    return None
