"""The datasets of a run, made afresh whenever its workers start, from where its checkpoint stands.

Ray Train calls these in its controller, so nothing here imports torch or DeepSpeed.
"""

import json
from pathlib import Path

import ray.data

from datasets.manifest import Corpus
from datasets.stream import Stream
from scaling.config import RunConfig
from scaling.job import Job
from scaling.targets import held_out_windows, training_windows

SNAPSHOT_NAME = "checkpoint_manager_snapshot.json"
HELD_OUT_SEED = 0
"""The seed of the frozen list: the same for every run, so that all are scored on it."""


def training_stream(config: RunConfig, corpus: Corpus) -> Stream:
    """The windows that a run trains on, in its order."""
    windows = training_windows(config, corpus)
    return Stream(
        corpus.folder,
        windows,
        config.seed,
        config.train.batch,
        config.cluster.workers,
        corpus.levels,
        config.windows.polarity,
    )


def held_out_stream(config: RunConfig, corpus: Corpus) -> Stream:
    """The held-out windows, one for each worker at a time."""
    workers = config.cluster.workers
    windows = held_out_windows(config, corpus)
    return Stream(corpus.folder, windows, HELD_OUT_SEED, workers, workers, corpus.levels)


def training_dataset(job: Job) -> ray.data.Dataset:
    """The windows that are left from the newest checkpoint on."""
    stream = training_stream(job.config, Corpus.load(job.corpus_folder))
    return stream.dataset(checkpointed_steps(job.run_folder), job.config.train.steps)


def held_out_dataset(job: Job) -> ray.data.Dataset:
    """As many steps of the held-out stream as cover all held-out windows."""
    steps = -(-job.config.validation.windows // job.config.cluster.workers)
    return held_out_stream(job.config, Corpus.load(job.corpus_folder)).dataset(0, steps)


def checkpointed_steps(run_folder: Path) -> int:
    """Steps of the newest checkpoint that Ray Train will hand to the workers; 0 without one.

    Read from Ray Train's own index: a folder may lie in the storage without being complete.
    """
    path = run_folder / SNAPSHOT_NAME
    if not path.exists():
        return 0
    newest = json.loads(path.read_text())["latest_checkpoint_result"]
    return int(newest["metrics"]["step"]) if newest else 0
