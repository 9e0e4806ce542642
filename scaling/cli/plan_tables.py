"""Tables of a plan: parameters, operations, memory, cost, the data stream, and several nodes."""

from collections.abc import Callable, Iterator, Sequence

from rich.table import Table

from scaling.common.terminal import table_of_pairs, terminal_table
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
    Stage,
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
        cells = dict.fromkeys(parts, "")
        for part, both in run.operations_by_part.items():
            sums = f"{both.forward / 1e9:,.3f} + {both.backward / 1e9:,.3f}"
            cells[part] = f"{sums} ({both.total / whole:.0%})"
        table.add_row(run.id, *cells.values())
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
    rows = [
        (
            ("run", run.id),
            ("of peak", f"{cost.utilisation:.0%}"),
            ("compute", f"{1e3 * cost.step.compute:,.2f}"),
            ("exposed", f"{1e3 * cost.step.exposed:,.2f}"),
            ("data wait", f"{1e3 * cost.step.waiting:,.2f}"),
            ("step", f"{1e3 * cost.step.seconds:,.2f}"),
            ("MB/s of codes", f"{cost.bytes_per_second / 1e6:,.1f}"),
            ("hours", f"{cost.seconds / SECONDS_PER_HOUR:,.3f}"),
            ("validation", f"{cost.validation_seconds / cost.seconds:.1%}"),
            ("accelerator-hours", f"{cost.accelerator_hours:,.3f}"),
            ("dollars", _dollars(cost.dollars)),
        )
        for run, cost in costs
    ]
    table = table_of_pairs(f"on {names}: milliseconds per step, and time and cost of the run", rows)
    if len(costs) > 1:
        table.add_section()
        hours = planned.accelerator_hours or 0.0
        table.add_row("all", *[""] * 8, f"{hours:,.3f}", _dollars(planned.dollars))
    return table


def _dollars(dollars: float | None) -> str:
    return "no price" if dollars is None else f"{dollars:,.2f}"


def plan_table(planned: Plan) -> Table:
    """Return the runs of a plan: axes, parameters, targets, operations, and bytes of windows."""
    axes = list(planned.runs[0].axes)
    rows = [
        (
            ("run", run.id),
            *((axis.split(".")[-1], str(run.axes[axis])) for axis in axes),
            ("parameters", f"{sum(run.parameters.values()):,}"),
            ("targets", f"{run.targets:,}"),
            ("targets/epoch", "?" if run.epoch is None else f"{run.epoch:,}"),
            ("MFLOP/target", f"{run.operations_per_target / 1e6:,.1f}"),
            ("of naive", f"1/{run.naive_operations_per_target / run.operations_per_target:,.1f}"),
            ("TFLOP", f"{run.operations / 1e12:,.2f}"),
            ("MB/window", f"{run.window_bytes / 1e6:.2f}"),
            ("windows/step", f"{run.windows_per_step:,}"),
            ("MB/step", f"{run.windows_per_step * run.window_bytes / 1e6:,.2f}"),
        )
        for run in planned.runs
    ]
    return table_of_pairs(f"runs: {len(planned.runs)}", rows, text=1 + len(axes))


def forecast_table(planned: Plan) -> Table:
    """Return the windows that a plan's runs need, and those that the stream delivers."""
    forecasts = [(run.id, run.forecast) for run in planned.runs if run.forecast]
    names = {forecast.hardware for _, forecast in forecasts}
    rows = [
        (
            ("run", name),
            ("nodes", f"{forecast.nodes:,}"),
            ("delivered windows/s", f"{forecast.delivered_windows_per_second:,.0f}"),
            ("of peak", f"{forecast.expected.utilisation:.0%}"),
            ("needed windows/s", f"{forecast.expected.windows_per_second:,.1f}"),
            ("MB/s", f"{forecast.expected.bytes_per_second / 1e6:,.1f}"),
            ("MB/s per node", f"{forecast.expected.node_bytes_per_second / 1e6:,.1f}"),
            ("delivered/needed", f"{forecast.expected.times:,.1f}"),
            ("at 100%", f"{forecast.most.times:,.1f}"),
        )
        for name, forecast in forecasts
    ]
    return table_of_pairs(
        f"the stream on {', '.join(names)}: windows that it delivers, and that the runs need at a "
        "share of the accelerators' peak",
        rows,
    )


def node_tables(config: RunConfig, hardware: Hardware, rows: Sequence[NodePlan]) -> Iterator[Table]:
    """Yield a run's steps on each number of nodes, its traffic and memory, and its goodput."""
    yield _steps(config, hardware, rows)
    yield _by_stage(
        f"run {config.id}: MB that a worker sends per step, by ZeRO stage",
        rows,
        lambda stage: f"{stage.sent / 1e6:,.1f}",
    )
    size = f"{(hardware.accelerator_bytes or 0) / 1e9:,.0f} GB"
    yield _by_stage(
        f"run {config.id}: GB of a worker's weights + gradients + optimizer + buffers, by ZeRO "
        f"stage (* does not fit the {size} of an accelerator)",
        rows,
        lambda stage: _held(stage.footprint) + ("" if stage.fits else " *"),
    )
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
        own = (f"{row.nodes:,}", f"{row.workers:,}", *_parts(row), *_rates(row.step))
        table.add_row(*own, f"{row.grown.batch:,}" if row.grown else "", *_rates(row.grown))
    return table


def _parts(row: NodePlan) -> list[str]:
    if row.step is None:
        return ["not whole", *[""] * 5]
    step = row.step
    parts = (step.compute, step.communication, step.exposed, step.waiting, step.seconds)
    return [f"{step.batch / row.workers:g}", *(f"{1e3 * part:,.2f}" for part in parts)]


def _rates(step: Step | None) -> list[str]:
    return [f"{step.targets_per_second:,.0f}", f"{step.efficiency:.0%}"] if step else ["", ""]


def _by_stage(title: str, rows: Sequence[NodePlan], cell: Callable[[Stage], str]) -> Table:
    table = terminal_table(title, ("nodes", *(f"ZeRO {stage}" for stage in STAGES)), text=0)
    for row in rows:
        table.add_row(f"{row.nodes:,}", *map(cell, row.stages))
    return table


def _held(held: Footprint) -> str:
    parts = (held.parameters, held.gradients, held.optimizer, held.buffers)
    whole = " + ".join(f"{part / 1e9:,.1f}" for part in parts)
    return f"{whole} = {held.total / 1e9:,.1f}"


def _failures(config: RunConfig, rows: Sequence[NodePlan]) -> Table:
    cells = []
    for row in rows:
        speed = row.step and row.step.targets_per_second
        cells += [
            (
                ("nodes", f"{row.nodes:,}"),
                ("failures", outlook.name),
                ("hours between", f"{outlook.hours:,.2f}"),
                ("checkpoint GB", f"{row.checkpoint.whole / 1e9:,.2f}"),
                ("recovery s", f"{outlook.blocking.saving.recovery:,.0f}"),
                *_kept(outlook.blocking),
                *_kept(outlook.asynchronous),
                ("targets/s", f"{speed * outlook.asynchronous.simulated:,.0f}" if speed else ""),
            )
            for outlook in row.outlooks
        ]
    return table_of_pairs(
        f"run {config.id}: goodput after checkpoints and failures, by formula and in a simulation "
        f"of {SIMULATED_FAILURES:,} failures, with blocking and then with asynchronous checkpoints",
        cells,
        text=2,
    )


def _kept(kept: CheckpointGoodput) -> list[tuple[str, str]]:
    return [
        ("pause s", f"{kept.saving.blocked:,.1f}"),
        ("interval min", f"{kept.interval / SECONDS_PER_MINUTE:,.1f}"),
        ("goodput", f"{kept.goodput:.2%}"),
        ("simulated", f"{kept.simulated:.2%}"),
    ]
