"""Peak memory of a worker in a step, on paper, and the least change that makes a run fit."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from model import accounting
from model.activations import Activations, estimate_activations
from scaling.config.hardware import Hardware
from scaling.config.load import with_values
from scaling.config.run_config import RunConfig
from scaling.planning.footprint import STAGES, Footprint, footprint, peak

PRECISIONS = ("float32", "bfloat16")


@dataclass(frozen=True)
class Memory:
    """Bytes of one worker; activations, of one micro-batch, are None for the baselines."""

    stage: int
    precision: str
    footprint: Footprint
    activations: Activations | None
    peak: float


def memory(config: RunConfig) -> Memory:
    """Return the memory of a worker of the run as configured."""
    train, workers = config.train, config.cluster.workers
    parameters = sum(accounting.parameters(config.model).values())
    state = footprint(train.zero, parameters, workers, half=config.half)
    kept = estimate_activations(
        config.model,
        config.targets,
        config.positions,
        max(1, train.batch // (workers * train.accumulate)),
        half=config.half,
        device="cuda" if config.cluster.gpu else "cpu",
        sharded=train.zero == 3,
    )
    forward, backward = (kept.forward, kept.backward) if kept else (0.0, 0.0)
    most = peak(train.zero, state, forward, backward, accumulate=train.accumulate)
    return Memory(train.zero, "bfloat16" if config.half else "float32", state, kept, most)


def memory_by_stage(config: RunConfig) -> list[Memory]:
    """Return the memory at every ZeRO stage in every precision."""
    return [
        memory(changed(config, {"train.zero": stage, "train.precision": precision}))
        for precision in PRECISIONS
        for stage in STAGES
    ]


def memory_limit(hardware: Hardware) -> float:
    """Return the bytes of an accelerator, or a worker's share of a node without accelerators."""
    if hardware.accelerator_bytes is not None:
        return float(hardware.accelerator_bytes)
    return hardware.memory_bytes / hardware.accelerators_per_node


def advice(config: RunConfig, hardware: Hardware) -> str | None:
    """Return why the run does not fit and the least change that helps; None if it fits."""
    most, limit = memory(config).peak, memory_limit(hardware)
    if most <= limit:
        return None
    problem = (
        f"run {config.id} needs {most / 1e9:,.1f} GB per worker, and {hardware.name} has "
        f"{limit / 1e9:,.1f} GB"
    )
    for change in _changes(config):
        needed = memory(changed(config, change)).peak
        if needed <= limit:
            overrides = " ".join(f"{key}={value}" for key, value in change.items())
            return f"{problem}: write {overrides} ({needed / 1e9:,.1f} GB)"
    return f"{problem}, and no ZeRO stage, precision or micro-batch fits: make the model smaller"


def changed(config: RunConfig, values: dict[str, Any]) -> RunConfig:
    """Return the run with other values at these dotted keys."""
    return RunConfig.model_validate(with_values(config.resolved(), values))


def _changes(config: RunConfig) -> Iterator[dict[str, Any]]:
    """Yield changes, from those that keep the results of the run to those that change them."""
    train = config.train
    share = train.batch // config.cluster.workers
    counts = [n for n in range(train.accumulate + 1, share + 1) if share % n == 0]
    stages = [stage for stage in STAGES if stage != train.zero]
    # Micro-batches and stages compute the same, and micro-batches cost least.
    yield from ({"train.accumulate": number} for number in counts)
    yield from ({"train.zero": stage} for stage in stages)
    yield from ({"train.zero": s, "train.accumulate": number} for s in stages for number in counts)
    most: dict[str, Any] = {} if config.half else {"train.precision": "bfloat16"}
    if most:
        yield most
    most = most | ({"train.accumulate": share} if share > 1 else {})
    yield from (most | {"train.zero": stage} for stage in STAGES)
    # Fewer targets in a window change the steps.
    yield from (most | values for values in _fewer_targets(config))


def _fewer_targets(config: RunConfig) -> Iterator[dict[str, Any]]:
    least = 1 if config.windows.targets == "last" else config.model.latents
    phases = config.targets.phases
    while phases > 1:
        phases = next(p for p in range(phases // 2, 0, -1) if config.model.chunk % p == 0)
        yield {"windows.phases": phases}
    positions = config.positions
    while positions > least:
        positions = max(least, positions // 2 // least * least)
        yield {"windows.per_window": positions}
