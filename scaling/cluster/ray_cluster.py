"""The Ray cluster: the one that is named, or an embedded one on this machine."""

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
"""Where `ray up` leaves the cluster's configuration on the head, in the home of its user."""


def autoscaling_resources(home: Path) -> dict[str, float]:
    """CPUs and GPUs of the cluster at its largest, head included; zeros where nothing says it.

    Jobs run on the head, where the file is. The resources of a kind of node are in it if the
    provider knows them, which that of one's own machines does not.
    """
    path = home / BOOTSTRAP
    if not path.exists():
        return {"CPU": 0.0, "GPU": 0.0}
    config = yaml.safe_load(path.read_text())
    return {name: _largest(config, name) for name in ("CPU", "GPU")}


def _largest(config: Mapping[str, Any], name: str) -> float:
    kinds = config["available_node_types"]
    head = kinds[config["head_node_type"]]["resources"].get(name, 0)
    # Any kind may be taken up to its own limit, all together up to that of the cluster.
    nodes = [
        kind["resources"].get(name, 0)
        for kind in kinds.values()
        for _ in range(kind.get("max_workers", 0))
    ]
    return float(head + sum(sorted(nodes, reverse=True)[: config["max_workers"]]))


READING_CPUS = 1
"""CPUs kept free of training, so that Ray Data's reading tasks always find room."""

ENVIRONMENT = {
    # How often Ray Train looks whether a worker has died, or is done; the stock 2 s are felt.
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
    "RAY_TRAIN_WORKER_HEALTH_CHECK_TIMEOUT_S": "60",
    # Workers are started where there is room for them, so that one that has to wait lost it.
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "20",
    "RAY_TRAIN_PREEMPTION_POLL_INTERVAL_S": "1",
    # Ray would warn of each call for which the controller of Ray Train waits, as it is built to.
    "RAY_WARN_BLOCKING_GET_INSIDE_ASYNC": "0",
    "OMP_NUM_THREADS": "1",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
}

UNFOLLOWED = {
    # Ray looks for new files of output and at every process once a minute, and not ten times a
    # second and every five.
    "RAY_LOG_MONITOR_MANY_FILES_THRESHOLD": "0",
    "LOG_NAME_UPDATE_INTERVAL_S": "60",
    "REPORTER_UPDATE_INTERVAL_MS": "60000",
    # Ray Train's own metrics, whose import takes each worker a third of a second.
    "RAY_TRAIN_METRICS_ENABLED": "0",
}
"""Where nobody follows what workers print, or how busy the nodes are."""

EMBEDDED = {
    **UNFOLLOWED,
    # What keeps the workers from being reached from outside.
    "GLOO_SOCKET_IFNAME": "lo",
    "NCCL_SOCKET_IFNAME": "lo",
    # Nobody takes the only node away; a process that asks takes two seconds of each start.
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
}
"""What is different on an embedded cluster, which is this machine alone."""


@contextmanager
def connected() -> Iterator[None]:
    """A connection to the cluster in ``RAY_ADDRESS``, or to an embedded one that ends with it."""
    if ray.is_initialized():
        yield
        return
    embedded = not is_named()
    if embedded:
        auth.store_token()
        _start_embedded()
    else:
        address = os.environ["RAY_ADDRESS"]
        auth.require_token(address)
        ray.init(
            # Its processes may not have the address, and find another cluster of their machine.
            runtime_env={"env_vars": {**ENVIRONMENT, "RAY_ADDRESS": address}},
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    try:
        yield
    finally:
        ray.shutdown()
        if embedded:
            del os.environ["RAY_ADDRESS"]


def _start_embedded() -> None:
    # What asks Ray about itself looks the cluster up by RAY_ADDRESS and picks a stranger's where
    # several run on one machine, so the port is chosen here and told to every process.
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    os.environ.update(ENVIRONMENT | EMBEDDED)
    os.environ["RAY_GCS_SERVER_PORT"] = str(port)
    os.environ["RAY_ADDRESS"] = f"127.0.0.1:{port}"
    ray.init(
        address="local",
        _node_ip_address="127.0.0.1",
        num_cpus=(os.cpu_count() or 1) + READING_CPUS,
        include_dashboard=False,
        _system_config={"worker_maximum_startup_concurrency": 16},
        log_to_driver=False,
        logging_level=logging.ERROR,
    )


def is_named() -> bool:
    """Whether ``RAY_ADDRESS`` names a cluster."""
    return bool(os.environ.get("RAY_ADDRESS"))


def machine_resources() -> dict[str, float]:
    """CPUs and GPUs that an embedded cluster on this machine offers to training."""
    return {"CPU": os.cpu_count() or 1, "GPU": torch.cuda.device_count()}


def cluster_resources() -> dict[str, float]:
    """CPUs and GPUs that training may take of the connected cluster, at its largest.

    A cluster that `ray up` started has at first no node but its head: it buys those that are
    asked for, up to its file's ceiling.
    """
    now, later = ray.cluster_resources(), autoscaling_resources(Path.home())
    most = {name: max(now.get(name, 0), later[name]) for name in ("CPU", "GPU")}
    return {"CPU": most["CPU"] - READING_CPUS, "GPU": most["GPU"]}


def can_grow() -> bool:
    """Whether the connected cluster may start more nodes than it has."""
    return any(autoscaling_resources(Path.home()).values())


def affinity_to(node: dict[str, Any]) -> NodeAffinitySchedulingStrategy:
    """Where a task or an actor has to be put to run on this one of ``ray.nodes()``."""
    return NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)


def nodes_without_folder(folder: Path) -> list[str]:
    """A sentence for each node of the connected cluster that does not share ``folder`` with us.

    What this process writes must be seen there, and what is written there here.
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
                why = "what it writes there is not seen here"
            if why is not None:
                found.append(
                    f"the node {node['NodeManagerHostname']} ({node['NodeManagerAddress']}) does "
                    f"not share {folder}, where runs are stored ({why}): write a cluster.storage "
                    "that all nodes share, such as a network file system"
                )
        return found


@ray.remote(num_cpus=0)
def _write_into(folder: str, name: str) -> str | None:
    """Write a file of this name; why it cannot be, if it cannot."""
    if not os.path.isdir(folder):
        return "it does not see it"
    try:
        (Path(folder) / name).touch()
    except OSError as error:
        return f"it cannot write there ({error.strerror})"
    return None
