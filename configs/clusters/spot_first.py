"""Which kind of node the head starts: one on spot, and one on demand while EC2 refuses spot.

Ray's first autoscaler asks the function that ``RAY_AUTOSCALER_UTILIZATION_SCORER`` names to score
each kind and starts the highest. Its own function counts what would stand idle, in which two kinds
of the same machine are equal; it is told of refusals, which Ray remembers for half an hour
(``AUTOSCALER_NODE_AVAILABILITY_MAX_STALENESS_S``), and does not use them.
"""

from typing import Any

from ray.autoscaler._private.resource_demand_scheduler import _default_utilization_scorer


def score(
    node_resources: dict[str, float],
    resources: list[dict[str, float]],
    node_type: str,
    *,
    node_availability_summary: Any,
) -> tuple[Any, ...] | None:
    """Ray's score of a kind of node, then whether it was refused last, then whether it is spot."""
    fit = _default_utilization_scorer(
        node_resources, resources, node_type, node_availability_summary=node_availability_summary
    )
    if fit is None:
        return None
    record = node_availability_summary.node_availabilities.get(node_type)
    available = record is None or record.is_available
    return (*fit, available, node_type.endswith("_spot"))
