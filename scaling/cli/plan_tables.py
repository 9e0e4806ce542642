"""What runs cost as tables for a terminal: by part of the model, in memory, hours and dollars."""

from collections.abc import Iterator, Sequence

from rich.table import Table

from scaling.common.terminal import terminal_table
from scaling.planning.footprint import STAGES
from scaling.planning.memory_plan import PRECISIONS, Memory
from scaling.planning.plan import Plan, PlannedRun


def cost_tables(planned: Plan) -> Iterator[Table]:
    """All of them, as far as the plan has what they show."""
    if planned.runs:
        yield _parameters(planned.runs)
        yield _operations(planned.runs)
        yield _memory(planned.runs)
    if any(run.cost for run in planned.runs):
        yield _cost(planned)


def _parameters(runs: Sequence[PlannedRun]) -> Table:
    """Parameters by group, once for runs that have the same."""
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
        "operations of a window in GFLOP by part, forward + backward, and their share",
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
        "GB of a worker at the most: weights, gradients, optimizer, buffers; activations; all as "
        "configured, and at ZeRO 0 to 3 in float32 (f) and bfloat16 (b)",
        (
            *("run", "is", "state", "activations", "in all"),
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
        f"on {names}: a step in ms, and what the run takes",
        (
            *("run", "of peak", "compute", "exposed", "data wait", "step", "MB/s of codes"),
            *("hours", "of which validation", "accelerator-hours", "dollars"),
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
            f"{cost.seconds / 3_600:,.3f}",
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
    """The runs of a plan: axes, parameters, targets, and what they cost."""
    axes = list(planned.runs[0].axes) if planned.runs else []
    table = Table(title=f"runs: {len(planned.runs)}", title_justify="left")
    for heading in ("run", *(axis.split(".")[-1] for axis in axes)):
        table.add_column(heading)
    for heading in (
        *("parameters", "targets", "of", "MFLOP/target", "shared", "TFLOP"),
        *("MB/window", "windows/step", "MB/step"),
    ):
        table.add_column(heading, justify="right")
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
    """What the runs of a plan take from the stream, and how many times that it delivers."""
    forecasts = [(run.id, run.forecast) for run in planned.runs if run.forecast]
    names = {forecast.hardware for _, forecast in forecasts}
    table = terminal_table(
        f"the stream on {', '.join(names)}: what it delivers, and what the runs take at a share of "
        "the accelerators' peak",
        (
            *("run", "nodes", "delivered windows/s", "of peak", "taken windows/s", "MB/s"),
            *("MB/s a node", "delivered/taken", "at 100%"),
        ),
    )
    for name, forecast in forecasts:
        taken = forecast.expected
        table.add_row(
            name,
            f"{forecast.nodes:,}",
            f"{forecast.delivered_windows_per_second:,.0f}",
            f"{taken.utilisation:.0%}",
            f"{taken.windows_per_second:,.1f}",
            f"{taken.bytes_per_second / 1e6:,.1f}",
            f"{taken.node_bytes_per_second / 1e6:,.1f}",
            f"{taken.times:,.1f}",
            f"{forecast.most.times:,.1f}",
        )
    return table
