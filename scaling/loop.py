"""The training loop that runs in every worker."""

import math
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import ray.train
import torch
import torch.distributed
from ray.train import Checkpoint

from datasets.manifest import Corpus
from model import build as models
from model.linear import LinearPrediction
from scaling import contexts, feeds, outcome, validation
from scaling import engine as engines
from scaling.batches import batches
from scaling.config import RunConfig
from scaling.engine import Place
from scaling.job import Job
from scaling.log import RunLog, note_failure
from scaling.targets import HELD_OUT, TRAIN
from scaling.trained import WEIGHTS_NAME


class NonFiniteLoss(ArithmeticError):
    """The loss of a step is not a number; the weights are those of the step before."""


def build(config: RunConfig, corpus: Corpus) -> models.Model:
    """The run's model at its start: weights from the seed, linear prediction from the corpus."""
    torch.manual_seed(config.seed)
    linear = corpus.linear
    prediction = LinearPrediction(linear.coefficients, linear.intercept, linear.scale)
    return models.build(config.model, prediction)


def step_seed(config: RunConfig, step: int, rank: int) -> int:
    """The seed of a step's dropout: a run that was interrupted draws the same numbers again."""
    return (config.seed * config.train.steps + step) * 65_537 + rank


def train_loop(settings: dict[str, Job]) -> None:
    """Train one run to its end, from the newest checkpoint that Ray Train hands out."""
    job = settings["job"]
    torch.set_num_threads(job.config.cluster.cpus_per_worker)
    worker = _Worker(job)
    try:
        worker.train()
    except NonFiniteLoss as error:
        # Every rank sees the same sum and stops here: a restart would meet the same numbers.
        if worker.rank == 0:
            note_failure(job.run_folder, str(error))


class _Worker:
    """One rank: its engine, its share of the stream and its place in the run."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.config = job.config
        self.rank = ray.train.get_context().get_world_rank()
        self.corpus = Corpus.load(job.corpus_folder)
        self.stream = feeds.training_stream(self.config, self.corpus)
        network = build(self.config, self.corpus)
        self.engine = engines.start(network, self.config.train, self.config.cluster.workers)
        self.place = Place()
        self.first = True
        if checkpoint := ray.train.get_checkpoint():
            with checkpoint.as_directory() as folder:
                self.place = engines.restore(self.engine, Path(folder))
        self.log = RunLog(job.run_folder, self.place.step) if self.rank == 0 else None

    def train(self) -> None:
        """All steps that are left, with validations and checkpoints, then the record."""
        train = self.config.train
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self._write("start", step=self.place.step, time=now)
        windows = self._batches()
        while self.place.share(train) < 1:
            self._step(windows)
            done = self.place.step
            if self.place.share(train) < 1 and done % self.config.validation.every == 0:
                self._validate()
            if self.place.share(train) < 1 and done % train.checkpoint_every == 0:
                self._checkpoint()
        scores = self._validate(contexts.trained(self.config))
        weights = self.job.run_folder / WEIGHTS_NAME
        engines.save_weights(self.engine, weights, self.rank)
        self._checkpoint()
        if self.rank == 0:
            record = outcome.run_record(self.job, self.corpus, self.stream, self.place, scores)
            record.write(self.job.run_folder)

    def _batches(self) -> Iterator[dict[str, torch.Tensor]]:
        if self.place.share(self.config.train) >= 1:
            return iter(())
        shard = ray.train.get_dataset_shard(TRAIN)
        size = self.stream.share // self.config.train.accumulate
        return batches(shard, self.stream, size, self.engine.device)

    def _step(self, batches_left: Iterator[dict[str, torch.Tensor]]) -> None:
        train = self.config.train
        began = time.perf_counter()
        step = self.place.step
        torch.manual_seed(step_seed(self.config, step, self.rank))
        engines.set_learning_rate(self.engine.optimizer, engines.learning_rate(train, self.place))
        waited, pieces, positions, windows = 0.0, [], [], []
        for piece in range(train.accumulate):
            asked = time.perf_counter()
            batch = next(batches_left)
            waited += time.perf_counter() - asked
            positions += batch["position"].tolist()
            windows += batch["window"].tolist()
            loss, nats = self.engine(batch["codes"], self.config.targets, batch.get("padding"))
            pieces.append(contexts.means(loss, nats, self.config))
            self.engine.backward(loss)
            if piece == train.accumulate - 1:
                self._check_positions(positions)
                losses, waited, windows = self._together(np.mean(pieces, 0), waited, windows)
                self._check_finite(losses[0], windows)
            self.engine.step()
        seconds = time.perf_counter() - began
        # The wait for the stream to fill is no time of training.
        own = seconds - waited if self.first else seconds
        self.first = False
        self.place = self.place.after(windows, self._agreed(own) if train.seconds else own)
        self._write(
            "step",
            step=self.place.step,
            nats=losses[0],
            nats_by_context=losses[1:],
            seconds=seconds,
            data_wait_seconds=waited,
            order_digest=self.place.order_digest,
        )

    def _check_positions(self, positions: list[int]) -> None:
        expected = self.stream.positions(self.place.step, self.rank).tolist()
        if positions != expected:
            raise RuntimeError(
                f"worker {self.rank} was given windows {positions} of the global sequence at step "
                f"{self.place.step}, not {expected}: the stream did not begin at the checkpoint"
            )

    def _check_finite(self, total: float, windows: list[int]) -> None:
        if not math.isfinite(total):
            raise NonFiniteLoss(
                f"the loss of step {self.place.step + 1} is {total} (windows {windows}), so the "
                f"step was not taken: lower train.learning_rate "
                f"({self.config.train.learning_rate}), or look at these windows' audio"
            )

    def _together(
        self, losses: np.ndarray, waited: float, windows: list[int]
    ) -> tuple[list[float], float, list[int]]:
        """Mean losses, longest wait and all windows of the step, in global order, on every rank."""
        own = torch.tensor([waited, *losses, *windows], dtype=torch.float64)
        own = own.to(self.engine.device)
        parts = [torch.empty_like(own) for _ in range(self.config.cluster.workers)]
        torch.distributed.all_gather(parts, own)
        rows = np.array([part.tolist() for part in parts])
        split = 1 + len(losses)
        means: list[float] = rows[:, 1:split].mean(0).tolist()
        return means, float(rows[:, 0].max()), rows[:, split:].astype(int).ravel().tolist()

    def _agreed(self, seconds: float) -> float:
        """The longest of all ranks' seconds, so that all end with the same step."""
        longest = torch.tensor(seconds, dtype=torch.float64, device=self.engine.device)
        torch.distributed.all_reduce(longest, torch.distributed.ReduceOp.MAX)
        return longest.item()

    def _validate(self, scored: Sequence[int] = ()) -> validation.Scores:
        """Score the frozen targets, at the contexts ``scored`` besides the model's own."""
        shard = ray.train.get_dataset_shard(HELD_OUT)
        stream = feeds.held_out_stream(self.config, self.corpus)
        held_out = batches(shard, stream, 1, self.engine.device)
        scores = validation.score(self.engine, held_out, self.corpus, self.config, scored)
        self._write("validation", step=self.place.step, nats=float(scores.run.mean()))
        return scores

    def _checkpoint(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            engines.save(self.engine, Path(folder), self.place)
            ray.train.report(
                {"step": self.place.step}, checkpoint=Checkpoint.from_directory(folder)
            )

    def _write(self, kind: str, **values: Any) -> None:
        if self.log is not None:
            self.log.write(kind, **values)
