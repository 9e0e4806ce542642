"""Traffic, memory, checkpoints and restarts of worker processes on this machine.

Byte counts are the same on any machine; seconds are those of this machine. Four workers train a
model of 13 M parameters with the training engine, in a gloo process group and without Ray.
"""

import dataclasses
import gc
import json
import multiprocessing
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import torch
import torch.distributed
from rich.table import Table
from torch import Tensor
from torch.multiprocessing.spawn import spawn, start_processes

from model.architecture import Architecture
from model.build import Model, build
from model.targets import Targets
from scaling.benchmarks.timing import Benchmark, Progress, Spread
from scaling.checkpoints import engine_state
from scaling.checkpoints.checkpoint import Checkpoint, Writer, committed
from scaling.checkpoints.train_state import TrainState
from scaling.common.terminal import terminal_table
from scaling.config.run_config import TrainConfig
from scaling.planning.footprint import Volume, checkpoint, volume
from scaling.training import engine as engines
from scaling.training.torch_internals import EagerDispatchMode

STEPS = 3
"""Training steps per case. ZeRO stage 3 records the order of its parameters in the first one."""
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
KINDS = {
    "allreduce_": "all_reduced",
    "_reduce_scatter_base_": "scattered",
    "_allgather_base_": "gathered",
}
"""Fields of `Volume` by the names of torch's operators."""


class Traffic(EagerDispatchMode):
    """Counter of the bytes of all collectives that run while it is entered.

    `given` are the bytes by field of `Volume`, or by torch's operator if no field covers it. A
    scatter or a gather counts with its whole tensor. `held` is `held_bytes()` at the first
    reduction of more than one number: at ZeRO stages 0 to 2, the reduction of the gradients.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.given: Counter[str] = Counter()
        self.held = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func.namespace == "c10d":
            size = max(map(_bytes, args), default=0)
            name = func._schema.name.partition("::")[2]
            self.given[KINDS.get(name, name)] += size
            if not self.held and KINDS.get(name) in ("all_reduced", "scattered") and size > 8:
                self.held = held_bytes()
        return func(*args, **(kwargs or {}))


def _bytes(argument: Any) -> int:
    """Return the bytes of a tensor, or of all tensors in nested lists; 0 for anything else."""
    if isinstance(argument, Tensor):
        return argument.nbytes
    return sum(map(_bytes, argument)) if isinstance(argument, list | tuple) else 0


def held_bytes() -> int:
    """Return the bytes of the storages of all live tensors and gradients, each storage once."""
    found = {}
    for thing in gc.get_objects():
        if not issubclass(type(thing), Tensor):
            continue
        for tensor in (thing, thing.grad if thing.is_leaf else None):
            if tensor is not None:
                storage = tensor.untyped_storage()
                # A tracer leaves fake tensors behind; they lie on this device and have no memory.
                if storage.device.type != "meta":
                    found[storage.data_ptr()] = storage.nbytes()
    return sum(found.values())


@dataclass(frozen=True)
class Case:
    """ZeRO stage and precision of one training."""

    stage: int
    precision: str


WORKERS = 4
CASES = tuple(
    Case(stage, precision) for precision in ("float32", "bfloat16") for stage in (0, 1, 2, 3)
)
RESUMED = Case(1, "float32")
SAVES = 5
RESTARTS = 3


@dataclass(frozen=True)
class Trial:
    """Cases to train, and the number of checkpoints of each. Workers write results to `folder`."""

    workers: int
    cases: tuple[Case, ...]
    saves: int
    folder: Path

    def found(self) -> list[list[dict[str, Any]]]:
        """Read the results [worker][case], workers in order of rank."""
        return [json.loads(path.read_text()) for path in sorted(self.folder.glob("found-*.json"))]


def run_trial(trial: Trial) -> list[list[dict[str, Any]]]:
    """Train, count and save every case in new processes; return the results [worker][case]."""
    run_forked(train_cases, (trial, uuid4().hex), trial.workers)
    return trial.found()


def run_forked(work: Callable[..., None], arguments: tuple[Any, ...], workers: int) -> None:
    """Run ``work(rank, *arguments)`` in one process per worker, each with all imports done."""
    multiprocessing.set_forkserver_preload([__name__])
    start_processes(work, arguments, workers, start_method="forkserver")


def resume_trial(trial: Trial) -> list[list[dict[str, Any]]]:
    """Resume every case of a finished trial in new processes; return the results [worker][case].

    ``seconds`` run from this call to the end of the first step, ``restored`` reading the state.
    """
    spawn(_resume, (trial, uuid4().hex, time.time()), nprocs=trial.workers)
    return trial.found()


def train_cases(rank: int, trial: Trial, meeting: str) -> None:
    """Train, count and save every case as one worker, and write its results."""
    with trial_group(rank, trial, meeting):
        found = [_count(rank, trial, case) for case in trial.cases]
        (trial.folder / f"found-{rank:03}.json").write_text(json.dumps(found))


def _resume(rank: int, trial: Trial, meeting: str, began: float) -> None:
    with trial_group(rank, trial, meeting):
        found = []
        for case in trial.cases:
            checkpoint = _first_checkpoint(trial, case)
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
def trial_group(rank: int, trial: Trial, meeting: str) -> Iterator[None]:
    """Join the trial's process group, whose workers find each other in the file `meeting`."""
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(trial.workers))
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{trial.folder / meeting}", rank=rank, world_size=trial.workers
    )
    yield
    # A worker that exits early closes connections that others still use.
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
        tensors = engine_state.gather_tensors(engine, rank, trial.workers, lambda: None)
        writer.write(tensors, TrainState(STEPS))
        seconds.append(time.perf_counter() - began)
    torch.distributed.barrier()
    engine.destroy()
    del engine, network
    gc.collect()
    saved = 0
    if seconds:
        saved = [part.bytes for _, part in sorted(_first_checkpoint(trial, case).parts.items())][
            rank
        ]
    return {
        "parameters": parameters,
        "given": dict(traffic.given),
        "held": held,
        "held_reducing": traffic.held - before,
        "saved": saved,
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
    return trial.folder / f"{case.stage}-{case.precision}-{number}"


def _first_checkpoint(trial: Trial, case: Case) -> Checkpoint:
    return Checkpoint.read(committed(_save_folder(trial, case, 0))[0])


@dataclass(frozen=True)
class StageCounts:
    """Bytes and save times of one ZeRO stage in one precision.

    `volume` are those of the first worker's collectives in a step, `other` of collectives that
    `Volume` does not cover. `held` are those of its tensors after a step, `held_reducing` while its
    gradients are reduced. Each worker writes `saved` to a checkpoint, in the `save_seconds` of the
    slowest.
    """

    stage: int
    precision: str
    volume: Volume
    other: int
    held: int
    held_reducing: int
    saved: list[int]
    save_seconds: Spread


@dataclass(frozen=True)
class TimedRestart:
    """Seconds from the start of new processes to the end of their first resumed step.

    `read_seconds` is the part that reads the state, `read` the bytes that the first worker reads.
    """

    stage: int
    read: int
    seconds: Spread
    read_seconds: Spread


@dataclass(frozen=True)
class WorkerBench(Benchmark):
    """All counts and times of one machine."""

    workers: int
    parameters: int
    counted: list[StageCounts]
    restart: TimedRestart

    def table(self) -> Table:
        """Return the counts as a table for a terminal, in bytes per parameter."""
        table = terminal_table(
            f"{self.hardware['processor']}, {self.workers} worker processes, "
            f"{self.parameters:,} parameters; bytes per parameter. New processes finished a step "
            f"after {self.restart.seconds.median:.1f} s, including "
            f"{self.restart.read_seconds.median:.1f} s to read the state",
            (
                *("ZeRO", "precision", "all-reduced", "scattered", "gathered"),
                *("sent by a worker", "by formula", "held"),
                *("saved", "by formula", "by rank 0", "save"),
            ),
            text=2,
        )
        for row in self.counted:
            sent, half = row.volume, row.precision == "bfloat16"
            expected = volume(row.stage, self.parameters, half=half).sent(self.workers)
            written = checkpoint(self.parameters, self.workers).whole
            figures = (
                *(sent.all_reduced, sent.scattered, sent.gathered),
                *(sent.sent(self.workers), expected, row.held),
                *(sum(row.saved), written, row.saved[0]),
            )
            table.add_row(
                str(row.stage),
                row.precision,
                *(f"{value / self.parameters:,.3f}" for value in figures),
                f"{row.save_seconds.median:.2f} s",
            )
        return table


def measure(progress: Progress) -> WorkerBench:
    """Measure everything; call ``progress(done, total)`` after each measurement."""
    total = 1 + RESTARTS
    with tempfile.TemporaryDirectory() as folder:
        trial = Trial(WORKERS, CASES, SAVES, Path(folder))
        by_worker = run_trial(trial)
        progress(1, total)
        cases = [list(found) for found in zip(*by_worker, strict=True)]
        counted = [combine_workers(case, found) for case, found in zip(CASES, cases, strict=True)]
        restarts = []
        for number in range(RESTARTS):
            again = resume_trial(dataclasses.replace(trial, cases=(RESUMED,)))
            restarts.append([found[0] for found in again])
            progress(2 + number, total)
    parts = counted[CASES.index(RESUMED)].saved
    return WorkerBench(
        *Benchmark.machine(),
        WORKERS,
        by_worker[0][0]["parameters"],
        counted,
        TimedRestart(
            RESUMED.stage,
            sum(parts),
            _slowest([[found["seconds"] for found in restart] for restart in restarts]),
            _slowest([[found["restored"] for found in restart] for restart in restarts]),
        ),
    )


def combine_workers(case: Case, found: list[dict[str, Any]]) -> StageCounts:
    """Combine the results of a case's workers."""
    first = found[0]
    given = dict(first["given"])
    kinds = [float(given.pop(field.name, 0)) for field in dataclasses.fields(Volume)]
    return StageCounts(
        case.stage,
        case.precision,
        Volume(*kinds),
        sum(given.values()),
        first["held"],
        first["held_reducing"],
        [worker["saved"] for worker in found],
        _slowest(list(zip(*(worker["save_seconds"] for worker in found), strict=True))),
    )


def _slowest(repeats: list[Any]) -> Spread:
    """Return the spread of each repeat's slowest worker."""
    return Spread.of([max(workers) for workers in repeats])
