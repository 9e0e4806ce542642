"""Tables of a plan: parameters, operations, memory, cost, the data stream, and several nodes."""

from collections.abc import Iterator, Sequence

from rich.table import Table

from scaling.common.terminal import terminal_table
from scaling.config.hardware import SECONDS_PER_HOUR, Hardware
from scaling.config.run_config import RunConfig
from scaling.planning.calibration import Calibration
from scaling.planning.data_throughput import StreamMeasurement
from scaling.planning.footprint import OVERLAPPED, STAGES, Footprint
from scaling.planning.memory_plan import PRECISIONS, Memory
from scaling.planning.multi_node import (
    REGIMES,
    SIMULATED_FAILURES,
    CheckpointGoodput,
    NodePlan,
    Step,
)
from scaling.planning.plan import Plan, PlannedRun

SECONDS_PER_MINUTE = 60
FAILURE_SOURCES = (
    "published: arXiv 2407.21783, 419 in 54 days of 16,384 GPUs",
    "published: arXiv 2410.21680, 7.9 hours at 1,024 GPUs",
    "an assumption: a node in two hours of a cluster of four",
)
"""Where the figures of `multi_node.REGIMES` come from, in their order."""


def cost_tables(planned: Plan) -> Iterator[Table]:
    """Yield the tables of what a plan's runs need, as far as the plan has their figures."""
    if planned.runs:
        yield _parameters(planned.runs)
        yield _operations(planned.runs)
        yield _memory(planned.runs)
    if any(run.cost for run in planned.runs):
        yield _cost(planned)


def _parameters(runs: Sequence[PlannedRun]) -> Table:
    """Return the parameters by group, with one row for all runs that have the same."""
    groups = list(dict.fromkeys(group for run in runs for group in run.parameters))
    table = terminal_table("parameters by group", ("runs", *groups))
    shapes: dict[tuple[int | None, ...], list[str]] = {}
    for run in runs:
        shapes.setdefault(tuple(map(run.parameters.get, groups)), []).append(run.id)
    for counts, members in shapes.items():
        named = members[0] + (f" and {len(members) - 1} more" if len(members) > 1 else "")
        table.add_row(named, *("" if count is None else f"{count:,}" for count in counts))
    return table


def _operations(runs: Sequence[PlannedRun]) -> Table:
    parts = list(dict.fromkeys(part for run in runs for part in run.operations_by_part))
    table = terminal_table(
        "operations per window in GFLOP by part: forward + backward (share)",
        ("run", *(part.replace("_", "-") for part in parts)),
    )
    for run in runs:
        whole = sum(both.total for both in run.operations_by_part.values())
        found = [run.operations_by_part.get(part) for part in parts]
        table.add_row(
            run.id,
            *(
                f"{both.forward / 1e9:,.3f} + {both.backward / 1e9:,.3f} ({both.total / whole:.0%})"
                if both
                else ""
                for both in found
            ),
        )
    return table


def _memory(runs: Sequence[PlannedRun]) -> Table:
    table = terminal_table(
        "peak GB of a worker: state (weights, gradients, optimizer, buffers), activations and "
        "total as configured; total at ZeRO 0 to 3 in float32 (f) and bfloat16 (b)",
        (
            *("run", "configured", "state", "activations", "total"),
            *(f"{name[0]}{stage}" for name in PRECISIONS for stage in STAGES),
        ),
        text=2,
    )
    for run in runs:
        own = run.memory
        kept = own.activations
        table.add_row(
            run.id,
            f"{own.precision[0]}{own.stage}",
            f"{own.footprint.total / 1e9:,.2f}",
            f"{max(kept.forward, kept.backward) / 1e9:,.2f}" if kept else "?",
            _peak(own),
            *map(_peak, run.memory_by_stage),
        )
    return table


def _peak(memory: Memory) -> str:
    return f"{memory.peak / 1e9:,.2f}" + ("" if memory.activations else " + ?")


def _cost(planned: Plan) -> Table:
    costs = [(run, run.cost) for run in planned.runs if run.cost]
    names = ", ".join({cost.hardware for _, cost in costs})
    table = terminal_table(
        f"on {names}: milliseconds per step, and time and cost of the run",
        (
            *("run", "of peak", "compute", "exposed", "data wait", "step", "MB/s of codes"),
            *("hours", "validation", "accelerator-hours", "dollars"),
        ),
    )
    for run, cost in costs:
        step = cost.step
        parts = (step.compute, step.exposed, step.waiting, step.seconds)
        table.add_row(
            run.id,
            f"{cost.utilisation:.0%}",
            *(f"{1e3 * part:,.2f}" for part in parts),
            f"{cost.bytes_per_second / 1e6:,.1f}",
            f"{cost.seconds / SECONDS_PER_HOUR:,.3f}",
            f"{cost.validation_seconds / cost.seconds:.1%}",
            f"{cost.accelerator_hours:,.3f}",
            _dollars(cost.dollars),
        )
    if len(costs) > 1:
        table.add_section()
        hours = planned.accelerator_hours or 0.0
        table.add_row("all", *[""] * 8, f"{hours:,.3f}", _dollars(planned.dollars))
    return table


def _dollars(dollars: float | None) -> str:
    return "no price" if dollars is None else f"{dollars:,.2f}"


def plan_table(planned: Plan) -> Table:
    """Return the runs of a plan: axes, parameters, targets, operations, and bytes of windows."""
    axes = list(planned.runs[0].axes) if planned.runs else []
    table = terminal_table(
        f"runs: {len(planned.runs)}",
        (
            *("run", *(axis.split(".")[-1] for axis in axes)),
            *("parameters", "targets", "targets/epoch", "MFLOP/target", "of naive", "TFLOP"),
            *("MB/window", "windows/step", "MB/step"),
        ),
        text=1 + len(axes),
    )
    for run in planned.runs:
        table.add_row(
            run.id,
            *(str(run.axes[axis]) for axis in axes),
            f"{sum(run.parameters.values()):,}",
            f"{run.targets:,}",
            "?" if run.epoch is None else f"{run.epoch:,}",
            f"{run.operations_per_target / 1e6:,.1f}",
            f"1/{run.naive_operations_per_target / run.operations_per_target:,.1f}",
            f"{run.operations / 1e12:,.2f}",
            f"{run.window_bytes / 1e6:.2f}",
            f"{run.windows_per_step:,}",
            f"{run.windows_per_step * run.window_bytes / 1e6:,.2f}",
        )
    return table


def forecast_table(planned: Plan) -> Table:
    """Return the windows that a plan's runs need, and those that the stream delivers."""
    forecasts = [(run.id, run.forecast) for run in planned.runs if run.forecast]
    names = {forecast.hardware for _, forecast in forecasts}
    table = terminal_table(
        f"the stream on {', '.join(names)}: windows that it delivers, and that the runs need at a "
        "share of the accelerators' peak",
        (
            *("run", "nodes", "delivered windows/s", "of peak", "needed windows/s", "MB/s"),
            *("MB/s per node", "delivered/needed", "at 100%"),
        ),
    )
    for name, forecast in forecasts:
        needed = forecast.expected
        table.add_row(
            name,
            f"{forecast.nodes:,}",
            f"{forecast.delivered_windows_per_second:,.0f}",
            f"{needed.utilisation:.0%}",
            f"{needed.windows_per_second:,.1f}",
            f"{needed.bytes_per_second / 1e6:,.1f}",
            f"{needed.node_bytes_per_second / 1e6:,.1f}",
            f"{needed.times:,.1f}",
            f"{forecast.most.times:,.1f}",
        )
    return table


def node_tables(config: RunConfig, hardware: Hardware, rows: Sequence[NodePlan]) -> Iterator[Table]:
    """Yield a run's steps on each number of nodes, its traffic and memory, and its goodput."""
    yield _steps(config, hardware, rows)
    yield _sent(config, rows)
    yield _node_memory(config, hardware, rows)
    yield _failures(config, rows)


def figures_table(
    config: RunConfig, hardware: Hardware, measured: StreamMeasurement, calibration: Calibration
) -> Table:
    """Return every figure behind the tables of nodes, with its source."""
    table = terminal_table("figures behind the tables", ("figure", "value", "source"), text=3)
    mode, zero = config.windows.targets, config.train.zero
    window = config.targets.samples(config.positions, config.model)
    consumer = measured.windows_per_second("mapped", window)
    here = f"measured on {calibration.processor}"
    stated = "stated in the hardware's file"
    rows = [
        ("peak of an accelerator", f"{hardware.operations_per_second / 1e12:,.0f} TFLOP/s", stated),
        (
            "share of the peak that is reached",
            f"{hardware.utilisation:.0%}",
            f"an assumption; {calibration.share_sentence(mode)}",
        ),
        (
            f"windows of {window:,} samples that a consumer gets",
            f"{consumer:,.0f} a second",
            f"measured on {measured.processor}",
        ),
        ("ring within a node", _rate(hardware.link_bytes_per_second), stated),
        ("ring between nodes", _rate(hardware.ring_bytes_per_second), stated),
        ("storage bandwidth of a node", _rate(hardware.storage_bytes_per_second), stated),
        (
            f"writing of a worker's part of a checkpoint (ZeRO {zero})",
            _rate(calibration.save_rates[zero]),
            here,
        ),
        ("reading of that part", _rate(calibration.read_rate), here),
        ("start of new processes to their first step", f"{calibration.start_seconds:,.1f} s", here),
    ]
    rows += [
        (f"failures: {regime.name}", _regime(regime.hours, regime.preemptions_per_day), source)
        for regime, source in zip(REGIMES, FAILURE_SOURCES, strict=True)
    ]
    for row in rows:
        table.add_row(*row)
    return table


def _regime(hours: float, preemptions: float) -> str:
    lost = f", and {preemptions:g} preemptions per node and day" if preemptions else ""
    return f"one in {hours:,.0f} hours of an accelerator{lost}"


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
            *("nodes", "workers", "windows/worker", "compute", "communication", "exposed"),
            *("data wait", "step", "targets/s", "efficiency"),
            *("grown batch", "targets/s", "efficiency"),
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
        return ["not whole", *[""] * 5]
    step = row.step
    parts = (step.compute, step.communication, step.exposed, step.waiting, step.seconds)
    return [f"{step.batch / row.workers:g}", *(f"{1e3 * part:,.2f}" for part in parts)]


def _rates(step: Step | None) -> list[str]:
    return [f"{step.targets_per_second:,.0f}", f"{step.efficiency:.0%}"] if step else ["", ""]


def _grown(step: Step | None) -> list[str]:
    return [f"{step.batch:,}" if step else "", *_rates(step)]


def _sent(config: RunConfig, rows: Sequence[NodePlan]) -> Table:
    table = terminal_table(
        f"run {config.id}: MB that a worker sends per step, by ZeRO stage",
        ("nodes", *(f"ZeRO {stage}" for stage in STAGES)),
        text=0,
    )
    for row in rows:
        table.add_row(f"{row.nodes:,}", *(f"{stage.sent / 1e6:,.1f}" for stage in row.stages))
    return table


def _node_memory(config: RunConfig, hardware: Hardware, rows: Sequence[NodePlan]) -> Table:
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
        f"run {config.id}: goodput after checkpoints and failures, by formula and in a simulation "
        f"of {SIMULATED_FAILURES:,} failures, with blocking and then with asynchronous checkpoints",
        (
            *("nodes", "failures", "hours between", "checkpoint GB", "recovery s"),
            *("pause s", "interval min", "goodput", "simulated"),
            *("pause s", "interval min", "goodput", "simulated", "targets/s"),
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
