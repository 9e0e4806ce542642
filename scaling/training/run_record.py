"""The record of a finished run, built from its log, its corpus and its final scores."""

from dataclasses import asdict
from datetime import UTC, datetime
from math import log
from typing import Any

import numpy as np

from datasets.manifest import Corpus
from datasets.stream import Stream
from model import accounting
from scaling.checkpoints.train_state import TrainState
from scaling.common import environment
from scaling.common.hardware import hardware
from scaling.config.run_config import RunConfig
from scaling.config.run_windows import HELD_OUT, targets_in_epoch
from scaling.evaluation.clustered_errors import mean_and_error
from scaling.evaluation.validation import Scores
from scaling.runs import loss_by_context, record
from scaling.runs.job import Job
from scaling.runs.log import RunHistory
from scaling.runs.record import ContextLoss, CurvePoint, Restart
from scaling.training import worker_usage
from scaling.training.engine import precision

CURVE_POINTS = 100


def build_run_record(
    job: Job,
    corpus: Corpus,
    stream: Stream,
    state: TrainState,
    scores: Scores,
    history: RunHistory,
) -> record.RunRecord:
    """Return the record of a run that has ended: all that an analysis reads of it."""
    config = job.config
    now = datetime.now(UTC)
    started = history.starts[0]["date"]
    targets = _targets(job, corpus, stream, state, history)
    per_target, naive = accounting.training_operations_per_target(
        config.model, config.targets, config.positions
    )
    return record.RunRecord(
        id=config.id,
        study=config.study,
        axes=job.axes,
        config=config.resolved(),
        code_version=job.code_version,
        hardware=hardware(),
        versions=environment.versions(),
        corpus=_corpus(corpus),
        parameters=accounting.parameters(config.model),
        precision=precision(config.train),
        operations=record.Operations(
            per_target=per_target,
            total=per_target * targets.seen,
            naive_per_target=naive,
            counted_per_target=_counted(config, history),
        ),
        targets=targets,
        validation=_validation(config, corpus, state, scores),
        training_curve=_curve(history.steps, config.targets_per_step),
        validation_curve=_curve(history.validations, config.targets_per_step),
        throughput=_throughput(
            history,
            state,
            config.targets_per_step,
            (now - datetime.fromisoformat(started)).total_seconds(),
        ),
        restarts=recorded_restarts(history),
        warnings=[line["sentence"] for line in history.warnings],
        started=started,
        finished=now.isoformat(timespec="seconds"),
    )


def _corpus(corpus: Corpus) -> record.CorpusFacts:
    return record.CorpusFacts(
        name=corpus.name,
        fingerprint=corpus.fingerprint,
        rate=corpus.rate,
        codec=corpus.codec,
        levels=corpus.levels,
        scaling=corpus.scaling,
        chunk=corpus.chunk,
        split_rule=corpus.split_rule,
        contexts_cross_splits=corpus.contexts_cross_splits,
        recordings=len(corpus.recordings),
        copies=sum(recording.epoch > 0 for recording in corpus.recordings),
        augmentation=asdict(corpus.augmentation),
        seconds=sum(recording.samples for recording in corpus.recordings) / corpus.rate,
    )


def _targets(
    job: Job, corpus: Corpus, stream: Stream, state: TrainState, history: RunHistory
) -> record.TargetCounts:
    config = job.config
    seen = state.step * config.targets_per_step
    return record.TargetCounts(
        mode=config.windows.targets,
        positions=config.positions,
        phases=config.targets.phases,
        by_context=loss_by_context.training_losses(config, history),
        per_step=config.targets_per_step,
        steps=state.step,
        seen=seen,
        unique=min(seen, targets_in_epoch(config, corpus)),
        left_out=stream.windows.left_out,
        padded_windows=stream.windows.padded_windows,
        order_digest=state.order_digest,
    )


def _validation(
    config: RunConfig, corpus: Corpus, state: TrainState, scores: Scores
) -> record.Validation:
    nats, error = mean_and_error(scores.run, scores.cluster)
    margin, margin_error = mean_and_error(scores.run - scores.linear, scores.cluster)
    summary = corpus.splits[HELD_OUT]
    return record.Validation(
        split=HELD_OUT,
        step=state.best if config.validation.patience else state.step,
        targets=len(scores.run),
        targets_hash=scores.targets_hash,
        nats=nats,
        standard_error=error,
        clusters=len(np.unique(scores.cluster)),
        clustered_by=scores.clustered_by,
        references=record.References(
            histogram=summary.histogram_bits * log(2),
            linear=summary.linear_bits * log(2),
            linear_on_targets=float(scores.linear.mean()),
            margin=margin,
            margin_standard_error=margin_error,
        ),
        by_context=[_at_context(length, scores) for length in sorted(scores.by_context)],
    )


def _at_context(length: int, scores: Scores) -> ContextLoss:
    """Return the loss at a context of ``length`` samples, and its excess over the full context."""
    losses = scores.by_context[length]
    nats, error = mean_and_error(losses, scores.cluster)
    excess, excess_error = mean_and_error(losses - scores.run, scores.cluster)
    return ContextLoss(
        shortest=length,
        longest=length,
        nats=nats,
        standard_error=error,
        excess=excess,
        excess_standard_error=excess_error,
    )


def _counted(config: RunConfig, history: RunHistory) -> float | None:
    """Return the operations per target, counted in the first worker's share of the first step."""
    first = history.steps[0]
    if "operations" not in first:
        return None
    workers: int = history.starts[0]["workers"]
    return float(first["operations"]) * workers / config.targets_per_step


def _curve(lines: list[dict[str, Any]], targets_per_step: int) -> list[CurvePoint]:
    """Return the curve in at most ``CURVE_POINTS`` points, each the mean of its neighbours."""
    pieces = np.array_split(np.arange(len(lines)), min(CURVE_POINTS, len(lines)))
    return [
        CurvePoint(
            step=lines[piece[-1]]["step"],
            targets=lines[piece[-1]]["step"] * targets_per_step,
            nats=float(np.mean([lines[index]["nats"] for index in piece])),
        )
        for piece in pieces
    ]


def _throughput(
    history: RunHistory, state: TrainState, targets_per_step: int, wall_seconds: float
) -> record.Throughput:
    firsts = {start["step"] + 1 for start in history.starts}
    steady = [line for line in history.steps if line["step"] not in firsts] or history.steps
    seconds = np.array([line["seconds"] for line in steady])
    waits = np.array([line["data_wait_seconds"] for line in steady])
    median = float(np.median(seconds))
    return record.Throughput(
        targets_per_second=targets_per_step / median,
        step_seconds=median,
        training_seconds=state.seconds,
        data_wait_share=float(waits.sum() / seconds.sum()),
        goodput=state.seconds / wall_seconds,
        first_batch_seconds=max(
            line["data_wait_seconds"] for line in history.steps if line["step"] in firsts
        ),
        wall_seconds=wall_seconds,
        peak_memory_bytes=worker_usage.peak_bytes_held(),
        idle_memory_bytes=history.starts[-1].get("idle_memory"),
    )


def recorded_restarts(history: RunHistory) -> list[Restart]:
    """Return every start but the first, with the steps and seconds that it cost."""
    return [
        Restart(
            step=start["step"],
            workers=start["workers"],
            why=start["why"],
            lost_steps=start["lost_steps"],
            seconds=_seconds_to_next_step(history, start),
        )
        for start in history.starts[1:]
    ]


def _seconds_to_next_step(history: RunHistory, start: dict[str, Any]) -> float | None:
    after = [line["time"] for line in history.steps if line["time"] > start["time"]]
    before: float | None = start["last_time"]
    return after[0] - before if after and before is not None else None
