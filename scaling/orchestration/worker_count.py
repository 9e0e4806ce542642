"""The number of workers of a start: those that divide the batch and for which there is room."""

import time

from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group

from scaling.config.run_config import ClusterConfig, RunConfig, TrainConfig

SETTLE_SECONDS = 4.0
"""Longest wait for the room of a lost worker before a run continues with fewer."""


def allowed_worker_counts(config: RunConfig) -> list[int]:
    """Return the numbers of workers that divide the run's batch, the largest first."""
    cluster = config.cluster
    least = min(cluster.min_workers, cluster.workers)
    return [
        workers
        for workers in range(cluster.workers, least - 1, -1)
        if config.train.batch % workers == 0
    ]


def count_micro_batches(
    train: TrainConfig, wanted: int, workers: int, least: int = 1
) -> int | None:
    """Return the number of micro-batches in each worker's share of a batch.

    It is the lowest with micro-batches no larger than those of the ``wanted`` workers, for which
    the memory was planned, but at least ``least``. None if a share has fewer windows.
    """
    share = train.batch // workers
    largest = train.batch // (wanted * train.accumulate)
    return next(
        (
            count
            for count in range(least, share + 1)
            if share % count == 0 and share // count <= largest
        ),
        None,
    )


def placement_request(cluster: ClusterConfig, workers: int) -> PlacementGroup:
    """Request room for these workers. Ray's autoscaler starts nodes for it."""
    bundle: dict[str, float] = {"CPU": cluster.cpus_per_worker}
    if cluster.gpu:
        bundle["GPU"] = 1
    request: PlacementGroup = placement_group([bundle] * workers, strategy="PACK")
    return request


def choose_worker_count(config: RunConfig, deadline: float, *, first: bool) -> int | None:
    """Return the number of workers to start, or None if there was no room until ``deadline``.

    The ``first`` start waits for all workers, since nodes may have to be bought. Later the run goes
    on with as many as there is room for. ``deadline`` is one of ``time.monotonic``.
    """
    allowed = allowed_worker_counts(config)[:1] if first else allowed_worker_counts(config)
    while time.monotonic() <= deadline:
        for workers in allowed:
            request = placement_request(config.cluster, workers)
            try:
                if request.wait(SETTLE_SECONDS if workers == allowed[0] else 1):
                    return workers
            finally:
                remove_placement_group(request)
    return None
