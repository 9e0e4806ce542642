"""A run's starts one after the other, until it ends or makes no progress any more."""

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from uuid import uuid4

from ray.data import ExecutionOptions
from ray.exceptions import RayActorError
from ray.train import DataConfig, FailureConfig, RunConfig, ScalingConfig

from scaling.checkpoints import checkpoint
from scaling.config.run_windows import TRAIN
from scaling.orchestration import worker_count
from scaling.orchestration.supervision import Supervision
from scaling.orchestration.trainer import Trainer
from scaling.runs.job import Job, StartOutcome, WorkerStart
from scaling.training import data, loop
from scaling.training.preemption import PreemptionCallback
from scaling.training.rendezvous import backend_config

RAY_FOLDER = "ray"
"""What Ray Train itself keeps of a start. Longwave goes on from its own checkpoints alone."""
MEMORY = ("running low on memory", "out of memory", "can't allocate memory")
"""What Ray's watch, a GPU and the machine say; Ray's has advice behind it that repeats the word."""
GONE = "The actor is dead"
STORAGE_SECONDS = 600.0
"""How long a run waits for a storage that refuses it."""


class TrainingError(RuntimeError):
    """A run that did not end, with its folder and the reason."""


class DivergedError(TrainingError):
    """A run whose loss was no number."""


@dataclass(frozen=True)
class RestartProgress:
    """What the starts so far came to: the newest checkpoint's step, and failures since it.

    Each worker takes its share of a batch in ``pieces`` or more: in fewer it lacked memory.
    """

    step: int = 0
    failures: int = 0
    why: str | None = None
    suspect: int | None = None
    pieces: int = 1


def run_with_restarts(job: Job) -> None:
    """Start the run's workers, again and again, until it has ended, or waits at its rung.

    TrainingError where ``max_failures`` restarts in a row brought no newer checkpoint, where a
    step's loss is no number twice, where there is no room for the workers, or for one window, or
    where the call has cost as much as it may.
    """
    progress, first = RestartProgress(), True
    while True:
        _await_storage(job.run_folder)
        if job.cap and (reached := job.cap.reached(job.run_folder.parent)):
            raise TrainingError(reached)
        start = _next_start(job, progress, first=first)
        first = False
        supervision = Supervision(job, start)
        try:
            with supervision.supervised():
                ending = _fit(job, start, supervision)
        except Exception as error:
            why = supervision.blame or _reason(error)
            if _short_of_memory(error):
                # It ends by itself: a share of a batch has only so many windows.
                progress = replace(progress, why=why, suspect=None, pieces=2 * start.pieces)
            else:
                progress = _after_failure(job, progress, start, why)
            continue
        if ending["kind"] in ("ended", "waiting"):
            shutil.rmtree(job.run_folder / loop.STACKS, ignore_errors=True)
            shutil.rmtree(job.run_folder / RAY_FOLDER, ignore_errors=True)
            return
        progress = replace(progress, why=ending["why"], suspect=None)
        if ending["kind"] == "no number":
            if ending["step"] == start.suspect:
                raise DivergedError(f"{ending['why']}. It was so at two starts")
            progress = replace(progress, suspect=ending["step"])


def _next_start(job: Job, progress: RestartProgress, *, first: bool) -> WorkerStart:
    checkpoint.forget_partial(job.run_folder)
    shutil.rmtree(job.run_folder / RAY_FOLDER, ignore_errors=True)
    found, damage = checkpoint.newest(job.run_folder)
    cluster = job.config.cluster
    over = time.monotonic() + cluster.wait_seconds
    count = worker_count.choose_worker_count(
        job.config, first=first, over=lambda: time.monotonic() > over
    )
    if count is None:
        raise TrainingError(
            f"there was no room for {cluster.workers if first else cluster.min_workers} workers in "
            f"{cluster.wait_seconds:.0f} s: type `ray status` to see what the cluster has, and "
            "write another cluster.workers or cluster.wait_seconds"
        )
    pieces = worker_count.micro_batches(job.config.train, cluster.workers, count, progress.pieces)
    if pieces is None:
        raise TrainingError(
            f"{progress.why}. A worker takes one window at a time already: write a lower "
            "windows.per_window or model.context, or another train.zero (`plan` says what each "
            "takes)"
        )
    return WorkerStart(
        id=uuid4().hex[:12],
        workers=count,
        pieces=pieces,
        step=found.place.step if found else 0,
        checkpoint=found.folder if found else None,
        why=progress.why,
        warnings=tuple(f"{sentence}: gone back to the one before" for sentence in damage),
        suspect=progress.suspect,
    )


def _fit(job: Job, start: WorkerStart, supervision: Supervision) -> StartOutcome:
    """Train with Ray Train until this start's workers end; KeyboardInterrupt where Ctrl-C does."""
    cluster = job.config.cluster
    trainer = Trainer(
        loop.train_loop,
        train_loop_config={
            "job": job,
            "start": start,
            "watch": supervision.handle,
            "meeting": job.run_folder / RAY_FOLDER / f"meeting-{start.id}",
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
            # One start: when and how to start again is decided here.
            failure_config=FailureConfig(max_failures=0, controller_failure_limit=1),  # type: ignore[call-arg]
            callbacks=[PreemptionCallback()],  # type: ignore[list-item]
        ),
        datasets={TRAIN: partial(data.training_dataset, job, start)},
        dataset_config=DataConfig(
            # A worker alone takes the stream itself, without a process that deals it out.
            datasets_to_split="all" if start.workers > 1 else [],
            execution_options=ExecutionOptions(preserve_order=True),
            enable_shard_locality=False,
        ),
    )
    try:
        ending: StartOutcome = trainer.fit().return_value  # type: ignore[attr-defined]
    except SystemExit as end:
        # Ray Train takes Ctrl-C for itself, aborts the run and would end the process.
        raise KeyboardInterrupt from end
    return ending


def _after_failure(
    job: Job, progress: RestartProgress, start: WorkerStart, why: str
) -> RestartProgress:
    """The progress with one failure more; TrainingError where there were too many in a row."""
    newest = checkpoint.committed(job.run_folder)
    step = int(newest[0].name) if newest else 0
    failures = 1 if step > max(progress.step, start.step) else progress.failures + 1
    if failures > job.config.cluster.max_failures:
        raise TrainingError(
            f"{why}. This was failure {failures} in a row without a checkpoint after step {step}"
        )
    return replace(progress, step=step, failures=failures, why=why, suspect=None)


def _await_storage(folder: Path) -> None:
    """Return when the run's folder can be written to; TrainingError where that takes too long."""
    over = time.monotonic() + STORAGE_SECONDS
    while (problem := _refusal(folder)) is not None:
        if time.monotonic() > over:
            raise TrainingError(
                f"{folder} could not be written to for {STORAGE_SECONDS:.0f} s ({problem}): make "
                "room or repair the storage, then type the command again"
            )
        time.sleep(1)


def _refusal(folder: Path) -> str | None:
    """Why the storage takes no file of a checkpoint's order; None where it does."""
    probe = folder / checkpoint.FOLDER / f".{uuid4().hex}"
    try:
        probe.parent.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(bytes(2**16))
    except OSError as error:
        return str(error)
    finally:
        _quietly(lambda: probe.unlink(missing_ok=True))
    return None


def _quietly(work: Callable[[], object]) -> None:
    try:
        work()
    except OSError:
        return


def _reason(error: BaseException) -> str:
    """Who failed and why, in a sentence."""
    failures: dict[int, BaseException] = getattr(error, "worker_failures", {})
    if full := _short_of_memory(error):
        return f"{full}: smaller pieces of a batch are tried"
    # Where one is gone, the others fail because it does not answer.
    dead = [
        rank for rank, why in failures.items() if isinstance(why, RayActorError) or GONE in str(why)
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
    """The line that says that memory was refused, if it was; the last one, after any traceback."""
    failures: dict[int, BaseException] = getattr(error, "worker_failures", {})
    lines = [line for why in (error, *failures.values()) for line in _lines(why)]
    found = [line for word in MEMORY for line in reversed(lines) if word in line]
    return found[0] if found else None


def _last_sentence(error: BaseException) -> str:
    return (_lines(error) or [type(error).__name__])[-1]


def _lines(error: BaseException) -> list[str]:
    return [line.strip() for line in str(error).splitlines() if line.strip()]
