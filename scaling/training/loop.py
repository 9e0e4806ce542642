"""The training loop that runs in every worker."""

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

from datasets.manifest import Corpus
from scaling.checkpoints import engine_state
from scaling.checkpoints.async_saver import AsyncSaver, retry_storage
from scaling.checkpoints.checkpoint import Checkpoint
from scaling.checkpoints.train_state import TrainState
from scaling.config.run_windows import TRAIN
from scaling.evaluation import validation
from scaling.runs import loss_by_context
from scaling.runs.job import Job, StartOutcome, WorkerStart
from scaling.runs.log import RunLog
from scaling.runs.trained_model import WEIGHTS_NAME
from scaling.training import (
    collectives,
    data,
    heartbeat,
    injected_faults,
    preemption,
    run_record,
    step_checks,
    worker_usage,
)
from scaling.training import engine as engines
from scaling.training.batches import batches, iterate_blocks
from scaling.training.heartbeat import HeartbeatSender
from scaling.training.initialisation import build, step_seed
from scaling.training.rendezvous import process_group
from scaling.training.trackers import Tracking
from scaling.training.worker_usage import OperationCounter

STACKS = "stacks"


def train_loop(settings: dict[str, Any]) -> StartOutcome:
    """Train one run to its end, or until the workers are to stop."""
    job: Job = settings["job"]
    torch.set_num_threads(job.config.cluster.cpus_per_worker)
    with process_group(settings["meeting"], job.config.cluster.gpu):
        worker = _Worker(job, settings["start"], settings["watch"])
        try:
            return worker.train()
        except step_checks.NonFiniteLoss as error:
            # Every rank sees the same sum and stops here.
            return StartOutcome(kind="no number", why=str(error), step=worker.place.step + 1)
        finally:
            worker.close()


class _Worker:
    """One rank: its engine, its share of the stream and its place in the run."""

    def __init__(self, job: Job, start: WorkerStart, watch: Any) -> None:
        self.job, self.start, self.config = job, start, job.config
        self.rank = ray.train.get_context().get_world_rank()
        stacks = job.run_folder / STACKS / f"{start.id}-{self.rank}.txt"
        self.pulse = HeartbeatSender(watch, self.rank, self.config.cluster.hang_seconds, stacks)
        # First of all: what deals it out starts while the network is built.
        self.pulse.tick("asking for its share of the stream")
        self.shard = ray.train.get_dataset_shard(TRAIN)
        self.corpus = Corpus.load(job.corpus_folder)
        self.stream = data.training_stream(self.config, self.corpus, start.workers)
        self.place = TrainState()
        self.idle_memory = worker_usage.bytes_held()
        self.engine = self._engine()
        self.log = RunLog(job.run_folder, self.place.step) if self.rank == 0 else None
        self.saver = AsyncSaver(
            job.run_folder,
            start,
            self.rank,
            sums=lambda values: collectives.all_reduce_sum(values, self.engine.device),
            tick=self.pulse.tick,
            warn=lambda sentence: self._write("warning", sentence=sentence),
        )
        if start.checkpoint and self.rank == 0 and self.config.validation.patience:
            self.saver.best = engine_state.best_weights(Checkpoint.read(start.checkpoint))
        self.tracking = (
            Tracking(self.config, self.place.step, self.log.began) if self.log is not None else None
        )
        self.first = True

    def close(self) -> None:
        """End what runs beside the steps."""
        self.pulse.close()
        if self.tracking is not None:
            self.tracking.close()

    def _engine(self) -> Any:
        network, start = build(self.config, self.corpus), self.start
        checkpoint = Checkpoint.read(start.checkpoint) if start.checkpoint else None
        if checkpoint:
            engine_state.load_model(network, checkpoint)
        engine = engines.start_engine(network, self.config.train, start.workers, start.pieces)
        if checkpoint:
            engine_state.load_optimizer(engine, checkpoint)
            self.place = checkpoint.place
        return engine

    def train(self) -> StartOutcome:
        """All steps that are left, with validations and checkpoints, then the record."""
        train = self.config.train
        self._began()
        # The start before may have ended between a step and its validation.
        self._validate_where_due()
        windows = self._batches()
        while not self.place.ended(self.config):
            why = self._step(windows)
            if self._at_rung():
                nats = float(self._score().run.mean())
                self._write("rung", step=self.place.step, nats=nats, share=self.job.until)
            if why or self._at_rung():
                self.saver.begin(self.engine, self.place)
                self.saver.wait_until_written()
                return StartOutcome(
                    kind="waiting" if self._at_rung() else "stopped",
                    why=why,
                    step=self.place.step,
                )
            self._validate_where_due()
            if self.place.share(train) < 1 and self.place.step % train.checkpoint_every == 0:
                self.saver.begin(self.engine, self.place)
        self._end()
        return StartOutcome(kind="ended", why="", step=self.place.step)

    def _at_rung(self) -> bool:
        share = self.place.share(self.config.train)
        return self.job.until is not None and self.job.until <= share < 1

    def _began(self) -> None:
        """Write down where and why this start begins, and what the one before had reached."""
        if self.log is None:
            return
        reached = self.log.reached or {"step": self.place.step, "time": None}
        for warning in self.start.warnings:
            self._write("warning", sentence=warning)
        self._write(
            "start",
            step=self.place.step,
            date=datetime.now(UTC).isoformat(timespec="seconds"),
            workers=self.start.workers,
            pieces=self.start.pieces,
            why=self.start.why,
            lost_steps=reached["step"] - self.place.step,
            last_time=reached["time"],
            idle_memory=self.idle_memory,
        )

    def _end(self) -> None:
        scored = loss_by_context.trained_contexts(self.config)
        if not self.place.out_of_patience(self.config):
            scores = self._validate(scored)
        self.saver.finish(self.engine, self.place)
        if self.config.validation.patience and self.place.best < self.place.step:
            engines.broadcast_weights(self.engine, self.saver.best)
            scores = self._score(scored)
        weights = engines.weights(self.engine)
        if self.log is None:
            return
        folder = self.job.run_folder
        tick = partial(self.pulse.tick, "writing what the run ends with")
        retry_storage(self.log.flush, tick)
        retry_storage(lambda: engines.save_whole(weights, folder / WEIGHTS_NAME), tick)
        record = run_record.build_run_record(self.job, self.corpus, self.stream, self.place, scores)
        retry_storage(lambda: record.write(folder), tick)

    def _batches(self) -> Iterator[dict[str, torch.Tensor]]:
        if self.place.ended(self.config):
            return iter(())
        size = self.stream.windows_per_worker // self.start.pieces
        blocks = iterate_blocks(self.shard, self.stream)
        return batches(blocks, self.stream, size, self.engine.device)

    def _step(self, batches_left: Iterator[dict[str, torch.Tensor]]) -> str:
        """One step of the optimizer; why the workers should stop after it, or nothing."""
        train = self.config.train
        began = time.perf_counter()
        step = self.place.step
        torch.manual_seed(step_seed(self.config, step, self.rank))
        engines.set_learning_rate(self.engine.optimizer, engines.learning_rate(train, self.place))
        waited, pieces, positions, windows = 0.0, [], [], []
        worker_usage = OperationCounter() if step == 0 else nullcontext()
        self.pulse.tick("beginning a step")
        spoiled = injected_faults.inject_due_faults(
            self.job.faults, self.job.run_folder, step + 1, self.rank
        )
        for piece in range(self.start.pieces):
            self.pulse.tick("waiting for data")
            asked = time.perf_counter()
            batch = next(batches_left)
            waited += time.perf_counter() - asked
            self.pulse.tick("computing")
            positions += batch["position"].tolist()
            windows += batch["window"].tolist()
            with worker_usage:
                loss, nats = self.engine(batch["codes"], self.config.targets, batch.get("padding"))
            loss = loss * math.nan if spoiled else loss
            pieces.append(loss_by_context.means_by_context(loss, nats, self.config))
            self.pulse.tick(heartbeat.WAITING)
            with worker_usage:
                self.engine.backward(loss)
            if piece == self.start.pieces - 1:
                own = self.stream.positions(self.place.step, self.rank).tolist()
                step_checks.check_window_order(positions, own, self.rank, step)
                losses, waited, windows, stop = self._together(np.mean(pieces, 0), waited, windows)
                step_checks.check_loss_is_finite(losses[0], windows, step, train)
            self.engine.step()
        seconds = time.perf_counter() - began
        # The wait for the stream to fill is no time of training.
        own = seconds - waited if self.first else seconds
        self.first = False
        self.place = self.place.advanced(windows, self._longest(own) if train.seconds else own)
        self.pulse.stepped(self.place.step, seconds)
        self._write(
            "step",
            step=self.place.step,
            nats=losses[0],
            nats_by_context=losses[1:],
            seconds=seconds,
            data_wait_seconds=waited,
            order_digest=self.place.order_digest,
            **(
                {"operations": worker_usage.operations}
                if isinstance(worker_usage, OperationCounter)
                else {}
            ),
        )
        return stop

    def _together(
        self, losses: np.ndarray, waited: float, windows: list[int]
    ) -> tuple[list[float], float, list[int], str]:
        """What all ranks must know of a step, the same on each.

        Mean losses, longest wait, all windows in global order, and why to stop after the step.
        """
        stop = preemption.current_stop_reason() or self.pulse.asked
        own = [stop, float(self.saver.failed), waited, *losses, *windows]
        rows = collectives.all_gather(own, self.start.workers, self.engine.device)
        if rows[:, 1].any():
            self.saver.give_up()
        split = 3 + len(losses)
        means: list[float] = rows[:, 3:split].mean(0).tolist()
        return (
            means,
            float(rows[:, 2].max()),
            rows[:, split:].astype(int).ravel().tolist(),
            heartbeat.SENTENCES[int(rows[:, 0].max())],
        )

    def _longest(self, seconds: float) -> float:
        """The longest of all ranks' seconds, so that all end with the same step."""
        return float(
            collectives.all_gather([seconds], self.start.workers, self.engine.device).max()
        )

    def _validate_where_due(self) -> None:
        step = self.place.step
        due = step % self.config.validation.every == 0 and step > self.place.validated
        if due and self.place.share(self.config.train) < 1:
            self._validate()

    def _validate(self, scored: Sequence[int] = ()) -> validation.Scores:
        """Score the frozen targets, and keep the weights where these are to be the best."""
        scores = self._score(scored)
        if self.place.validated == self.place.step:
            return scores
        nats = float(scores.run.mean())
        self.place = self.place.scored(nats, self.config.train)
        self._write("validation", step=self.place.step, nats=nats)
        if self.config.validation.patience and self.place.best == self.place.step:
            weights = engines.weights(self.engine)
            self.saver.best = weights if self.rank == 0 else None
        return scores

    def _score(self, scored: Sequence[int] = ()) -> validation.Scores:
        """Score the frozen targets, at the contexts ``scored`` besides the model's own."""
        stream = data.held_out_stream(self.config, self.corpus, self.start.workers)
        rows = data.held_out_rows(self.config, stream, self.rank)
        held_out = self._ticking(batches([rows], stream, 1, self.engine.device))
        return validation.score(self.engine, held_out, self.corpus, self.config, scored)

    def _ticking(
        self, rows: Iterator[dict[str, torch.Tensor]]
    ) -> Iterator[dict[str, torch.Tensor]]:
        for row in rows:
            self.pulse.tick("validating")
            yield row

    def _write(self, kind: str, **values: Any) -> None:
        if self.log is None or self.tracking is None:
            return
        self.log.write(kind, **values)
        for sentence in self.tracking.note(kind, values, self.place.seconds):
            self.log.write("warning", sentence=sentence)
