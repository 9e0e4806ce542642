"""One run from its driver's side: prepare its folder, hand it to Ray Train, find its record."""

import functools
from typing import Any

import yaml
from ray.data import ExecutionOptions
from ray.train import CheckpointConfig, DataConfig, FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer

from datasets.files import replacing
from datasets.storage import Folder
from scaling import feeds, loop, record, study
from scaling.config import RunConfig as Run
from scaling.environment import code_version
from scaling.job import Job
from scaling.log import FAILURE_NAME, note_failure, read_failure
from scaling.record import RunRecord
from scaling.targets import HELD_OUT, TRAIN

CONFIG_NAME = "config.yaml"


class TrainingError(RuntimeError):
    """A run that did not end, with its folder and the reason."""


def make_job(config: Run, axes: dict[str, Any]) -> Job:
    """What the workers are told, with absolute paths."""
    return Job(
        config=config,
        axes=axes,
        corpus_folder=Folder.of(config.corpus),
        run_folder=config.folder,
        code_version=code_version(),
    )


def train(job: Job, callbacks: list[Any] | None = None) -> RunRecord:
    """Train the run to its end on the connected cluster, from its newest checkpoint if it has one.

    A run that has ended is not trained again. :class:`TrainingError` says why a run did not end.
    """
    config = job.config
    if ended := study.finished(config):
        return ended
    folder = job.run_folder
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FAILURE_NAME).unlink(missing_ok=True)
    with replacing(folder / CONFIG_NAME) as partial:
        partial.write_text(yaml.safe_dump(config.resolved(), sort_keys=False))
    trainer = TorchTrainer(
        loop.train_loop,
        train_loop_config={"job": job},
        scaling_config=ScalingConfig(
            num_workers=config.cluster.workers,
            use_gpu=config.cluster.gpu,
            resources_per_worker={"CPU": config.cluster.cpus_per_worker},
        ),
        run_config=RunConfig(
            name=config.id,
            storage_path=str(config.study_folder),
            failure_config=FailureConfig(max_failures=config.cluster.max_failures),
            checkpoint_config=CheckpointConfig(num_to_keep=2),
            callbacks=callbacks or [],
        ),
        datasets={
            TRAIN: functools.partial(feeds.training_dataset, job),
            HELD_OUT: functools.partial(feeds.held_out_dataset, job),
        },
        dataset_config=DataConfig(
            execution_options=ExecutionOptions(preserve_order=True), enable_shard_locality=False
        ),
    )
    try:
        trainer.fit()
    except Exception as error:
        note_failure(folder, str(error))
        raise TrainingError(f"run {config.id} failed: {_first_sentence(error)}") from error
    if failure := read_failure(folder):
        raise TrainingError(f"run {config.id} failed: {failure}")
    return RunRecord.read(folder / record.FILE_NAME)


def _first_sentence(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
