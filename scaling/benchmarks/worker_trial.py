"""What one worker of a trial does: train a few steps under an engine, count, save, go on.

Without Ray: the engine finds the process group that it is started in.
"""

import gc
import json
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import torch
import torch.distributed
from torch.multiprocessing.spawn import spawn, start_processes

from model.architecture import Architecture
from model.build import Model, build
from model.targets import Targets
from scaling.benchmarks.traffic import Traffic, held_bytes
from scaling.checkpoints import engine_state
from scaling.checkpoints.checkpoint import Checkpoint, Writer, committed
from scaling.checkpoints.train_state import TrainState
from scaling.config.run_config import TrainConfig
from scaling.training import engine as engines

STEPS = 3
"""Steps of a case: stage 3 learns in the first in which order parameters are used."""
MODEL = Architecture(
    context=2_000,
    chunk=500,
    filters=(16, 14, 12, 10, 8),
    width=1_024,
    layers=1,
    head_size=128,
    feed_forward=4_096,
    hidden=512,
)
"""13 M parameters, almost all in large tensors, as in the models that need many workers."""


@dataclass(frozen=True)
class Case:
    """How a trial's workers train: at which ZeRO stage, and in which precision."""

    stage: int
    precision: str

    @property
    def name(self) -> str:
        """The case as the name of a folder."""
        return f"{self.stage}-{self.precision}"


@dataclass(frozen=True)
class Trial:
    """What the workers of a trial are told; each writes what it found into ``folder``."""

    workers: int
    cases: tuple[Case, ...]
    saves: int
    folder: Path

    def found(self) -> list[list[dict[str, Any]]]:
        """For each worker, in order of rank, what it found in each case."""
        return [json.loads(path.read_text()) for path in sorted(self.folder.glob("found-*.json"))]


def run(trial: Trial) -> list[list[dict[str, Any]]]:
    """Train and count every case in new processes: for each worker what it found in each."""
    run_forked(_train, (trial, uuid4().hex), trial.workers)
    return trial.found()


def run_forked(work: Callable[..., None], arguments: tuple[Any, ...], workers: int) -> None:
    """Run ``work(rank, *arguments)`` in a process for each of so many workers.

    They are forked from one that has imported everything, which takes each of fresh ones seconds.
    """
    multiprocessing.set_forkserver_preload([__name__])
    start_processes(work, arguments, workers, start_method="forkserver")


def resume(trial: Trial) -> list[list[dict[str, Any]]]:
    """Go on with every case of a trial that has run, in fresh processes, from what it saved.

    ``seconds`` are from here to the end of the first step, ``restored`` those of reading the state.
    """
    spawn(_resume, (trial, uuid4().hex, time.time()), nprocs=trial.workers)
    return trial.found()


def _train(rank: int, trial: Trial, meeting: str) -> None:
    with _group(rank, trial, meeting):
        found = [_count(rank, trial, case) for case in trial.cases]
        (trial.folder / f"found-{rank:03}.json").write_text(json.dumps(found))


def _resume(rank: int, trial: Trial, meeting: str, began: float) -> None:
    with _group(rank, trial, meeting):
        found = []
        for case in trial.cases:
            checkpoint = Checkpoint.read(committed(_save_folder(trial, case, 0))[0])
            network = build(MODEL)
            reading = time.perf_counter()
            engine_state.load_model(network, checkpoint)
            restored = time.perf_counter() - reading
            engine = _start(network, trial, case)
            reading = time.perf_counter()
            engine_state.load_optimizer(engine, checkpoint)
            restored += time.perf_counter() - reading
            _step(engine)
            step, seconds = checkpoint.place.step, time.time() - began
            found.append({"step": step, "restored": restored, "seconds": seconds})
            engine.destroy()
        (trial.folder / f"found-{rank:03}.json").write_text(json.dumps(found))


@contextmanager
def _group(rank: int, trial: Trial, meeting: str) -> Iterator[None]:
    """The process group of the trial's workers, which meet in the file of that name."""
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(trial.workers))
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo",
        init_method=f"file://{trial.folder / meeting}",
        rank=rank,
        world_size=trial.workers,
    )
    yield
    # Whoever leaves early takes connections away that others still use.
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def _count(rank: int, trial: Trial, case: Case) -> dict[str, Any]:
    before = held_bytes()
    torch.manual_seed(0)
    network = build(MODEL)
    parameters = sum(weight.numel() for weight in network.parameters())
    engine = _start(network, trial, case)
    for _ in range(STEPS):
        with Traffic() as traffic:
            _step(engine)
    held = held_bytes() - before
    seconds = []
    for number in range(trial.saves):
        writer = Writer(_save_folder(trial, case, number), "trial", rank, trial.workers)
        torch.distributed.barrier()
        began = time.perf_counter()
        writer.write(
            engine_state.gather_tensors(engine, rank, trial.workers, lambda: None),
            TrainState(STEPS),
        )
        seconds.append(time.perf_counter() - began)
    torch.distributed.barrier()
    engine.destroy()
    del engine, network
    gc.collect()
    return {
        "parameters": parameters,
        "given": dict(traffic.given),
        "held": held,
        "held_reducing": traffic.held - before,
        "saved": _saved(_save_folder(trial, case, 0), rank) if seconds else 0,
        "save_seconds": seconds,
    }


def _start(network: Model, trial: Trial, case: Case) -> Any:
    train = TrainConfig.model_validate(
        {"batch": trial.workers, "zero": case.stage, "precision": case.precision}
    )
    return engines.start_engine(network, train, trial.workers, 1)


def _step(engine: Any) -> None:
    targets = Targets("last", MODEL.chunk)
    window = torch.zeros(1, targets.samples(2, MODEL), dtype=torch.uint8)
    loss, _ = engine(window, targets)
    engine.backward(loss)
    engine.step()


def _save_folder(trial: Trial, case: Case, number: int) -> Path:
    return trial.folder / f"{case.name}-{number}"


def _saved(folder: Path, rank: int) -> int:
    """Bytes of the checkpoint's tensors that this rank has written."""
    parts = Checkpoint.read(committed(folder)[0]).parts
    return [part.bytes for _, part in sorted(parts.items())][rank]
