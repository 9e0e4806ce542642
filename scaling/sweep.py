"""A sweep: Ray Tune starts one Ray Train run for every point that has not ended yet."""

import contextlib
from collections.abc import Mapping
from typing import Any

from ray import tune

from scaling import study
from scaling.attempts import TrainingError
from scaling.job import Job
from scaling.load import Sweep
from scaling.log import read_failure
from scaling.train import make_job, train

DRIVER_CPUS = 0.01
"""What Tune accounts for a trial: the driver only waits; Ray Train claims the workers' CPUs."""
DRIVER_FAILURES = 3
"""How often a trial's own process may be lost, with its node."""


def run(sweep: Sweep, concurrent: int) -> list[TrainingError]:
    """Train every run that has not ended, ``concurrent`` at once; failed ones are tried again.

    One run's failure does not stop the others. The reasons of all failures are returned.
    """
    jobs = [make_job(config, axes) for axes, config in sweep.runs]
    study.register(sweep.study_folder, sweep.runs)
    waiting = {job.config.id: job for job in jobs if study.finished(job.config) is None}
    if not waiting:
        return []
    tuner = tune.Tuner(
        tune.with_resources(tune.with_parameters(_trial, jobs=waiting), {"CPU": DRIVER_CPUS}),
        param_space={"id": tune.grid_search(list(waiting))},
        tune_config=tune.TuneConfig(max_concurrent_trials=concurrent, reuse_actors=True),
        run_config=tune.RunConfig(
            name=study.TUNE_NAME,
            storage_path=str(sweep.study_folder),
            verbose=0,
            failure_config=tune.FailureConfig(max_failures=DRIVER_FAILURES),
        ),
    )
    tuner.fit()
    lost = [job for job in waiting.values() if not study.finished(job.config)]
    return [TrainingError(f"run {job.config.id} failed: {_failure(job)}") for job in lost]


def _trial(parameters: dict[str, Any], jobs: dict[str, Job]) -> None:
    # For Tune the trial is over: it starts again only those whose own process was lost. Why the run
    # failed stands in its folder.
    with contextlib.suppress(TrainingError):
        train(jobs[parameters["id"]])


def _failure(job: Job) -> str:
    return read_failure(job.run_folder) or "its driver was lost, or another one trains it"


def concurrent(sweep: Sweep, offered: Mapping[str, float]) -> int:
    """Runs that fit the cluster at once; Tune does not see the workers, so they are counted."""
    cluster = sweep.runs[0][1].cluster
    room = int(offered["CPU"] // (cluster.workers * cluster.cpus_per_worker))
    if cluster.gpu:
        room = min(room, int(offered["GPU"] // cluster.workers))
    return max(1, min(room, sweep.concurrent or room))
