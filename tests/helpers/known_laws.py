"""Study of 200 runs whose losses follow a known law, as records of the real schema.

Configurations, parameters and operations are real. Losses, curves and times are generated from a
seed; none was measured.
"""

import hashlib
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from model import accounting
from scaling.config.load import with_values
from scaling.config.run_config import RunConfig
from scaling.runs import study
from scaling.runs.record import ContextLoss, CurvePoint, Operations, RunRecord
from tests.helpers.records import run

LAW = {
    "E": 2.60,
    "parameters": (0.30, 0.35),
    "targets": (0.25, 0.30),
    "context": (0.12, 0.30),
    "chunk": (0.02, 1_600.0),
}
"""In nats: E, amplitude and exponent of each power law, bend and optimum of the chunk."""

CENTRES = {"parameters": 1e7, "targets": 1e7, "context": 128_000}
NOISE = 0.002
RUNS = 200
SPEED = 2e13  # operations a second
CURVE = 25  # points

BASE: dict[str, Any] = {
    "study": "known",
    "corpus": "data/known",
    "model": {"attention": "causal", "recent": 128, "layers": 6},
    "windows": {"targets": "chunks", "per_window": 2_048, "history": 1_024_000},
    "train": {"batch": 2, "steps": 2_500, "learning_rate": 1e-3},
}
CONTEXTS = tuple(8_000 * 2**power for power in range(8))
GRID_CHUNKS = (500, 1_000, 2_000, 4_000)
DEPTHS = (3, 6, 12, 24)
WIDTHS = (96, 192, 384, 768, 1_536, 3_072)


def law(config: RunConfig, targets: float, context: float) -> float:
    """Return the nats of a run after this many targets and this share of its context."""
    at = {
        "parameters": sum(accounting.parameters(config.model).values()),
        "targets": targets,
        "context": context,
    }
    powers = sum(LAW[key][0] * (at[key] / CENTRES[key]) ** -LAW[key][1] for key in at)
    bend, best = LAW["chunk"]
    return float(LAW["E"] + powers + bend * np.log(config.model.chunk / best) ** 2)


def records(noise: float = NOISE, seed: int = 11) -> list[RunRecord]:
    """Return all runs."""
    generator = np.random.default_rng(seed)
    return [_record(axes, noise * float(generator.normal())) for axes in _axes()]


def write(folder: Path, lost: Sequence[str] = ("failed", "waiting")) -> None:
    """Write the study's folder: the records, and one run in each state without a record."""
    made = records()
    configs = [(record.axes, RunConfig.model_validate(record.config)) for record in made]
    for index, state in enumerate(lost):
        axes = {**made[0].axes, "seed": 100 + index}
        configs.append((axes, RunConfig.model_validate(with_values(BASE, axes))))
        if state == "failed":
            run_folder = folder / configs[-1][1].id
            run_folder.mkdir(parents=True)
            (run_folder / "failure.json").write_text('{"problem": "the loss is not a number"}')
    study.register(folder, configs)
    for record in made:
        (folder / record.id).mkdir(parents=True)
        record.write(folder / record.id)


def _axes() -> Iterator[dict[str, Any]]:
    """Yield grid, further seeds, lengths, equal budgets over widths and chunks, largest runs."""
    names = ("model.layers", "model.width", "model.chunk", "model.context", "train.steps", "seed")
    usual = BASE["train"]["steps"]
    rows: list[tuple[int, int, int, int, int, int]] = [
        (depth, 128, chunk, context, usual, 0)
        for depth, chunk, context in product(DEPTHS, GRID_CHUNKS, CONTEXTS)
    ]
    corners = [(3, 8_000), (3, 1_024_000), (24, 8_000), (24, 1_024_000), (6, 128_000)]
    rows += [(d, 128, 2_000, c, usual, seed) for d, c in corners for seed in (1, 2)]
    rows += [(d, 128, 2_000, 128_000, n * usual, 0) for d in DEPTHS for n in (2, 4, 8, 16)]
    for budget in (3e15, 1e16, 3e16, 1e17, 3e17):
        rows += [_within(budget, 6, width, 500) for width in WIDTHS]
    for budget in (2e16, 2e17):
        rows += [_within(budget, 6, 128, chunk) for chunk in (500, 1_000, 2_000, 4_000, 8_000)]
    rows += [(24, 640, 2_000, 128_000 * 2**n, 16 * usual, 0) for n in (0, 1, 2)]
    rows += [(24, 384, 1_000, 128_000 * 2**n, 32 * usual, 0) for n in (0, 1, 2)]
    yield from (dict(zip(names, row, strict=True)) for row in dict.fromkeys(rows))


def _within(budget: float, layers: int, width: int, chunk: int) -> tuple[int, ...]:
    """Return the run of this shape that costs the budget."""
    shape = {"model.layers": layers, "model.width": width, "model.chunk": chunk}
    config = RunConfig.model_validate(with_values(BASE, shape))
    steps = round(budget / _per_target(config) / config.targets_per_step)
    return layers, width, chunk, 128_000, steps, 0


def _per_target(config: RunConfig) -> float:
    return accounting.training_operations_per_target(
        config.model, config.targets, config.positions
    )[0]


def _record(axes: dict[str, Any], noise: float) -> RunRecord:
    config = RunConfig.model_validate(with_values(BASE, axes))
    seen, context = config.train.steps * config.targets_per_step, config.model.context
    nats = law(config, seen, context) + noise
    usual = run({}, nats)
    seconds = _per_target(config) * seen / SPEED
    shares = np.geomspace(0.01, 1, CURVE)
    curve = [
        CurvePoint(
            step=max(1, round(share * config.train.steps)),
            targets=round(share * seen),
            nats=law(config, share * seen, context) + noise,
        )
        for share in shares
    ]
    lengths = [config.model.chunk * 2**power for power in range(12)]
    lengths = [length for length in lengths if length < context] + [context]
    by_context = [
        ContextLoss(
            shortest=length,
            longest=length,
            nats=law(config, seen, length) + noise,
            standard_error=0.02,
            excess=law(config, seen, length) - law(config, seen, context),
            excess_standard_error=0.0005 if length < context else 0.0,
        )
        for length in lengths
    ]
    return usual.model_copy(
        update={
            "id": config.id,
            "study": config.study,
            "axes": axes,
            "config": config.resolved(),
            "parameters": accounting.parameters(config.model),
            "operations": Operations(
                per_target=_per_target(config),
                total=_per_target(config) * seen,
                naive_per_target=_per_target(config),
            ),
            "targets": usual.targets.model_copy(
                update={
                    "mode": "chunks",
                    "positions": config.positions,
                    "per_step": config.targets_per_step,
                    "steps": config.train.steps,
                    "seen": seen,
                    "unique": seen,
                    "order_digest": hashlib.sha256(config.id.encode()).hexdigest(),
                }
            ),
            "validation": usual.validation.model_copy(update={"by_context": by_context}),
            "training_curve": curve,
            "validation_curve": curve[::4] + curve[-1:],
            "throughput": usual.throughput.model_copy(
                update={
                    "wall_seconds": 1.1 * seconds,
                    "training_seconds": seconds,
                    "step_seconds": seconds / config.train.steps,
                    "targets_per_second": seen / seconds,
                    "peak_memory_bytes": 2**30
                    + 16 * sum(accounting.parameters(config.model).values()),
                }
            ),
        }
    )
