"""Training of one run by its driver: folder, starts and record."""

from typing import Any

import yaml

from datasets.files import replacing
from datasets.storage import Folder
from scaling.checkpoints.checkpoint import CheckpointError
from scaling.common.environment import code_version
from scaling.config.run_config import RunConfig as Run
from scaling.orchestration import restarts
from scaling.orchestration.restarts import DivergedError, TrainingError
from scaling.runs import lease, record, study
from scaling.runs.cost_cap import CostCap
from scaling.runs.job import Fault, Job
from scaling.runs.log import FAILURE_NAME, note_failure
from scaling.runs.record import RunRecord


def make_job(config: Run, axes: dict[str, Any], faults: tuple[Fault, ...] = ()) -> Job:
    """Return the job of a run's workers, with absolute paths; in a rehearsal with faults."""
    return Job(
        config=config,
        axes=axes,
        corpus_folder=Folder.of(config.corpus),
        run_folder=config.folder,
        code_version=code_version(),
        faults=faults,
        cap=CostCap.of(config.cluster),
    )


def train(job: Job) -> RunRecord:
    """Train the run to its end on the connected cluster, from its newest checkpoint if it has one.

    A run that has ended is not trained again.

    Raises:
        TrainingError: if the run did not end.
        LeaseError: if another process trains it.
    """
    if ended := study.finished_record(job.config):
        return ended
    advance(job)
    return RunRecord.read(job.run_folder / record.FILE_NAME)


def advance(job: Job) -> None:
    """Train a run to its end, or to the rung that its job names."""
    config, folder = job.config, job.run_folder
    folder.mkdir(parents=True, exist_ok=True)
    with lease.hold_lease(folder):
        (folder / FAILURE_NAME).unlink(missing_ok=True)
        with replacing(folder / study.CONFIG_NAME) as partial:
            partial.write_text(yaml.safe_dump(config.resolved(), sort_keys=False))
        try:
            restarts.run_with_restarts(job)
        except (TrainingError, CheckpointError) as error:
            note_failure(folder, str(error), diverged=isinstance(error, DivergedError))
            raise TrainingError(f"run {config.id} failed: {error}") from error
