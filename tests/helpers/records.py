"""Run records with a known law, for tests of the analysis; no number in them was measured."""

import hashlib
import json
from collections.abc import Callable, Iterable
from itertools import product
from typing import Any

import numpy as np

from scaling.runs.record import (
    ContextLoss,
    CorpusFacts,
    CurvePoint,
    Operations,
    References,
    RunRecord,
    TargetCounts,
    Throughput,
    Validation,
)

CHUNKS = (2_000, 4_000)
LAYERS = (1, 2)
CONTEXTS = (128_000, 256_000, 512_000, 1_024_000)
LINEAR = 3.62
HISTOGRAM = 5.04
STEPS = 120
TARGETS_PER_STEP = 256

Law = Callable[[int, int, int], float]


def flat(chunk: int, layers: int, context: int) -> float:
    """Return nats that do not depend on the context, as in a short demo study."""
    return 3.30 + 0.02 * (chunk / 2_000 - 1) - 0.03 * (layers - 1)


def falling(chunk: int, layers: int, context: int) -> float:
    """Return nats that fall as a power of the context to a floor of each chunk and depth."""
    return 3.0 + flat(chunk, layers, 0) - 3.30 + 0.25 * (context / 90_000) ** -0.4


def study(
    law: Law = flat,
    contexts: Iterable[int] = CONTEXTS,
    noise: float = 0.006,
    replicates: Iterable[int] = (1, 2),
) -> list[RunRecord]:
    """Return the runs of a sweep over chunk, depth and context, with replicates."""
    generator = np.random.default_rng(5)
    contexts = tuple(contexts)
    cells = [(*cell, 0) for cell in product(CHUNKS, LAYERS, contexts)]
    cells += [(CHUNKS[0], LAYERS[0], contexts[0], seed) for seed in replicates]
    return [
        run(
            {"model.chunk": chunk, "model.layers": layers, "model.context": context, "seed": seed},
            law(chunk, layers, context) + noise * float(generator.normal()),
        )
        for chunk, layers, context, seed in cells
    ]


def run(axes: dict[str, Any], nats: float, **changes: Any) -> RunRecord:
    """Return one finished run with these axes and this final loss; ``changes`` replace fields."""
    config = _config(axes)
    seen = STEPS * TARGETS_PER_STEP
    per_target = 2.4e6 * config["model"]["layers"]
    curve = _curve(nats)
    fields: dict[str, Any] = {
        "id": hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:12],
        "study": "demo",
        "axes": axes,
        "config": config,
        "code_version": "0.1.0+abc1234",
        "hardware": {"nodes": 1, "cpu": "Example CPU", "cpus": 2, "memory_bytes": 8 * 2**30},
        "versions": {"python": "3.11.9", "torch": "2.13.0", "ray": "2.60.0"},
        "corpus": CORPUS,
        "precision": "float32",
        "parameters": {"encoder": 90_000, "transformer": 66_000 * axes.get("model.layers", 1)},
        "operations": Operations(
            per_target=per_target, total=per_target * seen, naive_per_target=9 * per_target
        ),
        "targets": TargetCounts(
            mode="last",
            positions=32,
            phases=1,
            by_context=[],
            per_step=TARGETS_PER_STEP,
            steps=STEPS,
            seen=seen,
            unique=seen,
            left_out=0,
            padded_windows=0,
            order_digest="5f2c" * 16,
        ),
        "validation": _validation(nats),
        "training_curve": [
            CurvePoint(**{**point.model_dump(), "nats": point.nats + 0.05 * np.sin(9 * point.step)})
            for point in curve
        ],
        "validation_curve": curve[::5] + curve[-1:],
        "throughput": Throughput(
            targets_per_second=1_150.0,
            step_seconds=0.22,
            training_seconds=22.0,
            first_batch_seconds=1.4,
            data_wait_share=0.004,
            goodput=0.54,
            wall_seconds=41.0,
            peak_memory_bytes=900 * 2**20,
        ),
        "restarts": [],
        "warnings": [],
        "started": "2026-11-20T10:00:00+00:00",
        "finished": "2026-11-20T10:00:41+00:00",
    }
    return RunRecord(**{**fields, **changes})


CORPUS = CorpusFacts(
    name="performance",
    fingerprint="9b1d" * 16,
    rate=16_000,
    codec="mulaw",
    levels=256,
    scaling="none",
    chunk=0,
    split_rule="time",
    contexts_cross_splits=True,
    recordings=1,
    copies=0,
    augmentation={},
    seconds=194.3,
)


def _config(axes: dict[str, Any]) -> dict[str, Any]:
    """Return a resolved configuration with the values of the axes."""
    config: dict[str, Any] = {
        "study": "demo",
        "seed": 0,
        "model": {
            "chunk": 2_000,
            "context": 128_000,
            "layers": 1,
            "width": 64,
            "recent": 64,
            "attention": "bidirectional",
        },
        "windows": {"targets": "last", "per_window": 32},
    }
    for key, value in axes.items():
        section, _, name = key.rpartition(".")
        (config.setdefault(section, {}) if section else config)[name] = value
    return config


def _validation(nats: float) -> Validation:
    return Validation(
        split="validation",
        targets=2_048,
        targets_hash="c0de" * 16,
        nats=nats,
        standard_error=0.021,
        clusters=12,
        clustered_by="seconds",
        references=References(
            histogram=HISTOGRAM,
            linear=LINEAR + 0.03,
            linear_on_targets=LINEAR,
            margin=nats - LINEAR,
            margin_standard_error=0.008,
        ),
        by_context=[_at_context(length, nats) for length in (2_000, 32_000, 128_000)],
    )


def _at_context(length: int, nats: float) -> ContextLoss:
    """Return losses that fall by 0.005 nats for each doubling up to 128,000 samples."""
    excess = 0.005 * float(np.log2(128_000 / length))
    return ContextLoss(
        shortest=length,
        longest=length,
        nats=nats + excess,
        standard_error=0.02,
        excess=excess,
        excess_standard_error=0.002 if excess else 0.0,
    )


def _curve(nats: float) -> list[CurvePoint]:
    """Return a learning curve from the linear predictor to the final loss."""
    return [
        CurvePoint(
            step=step,
            targets=step * TARGETS_PER_STEP,
            nats=nats + (LINEAR + 0.2 - nats) * float(np.exp(-step / 25)),
        )
        for step in range(4, STEPS + 1, 4)
    ]
