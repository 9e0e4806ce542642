"""The cluster of some runs, and all reasons why they cannot train on it, before any starts."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from datasets.manifest import Corpus, ManifestError
from scaling.cluster import ray_cluster
from scaling.config import check, load
from scaling.config.load import ConfigError
from scaling.config.run_config import RunConfig
from scaling.planning import plan
from scaling.planning.data_throughput import STREAM_RECORD, StreamMeasurement
from scaling.runs.record import FILE_NAME


def problems(runs: Sequence[RunConfig]) -> list[str]:
    """Return a sentence if ``cluster.max_dollars`` is too low for these runs.

    Runs that have ended cost nothing more.

    Raises:
        ConfigError: if the hardware's file cannot be read.
    """
    waiting = [run for run in runs if not (run.folder / FILE_NAME).exists()]
    limits = [run.cluster.max_dollars for run in waiting if run.cluster.max_dollars is not None]
    if not limits:
        return []
    file, limit = waiting[0].cluster.hardware, min(limits)
    if file is None:
        return [
            f"cluster.max_dollars is {limit:g}, but cluster.hardware names no hardware, so "
            "the price is unknown: set cluster.hardware=configs/hardware/a100.yaml or another file"
        ]
    hardware = load.hardware(file)
    if hardware.dollars_per_hour is None:
        return [
            f"cluster.max_dollars is {limit:g}, but {file} has no price: add "
            "dollars_per_hour of a node to it"
        ]
    planned = plan.make_plan(
        [({}, run) for run in waiting], hardware, StreamMeasurement.read(STREAM_RECORD)
    )
    price = planned.dollars or 0.0
    if price <= limit:
        return []
    return [
        f"{len(waiting)} run{'s' * (len(waiting) != 1)} would cost {price:,.2f} dollars on "
        f"{hardware.name} by the plan, and cluster.max_dollars is {limit:g}: set "
        f"cluster.max_dollars={price:.0f} or more, or train fewer or shorter runs"
    ]


@contextmanager
def cluster_for(runs: Sequence[RunConfig]) -> Iterator[None]:
    """Connect to the cluster of these runs; raise ConfigError with all problems on it."""
    if found := problems(runs):
        raise ConfigError(found)
    embedded = not ray_cluster.is_named()
    if embedded:
        # No cluster is started for runs that cannot train.
        _refuse(runs, ray_cluster.machine_resources(), [])
    with ray_cluster.connected():
        if not embedded:
            _refuse(
                runs,
                ray_cluster.cluster_resources(),
                ray_cluster.nodes_without_folder(runs[0].study_folder),
            )
        yield


def _refuse(runs: Sequence[RunConfig], offered: Mapping[str, float], more: list[str]) -> None:
    found = list(more)
    for run in runs:
        try:
            corpus = Corpus.load(run.corpus)
        except ManifestError as error:
            corpus = None
            found.append(str(error))
        found += check.problems(run, corpus, offered)
    found += check.history_problems(runs)
    if found:
        raise ConfigError(list(dict.fromkeys(found)))
