"""What a worker holds at the most in a step, on paper, and what to change where it does not fit."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from model import accounting
from model.activations import Activations, estimate_activations
from scaling.config.hardware import Hardware
from scaling.config.load import with_values
from scaling.config.run_config import RunConfig
from scaling.planning.footprint import Footprint, footprint, peak

STAGES = (0, 1, 2, 3)
PRECISIONS = ("float32", "bfloat16")


@dataclass(frozen=True)
class Memory:
    """Bytes of one worker at a ZeRO stage in a precision.

    ``activations`` are those of one piece of the batch, None for the baselines: their ``peak`` is
    that of weights, gradients, optimizer and buffers alone.
    """

    stage: int
    precision: str
    footprint: Footprint
    activations: Activations | None
    peak: float


def memory(config: RunConfig) -> Memory:
    """The memory of a worker of the run as configured."""
    train, workers = config.train, config.cluster.workers
    parameters = sum(accounting.parameters(config.model).values())
    held = footprint(train.zero, parameters, workers, half=config.half)
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
    most = peak(train.zero, held, forward, backward, accumulate=train.accumulate)
    return Memory(train.zero, "bfloat16" if config.half else "float32", held, kept, most)


def memory_by_stage(config: RunConfig) -> list[Memory]:
    """The memory at every ZeRO stage in every precision."""
    return [
        memory(changed(config, {"train.zero": stage, "train.precision": precision}))
        for precision in PRECISIONS
        for stage in STAGES
    ]


def memory_limit(hardware: Hardware) -> float:
    """Bytes that a worker may hold: an accelerator's, or its share of a node without any."""
    if hardware.accelerator_bytes is not None:
        return float(hardware.accelerator_bytes)
    return hardware.memory_bytes / hardware.accelerators_per_node


def advice(config: RunConfig, hardware: Hardware) -> str | None:
    """Why the run does not fit and the least change that makes it fit; None where it fits."""
    most, limit = memory(config).peak, memory_limit(hardware)
    if most <= limit:
        return None
    said = (
        f"run {config.id} needs {most / 1e9:,.1f} GB of a worker, and {hardware.name} has "
        f"{limit / 1e9:,.1f} GB"
    )
    for change in _changes(config):
        needed = memory(changed(config, change)).peak
        if needed <= limit:
            written = " ".join(f"{key}={value}" for key, value in change.items())
            return f"{said}: write {written} ({needed / 1e9:,.1f} GB)"
    return (
        f"{said}, and no ZeRO stage, precision or piece of the batch fits: make the model smaller"
    )


def changed(config: RunConfig, values: dict[str, Any]) -> RunConfig:
    """The run with other values at these dotted keys."""
    return RunConfig.model_validate(with_values(config.resolved(), values))


def _changes(config: RunConfig) -> Iterator[dict[str, Any]]:
    """What may be changed, from what leaves the run as it is to what makes it another one."""
    train = config.train
    share = train.batch // config.cluster.workers
    pieces = [p for p in range(train.accumulate + 1, share + 1) if share % p == 0]
    stages = [stage for stage in STAGES if stage != train.zero]
    # Pieces and stages compute the same; pieces cost least.
    yield from ({"train.accumulate": number} for number in pieces)
    yield from ({"train.zero": stage} for stage in stages)
    yield from ({"train.zero": s, "train.accumulate": number} for s in stages for number in pieces)
    if config.half:
        most: dict[str, Any] = {}
    else:
        most = {"train.precision": "bfloat16"}
        yield most
    most = most | ({"train.accumulate": share} if share > 1 else {})
    yield from (most | {"train.zero": stage} for stage in STAGES)
    # Fewer targets in a window: the steps are then others.
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
