"""A run on numbers of nodes as tables for a terminal: what ``plan --nodes`` prints."""

from collections.abc import Iterator, Sequence

from rich.table import Table

from scaling.common.terminal import terminal_table
from scaling.config.hardware import Hardware
from scaling.config.run_config import RunConfig
from scaling.planning.calibration import Calibration
from scaling.planning.data_throughput import StreamMeasurement
from scaling.planning.footprint import OVERLAPPED, STAGES, Footprint
from scaling.planning.multi_node import (
    REGIMES,
    SIMULATED_FAILURES,
    CheckpointGoodput,
    NodePlan,
    Step,
)

SECONDS_PER_MINUTE = 60


def node_tables(config: RunConfig, hardware: Hardware, rows: Sequence[NodePlan]) -> Iterator[Table]:
    """The run's steps, what its workers send and keep by ZeRO stage, and what failures take."""
    yield _steps(config, hardware, rows)
    yield _sent(config, rows)
    yield _memory(config, hardware, rows)
    yield _failures(config, rows)


def figures_table(
    config: RunConfig, hardware: Hardware, measured: StreamMeasurement, calibration: Calibration
) -> Table:
    """Every figure that the tables rest on, and whether it was measured, is stated or assumed."""
    table = terminal_table("what the tables rest on", ("figure", "value", "is"), text=3)
    mode, zero = config.windows.targets, config.train.zero
    window = config.targets.samples(config.positions, config.model)
    consumer = measured.windows_per_second("mapped", window)
    here = f"measured on {calibration.processor}"
    stated = "stated in the hardware's file, whose comments say from where"
    rows = [
        ("peak of an accelerator", f"{hardware.operations_per_second / 1e12:,.0f} TFLOP/s", stated),
        (
            "share of it that is reached",
            f"{hardware.utilisation:.0%}",
            f"an assumption; {calibration.share_sentence(mode)}",
        ),
        (
            f"windows of {window:,} samples that a consumer is given",
            f"{consumer:,.0f} a second",
            f"measured on {measured.processor}",
        ),
        ("ring within a node", _rate(hardware.link_bytes_per_second), stated),
        ("ring between nodes", _rate(hardware.ring_bytes_per_second), stated),
        ("a node to and from storage", _rate(hardware.storage_bytes_per_second), stated),
        (
            f"a worker writes its part of a checkpoint (ZeRO {zero})",
            _rate(calibration.save_rates[zero]),
            here,
        ),
        ("a worker reads it", _rate(calibration.read_rate), here),
        ("new processes to their first step", f"{calibration.start_seconds:,.1f} s", here),
    ]
    rows += [
        (f"failures: {regime.name}", _regime(regime.hours, regime.preemptions_per_day), source)
        for regime, source in zip(REGIMES, SOURCES, strict=True)
    ]
    for row in rows:
        table.add_row(*row)
    return table


SOURCES = (
    "published: arXiv 2407.21783, 419 in 54 days of 16,384 GPUs",
    "published: arXiv 2410.21680, 7.9 hours at 1,024 GPUs",
    "an assumption: a node in two hours of a cluster of four",
)


def _regime(hours: float, preemptions: float) -> str:
    lost = f", and {preemptions:g} losses a node and day" if preemptions else ""
    return f"{hours:,.0f} hours an accelerator{lost}"


def _rate(bytes_per_second: float | None) -> str:
    return f"{(bytes_per_second or 0) / 1e9:,.2f} GB/s"


def _steps(config: RunConfig, hardware: Hardware, rows: Sequence[NodePlan]) -> Table:
    zero = config.train.zero
    hidden = "hidden by computation" if OVERLAPPED[zero] else "not hidden"
    table = terminal_table(
        f"run {config.id} on nodes of {hardware.accelerators_per_node} {hardware.name}, "
        f"ZeRO {zero} (communication is {hidden}); milliseconds; the batch stays, or grows with "
        "the nodes",
        (
            *("nodes", "workers", "windows each", "compute", "communication", "exposed"),
            *("data wait", "step", "targets/s", "efficiency"),
            *("batch grown", "targets/s", "efficiency"),
        ),
        text=0,
    )
    for row in rows:
        table.add_row(
            f"{row.nodes:,}",
            f"{row.workers:,}",
            *_parts(row),
            *_rates(row.step),
            *_grown(row.grown),
        )
    return table


def _parts(row: NodePlan) -> list[str]:
    if row.step is None:
        return ["no whole number", *[""] * 5]
    step = row.step
    parts = (step.compute, step.communication, step.exposed, step.waiting, step.seconds)
    return [f"{step.batch / row.workers:g}", *(f"{1e3 * part:,.2f}" for part in parts)]


def _rates(step: Step | None) -> list[str]:
    return [f"{step.targets_per_second:,.0f}", f"{step.efficiency:.0%}"] if step else ["", ""]


def _grown(step: Step | None) -> list[str]:
    return [f"{step.batch:,}" if step else "", *_rates(step)]


def _sent(config: RunConfig, rows: Sequence[NodePlan]) -> Table:
    table = terminal_table(
        f"run {config.id}: MB that a worker sends in a step, by ZeRO stage",
        ("nodes", *(f"ZeRO {stage}" for stage in STAGES)),
        text=0,
    )
    for row in rows:
        table.add_row(f"{row.nodes:,}", *(f"{stage.sent / 1e6:,.1f}" for stage in row.stages))
    return table


def _memory(config: RunConfig, hardware: Hardware, rows: Sequence[NodePlan]) -> Table:
    size = f"{(hardware.accelerator_bytes or 0) / 1e9:,.0f} GB"
    table = terminal_table(
        f"run {config.id}: GB of a worker's weights + gradients + optimizer + buffers, by ZeRO "
        f"stage (* does not fit the {size} of an accelerator)",
        ("nodes", *(f"ZeRO {stage}" for stage in STAGES)),
        text=0,
    )
    for row in rows:
        cells = [_held(stage.footprint) + ("" if stage.fits else " *") for stage in row.stages]
        table.add_row(f"{row.nodes:,}", *cells)
    return table


def _held(held: Footprint) -> str:
    parts = (held.parameters, held.gradients, held.optimizer, held.buffers)
    whole = " + ".join(f"{part / 1e9:,.1f}" for part in parts)
    return f"{whole} = {held.total / 1e9:,.1f}"


def _failures(config: RunConfig, rows: Sequence[NodePlan]) -> Table:
    table = terminal_table(
        f"run {config.id}: what checkpoints and failures leave of the time, by formula and in a "
        f"simulation of {SIMULATED_FAILURES:,} failures, with checkpoints that block and with such "
        "that are sent while steps go on",
        (
            *("nodes", "failures", "hours between", "checkpoint GB", "recovery s"),
            *("stops s", "every min", "left", "simulated"),
            *("stops s", "every min", "left", "simulated", "targets/s left"),
        ),
        text=2,
    )
    for row in rows:
        for outlook in row.outlooks:
            left = ""
            if row.step:
                left = f"{row.step.targets_per_second * outlook.asynchronous.simulated:,.0f}"
            table.add_row(
                f"{row.nodes:,}",
                outlook.name,
                f"{outlook.hours:,.2f}",
                f"{row.checkpoint.whole / 1e9:,.2f}",
                f"{outlook.blocking.saving.recovery:,.0f}",
                *_kept(outlook.blocking),
                *_kept(outlook.asynchronous),
                left,
            )
    return table


def _kept(kept: CheckpointGoodput) -> list[str]:
    return [
        f"{kept.saving.blocked:,.1f}",
        f"{kept.interval / SECONDS_PER_MINUTE:,.1f}",
        f"{kept.goodput:.2%}",
        f"{kept.simulated:.2%}",
    ]
