"""What a cluster of `ray up` may grow to: nodes that start when a run asks are not there before."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

BOOTSTRAP = "ray_bootstrap_config.yaml"
"""Where `ray up` leaves the cluster's configuration on the head, in the home of its user."""


def ceiling(home: Path) -> dict[str, float]:
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
