"""How many workers a run can have: those that share its batch, and for which there is room."""

from collections.abc import Callable

from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group

from scaling.config.run_config import ClusterConfig, RunConfig, TrainConfig

SETTLE_SECONDS = 4.0
"""How long a lost worker's room may take to come back before a run goes on with fewer."""


def allowed_worker_counts(config: RunConfig) -> list[int]:
    """The numbers of workers that the run may have, the largest first: they divide its batch."""
    cluster = config.cluster
    least = min(cluster.min_workers, cluster.workers)
    return [
        workers
        for workers in range(cluster.workers, least - 1, -1)
        if config.train.batch % workers == 0
    ]


def micro_batches(train: TrainConfig, wanted: int, workers: int, least: int = 1) -> int | None:
    """The pieces in which each of ``workers`` takes its share of a batch.

    As few as keep a piece no larger than with the ``wanted`` workers, whose memory was planned, but
    ``least`` or more; None where a share has fewer windows.
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
    """A request for the room of so many workers: Ray's autoscaler sees it, and `wait` awaits it."""
    bundle: dict[str, float] = {"CPU": cluster.cpus_per_worker}
    if cluster.gpu:
        bundle["GPU"] = 1
    request: PlacementGroup = placement_group([bundle] * workers, strategy="PACK")
    return request


def choose_worker_count(config: RunConfig, *, first: bool, over: Callable[[], bool]) -> int | None:
    """The number of workers to start with; None where there was no room until it was ``over``.

    The ``first`` time all are waited for: nodes may have to be bought. Later the run goes on with
    as many as there is room for.
    """
    allowed = allowed_worker_counts(config)[:1] if first else allowed_worker_counts(config)
    while not over():
        for workers in allowed:
            request = placement_request(config.cluster, workers)
            try:
                if request.wait(SETTLE_SECONDS if workers == allowed[0] else 1):
                    return workers
            finally:
                remove_placement_group(request)
    return None
