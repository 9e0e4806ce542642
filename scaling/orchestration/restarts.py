"""The starts of a run, until it ends or makes no more progress."""

import contextlib
import gc
import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import uuid4

from ray.exceptions import RayActorError
from ray.train import FailureConfig, RunConfig, ScalingConfig

from scaling.checkpoints import checkpoint
from scaling.orchestration import worker_count
from scaling.orchestration.ray_internals import Trainer
from scaling.orchestration.supervision import Supervision
from scaling.runs.job import Job, StartOutcome, WorkerStart
from scaling.training import data, loop
from scaling.training.process_group import backend_config
from scaling.training.ray_internals import PreemptionCallback

RAY_FOLDER = "ray"
"""Folder of Ray Train's own files of a start. A restart uses Longwave's checkpoints alone."""
MEMORY = ("running low on memory", "out of memory", "can't allocate memory")
"""Texts of Ray, of a GPU and of the machine. Ray's is followed by advice that repeats the word."""
DEAD = "The actor is dead"
STORAGE_SECONDS = 600.0
"""Longest wait for a storage that refuses the run."""


class TrainingError(RuntimeError):
    """A run did not end; the text has the reason."""


class DivergedError(TrainingError):
    """A run's loss was not finite."""


@dataclass(frozen=True)
class RestartProgress:
    """The newest checkpoint's step, and the failures since.

    ``suspect`` is the step whose loss was not finite at the last start. Each worker takes its share
    of a batch in ``micro_batches`` micro-batches or more: with fewer it ran out of memory.
    """

    step: int = 0
    failures: int = 0
    why: str | None = None
    suspect: int | None = None
    micro_batches: int = 1


def run_with_restarts(job: Job) -> None:
    """Start the run's workers, again and again, until the run has ended or waits at its rung.

    Raises:
        TrainingError: if the run cannot continue: after ``max_failures`` failures in a row without
            a newer checkpoint, or a loss that is not finite at two starts. Other reasons are no
            room for the workers, no memory for one window, and a spent budget.
    """
    progress, first = RestartProgress(), True
    while True:
        # Actors of the start before end when nothing refers to them; Ray's objects form cycles.
        gc.collect()
        _await_storage(job.run_folder)
        if job.cap and (reached := job.cap.reached(job.run_folder.parent)):
            raise TrainingError(reached)
        start = _next_start(job, progress, first=first)
        first = False
        supervision = Supervision(job, start)
        try:
            with supervision.supervised():
                outcome = _fit(job, start, supervision)
        except Exception as error:
            why = supervision.blame or _reason(error)
            if _short_of_memory(error):
                # The number of such restarts is limited, as that of the windows in a share is.
                progress = replace(
                    progress, why=why, suspect=None, micro_batches=2 * start.micro_batches
                )
            else:
                progress = _after_failure(job, progress, start, why)
            continue
        if outcome["kind"] in ("ended", "waiting"):
            shutil.rmtree(job.run_folder / loop.STACKS, ignore_errors=True)
            shutil.rmtree(job.run_folder / RAY_FOLDER, ignore_errors=True)
            return
        progress = replace(progress, why=outcome["why"], suspect=None)
        if outcome["kind"] == "no number":
            if outcome["step"] == start.suspect:
                raise DivergedError(f"{outcome['why']}. It happened at two starts")
            progress = replace(progress, suspect=outcome["step"])


def _next_start(job: Job, progress: RestartProgress, *, first: bool) -> WorkerStart:
    checkpoint.forget_partial(job.run_folder)
    shutil.rmtree(job.run_folder / RAY_FOLDER, ignore_errors=True)
    found, damage = checkpoint.newest(job.run_folder)
    cluster = job.config.cluster
    deadline = time.monotonic() + cluster.wait_seconds
    count = worker_count.choose_worker_count(job.config, deadline, first=first)
    if count is None:
        raise TrainingError(
            f"there was no room for {cluster.workers if first else cluster.min_workers} workers in "
            f"{cluster.wait_seconds:.0f} s. Run `ray status` to see the cluster's resources, then "
            "set another cluster.workers or cluster.wait_seconds"
        )
    micro_batches = worker_count.count_micro_batches(
        job.config.train, cluster.workers, count, progress.micro_batches
    )
    if micro_batches is None:
        raise TrainingError(
            f"{progress.why}. A worker takes one window at a time already: set a lower "
            "windows.per_window or model.context, or another train.zero (`plan` prints the memory "
            "that each takes)"
        )
    return WorkerStart(
        id=uuid4().hex[:12],
        workers=count,
        micro_batches=micro_batches,
        step=found.place.step if found else 0,
        checkpoint=found.folder if found else None,
        why=progress.why,
        warnings=tuple(f"{sentence}: the checkpoint before it is used" for sentence in damage),
        suspect=progress.suspect,
    )


def _fit(job: Job, start: WorkerStart, supervision: Supervision) -> StartOutcome:
    """Run one start's workers and return its outcome; raise KeyboardInterrupt after Ctrl-C."""
    cluster = job.config.cluster
    trainer = Trainer(
        loop.train_loop,
        train_loop_config={
            "job": job,
            "start": start,
            "monitor": supervision.monitor,
            "rendezvous_file": job.run_folder / RAY_FOLDER / f"rendezvous-{start.id}",
            "shards": data.training_shards(job, start),
        },
        backend_config=backend_config(),
        scaling_config=ScalingConfig(
            num_workers=start.workers,
            use_gpu=cluster.gpu,
            resources_per_worker={"CPU": cluster.cpus_per_worker},
        ),
        run_config=RunConfig(
            name=RAY_FOLDER,
            storage_path=str(job.run_folder),
            # Restarts are decided by `run_with_restarts`, not by Ray Train.
            failure_config=FailureConfig(max_failures=0, controller_failure_limit=1),  # type: ignore[call-arg]
            callbacks=[PreemptionCallback()],  # type: ignore[list-item]
        ),
    )
    try:
        outcome: StartOutcome = trainer.fit().return_value  # type: ignore[attr-defined]
    except SystemExit as end:
        # Ray Train handles Ctrl-C itself: it aborts the run and would end the process.
        raise KeyboardInterrupt from end
    return outcome


def _after_failure(
    job: Job, progress: RestartProgress, start: WorkerStart, why: str
) -> RestartProgress:
    """Count one failure more; raise TrainingError if there are too many in a row."""
    newest = checkpoint.committed(job.run_folder)
    step = int(newest[0].name) if newest else 0
    failures = 1 if step > max(progress.step, start.step) else progress.failures + 1
    if failures > job.config.cluster.max_failures:
        raise TrainingError(
            f"{why}. This was failure {failures} in a row without a checkpoint after step {step}"
        )
    return replace(progress, step=step, failures=failures, why=why, suspect=None)


def _await_storage(folder: Path) -> None:
    """Wait until the run's folder can be written to; raise TrainingError after a while."""
    deadline = time.monotonic() + STORAGE_SECONDS
    while (problem := _refusal(folder)) is not None:
        if time.monotonic() > deadline:
            raise TrainingError(
                f"{folder} could not be written to for {STORAGE_SECONDS:.0f} s ({problem}): free "
                "some space or repair the storage, then run the command again"
            )
        time.sleep(1)


def _refusal(folder: Path) -> str | None:
    """Return why the storage refuses a file in the checkpoints' folder, or None."""
    probe = folder / checkpoint.FOLDER / f".{uuid4().hex}"
    try:
        probe.parent.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(bytes(2**16))
    except OSError as error:
        return str(error)
    finally:
        with contextlib.suppress(OSError):
            probe.unlink(missing_ok=True)
    return None


def _reason(error: BaseException) -> str:
    """Return the worker that failed and the reason, in a sentence."""
    failures: dict[int, BaseException] = getattr(error, "worker_failures", {})
    if full := _short_of_memory(error):
        return f"{full}: smaller micro-batches are tried"
    # If one worker is gone, the others fail because it does not answer.
    dead = [
        rank for rank, why in failures.items() if isinstance(why, RayActorError) or DEAD in str(why)
    ]
    if dead:
        return f"worker {', '.join(map(str, sorted(dead)))} died: its process or its node is gone"
    rank, why = next(iter(failures.items()), (None, error))
    if rank is None:
        return _last_sentence(why)
    if "closed by peer" in str(why) or "reset by peer" in str(why):
        return f"worker {rank} lost its connection to another worker, which died"
    return f"worker {rank}: {_last_sentence(why)}"


def _short_of_memory(error: BaseException) -> str | None:
    """Return the last line about refused memory, which follows any traceback, or None."""
    failures: dict[int, BaseException] = getattr(error, "worker_failures", {})
    lines = [line for why in (error, *failures.values()) for line in _lines(why)]
    found = [line for word in MEMORY for line in reversed(lines) if word in line]
    return found[0] if found else None


def _last_sentence(error: BaseException) -> str:
    return (_lines(error) or [type(error).__name__])[-1]


def _lines(error: BaseException) -> list[str]:
    return [line.strip() for line in str(error).splitlines() if line.strip()]
