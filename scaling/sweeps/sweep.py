"""A sweep: Ray Tune starts one Ray Train run for every point that has not ended."""

import contextlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

from ray import tune
from ray.tune.search import Searcher

from scaling.config.load import Sweep
from scaling.config.run_config import RunConfig
from scaling.orchestration.restarts import TrainingError
from scaling.orchestration.train import advance, make_job
from scaling.runs import study
from scaling.runs.job import Job
from scaling.runs.log import read_failure
from scaling.sweeps import successive_halving
from scaling.sweeps.successive_halving import RungTask

DRIVER = tune.PlacementGroupFactory([{"memory": 1}])
"""Resources of a trial for Tune. It only waits, and takes no CPU that a worker may need."""
DRIVER_FAILURES = 3
"""Number of times that a trial's own process may be lost, with its node."""


def run(sweep: Sweep, concurrent: int) -> list[TrainingError]:
    """Train every run that has not ended, ``concurrent`` at once; runs that failed start again.

    Of a cell's candidates one trains to its end (:mod:`scaling.sweeps.successive_halving`). The
    failure of one run does not stop the others.

    Returns:
        One error for each reason of a failure.

    Raises:
        KeyboardInterrupt: if Ctrl-C ended the sweep.
    """
    study.register(sweep.study_folder, sweep.runs)
    search = _Search(sweep.cells, sweep.rungs)
    if not search.waiting:
        return []
    jobs = {config.id: make_job(config, sweep.cell_axes(axes)) for axes, config in sweep.runs}
    tuner = tune.Tuner(
        tune.with_resources(tune.with_parameters(_trial, jobs=jobs), DRIVER),
        tune_config=tune.TuneConfig(
            search_alg=search, num_samples=-1, max_concurrent_trials=concurrent, reuse_actors=True
        ),
        run_config=tune.RunConfig(
            name=study.TUNE_NAME,
            storage_path=str(sweep.study_folder),
            verbose=0,
            failure_config=tune.FailureConfig(max_failures=DRIVER_FAILURES),
        ),
    )
    tuner.fit()
    if search.unfinished:
        # Tune handles the signal itself: it ends the trials and returns.
        raise KeyboardInterrupt
    successive_halving.note_pruned(sweep.cells)
    return failures({id: _failure(jobs[id]) for id in jobs if id in search.failed})


def failures(reasons: Mapping[str, str]) -> list[TrainingError]:
    """Return one error for each reason, with the ids of all runs that failed for it."""
    runs: dict[str, list[str]] = {}
    for id, reason in reasons.items():
        runs.setdefault(reason, []).append(id)
    return [
        TrainingError(f"run{'s' * (len(ids) > 1)} {', '.join(ids)} failed: {reason}")
        for reason, ids in runs.items()
    ]


class _Search(Searcher):
    """Tune's source of runs, as long as there is one or a training run may enable one."""

    def __init__(self, cells: list[list[RunConfig]], rungs: tuple[float, ...]) -> None:
        super().__init__()
        self._cells, self._rungs = cells, rungs
        self._training: dict[str, RungTask] = {}
        self.failed: set[str] = set()
        self._update()

    def _update(self) -> None:
        """Find the runs that can train, from all runs' folders."""
        training = list(self._training.values())
        found = successive_halving.next_tasks(self._cells, self._rungs, self.failed)
        self.waiting = [task for task in found if task not in training]

    @property
    def unfinished(self) -> bool:
        """True if a task is neither done nor failed."""
        return bool(self.waiting or self._training)

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """Return the next run, or None if it depends on those that train."""
        if self.waiting:
            task = self._training[trial_id] = self.waiting.pop(0)
            return {"id": task.run.id, "until": task.until}
        # Ray's value for the end is a string, which its type annotation lacks.
        return None if self._training else cast(None, Searcher.FINISHED)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Note whether the task is done."""
        task = self._training.pop(trial_id)
        if not task.done:
            self.failed.add(task.run.id)
        self._update()

    def save(self, checkpoint_path: str) -> None:
        """Do nothing: the runs' folders have all state."""

    def restore(self, checkpoint_path: str) -> None:
        """Do nothing, likewise."""


def _trial(parameters: dict[str, Any], jobs: dict[str, Job]) -> None:
    # Tune restarts a trial only if its own process is lost. A failed run has its reason in its
    # folder.
    with contextlib.suppress(TrainingError):
        advance(replace(jobs[parameters["id"]], until=parameters["until"]))


def _failure(job: Job) -> str:
    return read_failure(job.run_folder) or "its driver was lost, or another process trains it"


def concurrent(sweep: Sweep, offered: Mapping[str, float]) -> int:
    """Return the number of runs that fit the cluster at once, since Tune ignores the workers."""
    cluster = sweep.runs[0][1].cluster
    room = int(offered["CPU"] // (cluster.workers * cluster.cpus_per_worker))
    if cluster.gpu:
        room = min(room, int(offered["GPU"] // cluster.workers))
    return max(1, min(room, sweep.concurrent or room))
