"""What one start of a run's workers is fed: the windows left from the checkpoint on, the held-out.

Ray Train calls some of this in its controller, so nothing here imports torch or DeepSpeed.
"""

from dataclasses import dataclass

import numpy as np
import ray.data
from ray.data import DataIterator
from ray.train.v2._internal.data_integration.interfaces import DatasetShardMetadata

from datasets.manifest import Corpus
from datasets.stream import Stream
from scaling.config.run_config import RunConfig
from scaling.config.run_windows import held_out_windows, training_windows
from scaling.runs.job import Job, WorkerStart

HELD_OUT_SEED = 0
"""The seed of the frozen list: the same for every run, so that all are scored on it."""


@dataclass(frozen=True)
class ShardProvider:
    """A worker's shards, as Ray Train asks for them."""

    shards: dict[str, DataIterator]

    def get_dataset_shard(self, asked: DatasetShardMetadata) -> DataIterator:
        """The shard of one dataset."""
        return self.shards[asked.dataset_name]


def training_stream(config: RunConfig, corpus: Corpus, workers: int = 1) -> Stream:
    """The windows that a run trains on, in its order, shared by so many workers."""
    windows = training_windows(config, corpus)
    return Stream(
        corpus.folder,
        windows,
        config.seed,
        config.train.batch,
        workers,
        corpus.levels,
        config.windows.polarity,
        config.unique_windows,
    )


def held_out_stream(config: RunConfig, corpus: Corpus, workers: int) -> Stream:
    """The held-out windows, one for each worker at a time."""
    windows = held_out_windows(config, corpus)
    return Stream(corpus.folder, windows, HELD_OUT_SEED, workers, workers, corpus.levels)


def training_dataset(job: Job, start: WorkerStart) -> ray.data.Dataset:
    """The windows that are left."""
    stream = training_stream(job.config, Corpus.load(job.corpus_folder), start.workers)
    return stream.dataset(start.step, job.config.train.steps)


def held_out_rows(config: RunConfig, stream: Stream, rank: int) -> dict[str, np.ndarray]:
    """A worker's rows of as many steps of the held-out stream as cover all held-out windows.

    They are few, known to all and soon read: no task of Ray Data reads them ahead.
    """
    steps = -(-config.validation.windows // stream.workers)
    positions = np.concatenate([stream.positions(step, rank) for step in range(steps)])
    return {"position": positions, "window": stream.indexes(positions)}
