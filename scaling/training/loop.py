"""The training loop, which runs in every worker."""

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from functools import partial
from typing import Any

import numpy as np
import ray.train
import torch
from ray.data import DataIterator

from datasets.manifest import Corpus
from scaling.checkpoints import engine_state
from scaling.checkpoints.async_saver import AsyncSaver, retry_storage
from scaling.checkpoints.checkpoint import Checkpoint, save_tensors
from scaling.checkpoints.train_state import TrainState
from scaling.config.run_config import TrainConfig
from scaling.evaluation import validation
from scaling.runs import loss_by_context
from scaling.runs.job import Job, StartOutcome, WorkerStart
from scaling.runs.log import RunLog
from scaling.runs.trained_model import WEIGHTS_NAME
from scaling.training import data, heartbeat, run_record, worker_usage
from scaling.training import engine as engines
from scaling.training.heartbeat import HeartbeatSender, StopReason
from scaling.training.injected_faults import inject_due_faults
from scaling.training.process_group import process_group
from scaling.training.ray_internals import preemption_reason
from scaling.training.trackers import Tracking
from scaling.training.worker_usage import OperationCounter

STACKS = "stacks"

Batch = dict[str, torch.Tensor]


class NonFiniteLoss(ArithmeticError):
    """The loss of a step is not finite; the weights are those before the step."""


def train_loop(settings: dict[str, Any]) -> StartOutcome:
    """Train one run to its end, or until the workers have to stop.

    Args:
        settings: "job", "start", "monitor" (actor of the heartbeats), "rendezvous_file" and
            "shards" (the training data of each rank).
    """
    job: Job = settings["job"]
    torch.set_num_threads(job.config.cluster.cpus_per_worker)
    with process_group(settings["rendezvous_file"], job.config.cluster.gpu):
        worker = _Worker(job, settings["start"], settings["monitor"], settings["shards"])
        try:
            return worker.train()
        except NonFiniteLoss as error:
            # The loss is the mean of all ranks, so that every rank stops here.
            return StartOutcome(kind="no number", why=str(error), step=worker.state.step + 1)
        finally:
            worker.close()


class _Worker:
    """A rank of a run: engine, data and train state."""

    def __init__(
        self, job: Job, start: WorkerStart, monitor: Any, shards: list[DataIterator]
    ) -> None:
        self.job, self.start, self.config = job, start, job.config
        self.rank = ray.train.get_context().get_world_rank()
        stacks = job.run_folder / STACKS / f"{start.id}-{self.rank}.txt"
        hang_seconds = self.config.cluster.hang_seconds
        self.heartbeat = HeartbeatSender(monitor, self.rank, hang_seconds, stacks)
        self.heartbeat.tick("building the model")
        self.shard = shards[self.rank]
        self.corpus = Corpus.load(job.corpus_folder)
        self.stream = data.training_stream(self.config, self.corpus, start.workers)
        self.state = TrainState()
        self.idle_memory = worker_usage.bytes_held()
        self.engine = self._restored_engine()
        # Rank 0 alone writes the log and feeds the trackers.
        self.log = RunLog(job.run_folder, self.state.step) if self.rank == 0 else None
        self.tracking = (
            Tracking(self.config, self.state.step, self.log.began) if self.log is not None else None
        )
        self.saver = AsyncSaver(
            job.run_folder,
            start,
            self.rank,
            all_reduce_sum=lambda values: engines.all_reduce_sum(values, self.engine.device),
            tick=self.heartbeat.tick,
            warn=lambda sentence: self._write("warning", sentence=sentence),
        )
        if start.checkpoint and self.rank == 0 and self.config.validation.patience:
            self.saver.best = engine_state.best_weights(Checkpoint.read(start.checkpoint))
        self.is_first_step = True

    def _restored_engine(self) -> Any:
        """Return the engine in the state of the checkpoint, if the start has one."""
        network, start = engines.build_network(self.config, self.corpus), self.start
        checkpoint = Checkpoint.read(start.checkpoint) if start.checkpoint else None
        if checkpoint:
            engine_state.load_model(network, checkpoint)
        engine = engines.start_engine(
            network, self.config.train, start.workers, start.micro_batches
        )
        if checkpoint:
            engine_state.load_optimizer(engine, checkpoint)
            self.state = checkpoint.place
        return engine

    def close(self) -> None:
        """End the threads beside the loop."""
        self.heartbeat.close()
        if self.tracking is not None:
            self.tracking.close()

    def train(self) -> StartOutcome:
        """Train the remaining steps, with validations and checkpoints, then write the record."""
        self._write_start()
        # The start before may have ended between a step and its validation.
        self._validate_if_due()
        batches = self._training_batches()
        while not self.state.ended(self.config):
            why = self._step(batches)
            if self._is_at_rung():
                nats = float(self._score().run.mean())
                self._write("rung", step=self.state.step, nats=nats, share=self.job.until)
            if why or self._is_at_rung():
                self.saver.begin(self.engine, self.state)
                self.saver.wait_until_written()
                return StartOutcome(
                    kind="waiting" if self._is_at_rung() else "stopped",
                    why=why,
                    step=self.state.step,
                )
            self._validate_if_due()
            if self._is_checkpoint_due():
                self.saver.begin(self.engine, self.state)
        self._finish()
        return StartOutcome(kind="ended", why="", step=self.state.step)

    def _is_at_rung(self) -> bool:
        share = self.state.share(self.config.train)
        return self.job.until is not None and self.job.until <= share < 1

    def _is_checkpoint_due(self) -> bool:
        train = self.config.train
        return self.state.share(train) < 1 and self.state.step % train.checkpoint_every == 0

    def _training_batches(self) -> Iterator[Batch]:
        if self.state.ended(self.config):
            return iter(())
        blocks = data.iterate_blocks(self.shard, self.stream)
        size = self.stream.windows_per_worker // self.start.micro_batches
        return data.batches(blocks, self.stream, size, self.engine.device)

    def _step(self, batches: Iterator[Batch]) -> str:
        """Take one optimizer step. Return why the workers should stop after it, if they should."""
        train, step, device = self.config.train, self.state.step, self.engine.device
        began = time.perf_counter()
        torch.manual_seed(engines.step_seed(self.config, step, self.rank))
        engines.set_learning_rate(self.engine.optimizer, engines.learning_rate(train, self.state))
        counter = OperationCounter() if step == 0 else nullcontext()
        self.heartbeat.tick("beginning a step")
        is_spoiled = inject_due_faults(self.job.faults, self.job.run_folder, step + 1, self.rank)
        waited, losses, positions, windows = 0.0, [], [], []
        for micro_batch in range(self.start.micro_batches):
            self.heartbeat.tick("waiting for data")
            requested = time.perf_counter()
            batch = next(batches)
            waited += time.perf_counter() - requested
            self.heartbeat.tick("computing")
            positions += batch["position"].tolist()
            windows += batch["window"].tolist()
            with counter:
                loss, nats = self.engine(batch["codes"], self.config.targets, batch.get("padding"))
            loss = loss * math.nan if is_spoiled else loss
            losses.append(loss_by_context.means_by_context(loss, nats, self.config))
            self.heartbeat.tick(heartbeat.WAITING)
            with counter:
                self.engine.backward(loss)
            if micro_batch == self.start.micro_batches - 1:
                own = self.stream.positions(step, self.rank).tolist()
                _check_window_order(positions, own, self.rank, step)
                means, waited, windows, stop = self._gather(np.mean(losses, 0), waited, windows)
                _check_loss_is_finite(means[0], windows, step, train)
            self.engine.step()
        seconds = time.perf_counter() - began
        # The wait until the stream is filled is no time of training.
        training_seconds = seconds - waited if self.is_first_step else seconds
        self.is_first_step = False
        if train.seconds:
            # All ranks have to end with the same step.
            gathered = engines.all_gather([training_seconds], self.start.workers, device)
            training_seconds = float(gathered.max())
        self.state = self.state.advanced(windows, training_seconds)
        self.heartbeat.note_step(self.state.step, seconds)
        counted = (
            {"operations": counter.operations} if isinstance(counter, OperationCounter) else {}
        )
        self._write(
            "step",
            step=self.state.step,
            nats=means[0],
            nats_by_context=means[1:],
            seconds=seconds,
            data_wait_seconds=waited,
            order_digest=self.state.order_digest,
            **counted,
        )
        return stop

    def _gather(
        self, losses: np.ndarray, waited: float, windows: list[int]
    ) -> tuple[list[float], float, list[int], str]:
        """Gather the results of a step from all ranks.

        Returns:
            Mean losses, longest wait for data (seconds), all windows in global order, and why to
            stop after the step.
        """
        reason = preemption_reason() or self.heartbeat.requested
        own = [reason, float(self.saver.failed), waited, *losses, *windows]
        rows = engines.all_gather(own, self.start.workers, self.engine.device)
        if rows[:, 1].any():
            self.saver.give_up()
        split = 3 + len(losses)
        means: list[float] = rows[:, 3:split].mean(0).tolist()
        return (
            means,
            float(rows[:, 2].max()),
            rows[:, split:].astype(int).ravel().tolist(),
            heartbeat.STOP_SENTENCES[StopReason(int(rows[:, 0].max()))],
        )

    def _validate_if_due(self) -> None:
        step = self.state.step
        due = step % self.config.validation.every == 0 and step > self.state.validated
        if due and self.state.share(self.config.train) < 1:
            self._validate()

    def _validate(self, contexts: Sequence[int] = ()) -> validation.Scores:
        """Score the held-out targets, and keep the weights if the loss is the lowest so far."""
        scores = self._score(contexts)
        if self.state.validated == self.state.step:
            return scores
        nats = float(scores.run.mean())
        self.state = self.state.scored(nats, self.config.train)
        self._write("validation", step=self.state.step, nats=nats)
        if self.config.validation.patience and self.state.best == self.state.step:
            weights = engines.weights(self.engine)
            self.saver.best = weights if self.rank == 0 else None
        return scores

    def _score(self, contexts: Sequence[int] = ()) -> validation.Scores:
        """Score the held-out targets at the model's context, and at shorter ``contexts``."""
        stream = data.held_out_stream(self.config, self.corpus, self.start.workers)
        rows = data.held_out_rows(self.config, stream, self.rank)
        batches = self._with_ticks(data.batches([rows], stream, 1, self.engine.device))
        return validation.score(self.engine, batches, self.corpus, self.config, contexts)

    def _with_ticks(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        for batch in batches:
            self.heartbeat.tick("validating")
            yield batch

    def _finish(self) -> None:
        """Score the final weights, then write the last checkpoint, the weights and the record."""
        contexts = loss_by_context.trained_contexts(self.config)
        if not self.state.out_of_patience(self.config):
            scores = self._validate(contexts)
        self.saver.finish(self.engine, self.state)
        if self.config.validation.patience and self.state.best < self.state.step:
            engines.broadcast_weights(self.engine, self.saver.best)
            scores = self._score(contexts)
        weights = engines.weights(self.engine)
        if self.log is None:
            return
        folder, log = self.job.run_folder, self.log
        tick = partial(self.heartbeat.tick, "writing the record")
        retry_storage(log.flush, tick)
        retry_storage(lambda: save_tensors(weights, folder / WEIGHTS_NAME), tick)
        record = run_record.build_run_record(
            self.job, self.corpus, self.stream, self.state, scores, log.history
        )
        retry_storage(lambda: record.write(folder), tick)

    def _write_start(self) -> None:
        """Log where and why this start begins, and the step that the one before had reached."""
        if self.log is None:
            return
        reached = self.log.reached or {"step": self.state.step, "time": None}
        for warning in self.start.warnings:
            self._write("warning", sentence=warning)
        self._write(
            "start",
            step=self.state.step,
            date=datetime.now(UTC).isoformat(timespec="seconds"),
            workers=self.start.workers,
            pieces=self.start.micro_batches,
            why=self.start.why,
            lost_steps=reached["step"] - self.state.step,
            last_time=reached["time"],
            idle_memory=self.idle_memory,
        )

    def _write(self, kind: str, **values: Any) -> None:
        if self.log is None or self.tracking is None:
            return
        self.log.write(kind, **values)
        for sentence in self.tracking.note(kind, values, self.state.seconds):
            self.log.write("warning", sentence=sentence)


def _check_window_order(received: list[int], own: list[int], rank: int, step: int) -> None:
    if received != own:
        raise RuntimeError(
            f"worker {rank} received windows {received} of the global sequence at step {step}, not "
            f"{own}: the stream did not begin at the checkpoint. This is a fault of Longwave: "
            "please report it"
        )


def _check_loss_is_finite(nats: float, windows: list[int], step: int, train: TrainConfig) -> None:
    """Raise NonFiniteLoss if the loss of the step after ``step`` is not finite."""
    if not math.isfinite(nats):
        raise NonFiniteLoss(
            f"the loss of step {step + 1} is {nats} (windows {windows}), so the step was not "
            f"taken: lower train.learning_rate ({train.learning_rate}), or check the audio of "
            "these windows"
        )
