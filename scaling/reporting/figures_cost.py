"""What compute and time buy: equal budgets, the frontier, the best runs, the chunk, the clock."""

from collections.abc import Sequence
from itertools import groupby

import numpy as np
import plotly.graph_objects as go

from scaling.analysis.budgets import CHUNK, PROFILES, budgets
from scaling.analysis.series import PANEL, setting
from scaling.analysis.specification_curve import Specification
from scaling.fitting.frontier import Frontier
from scaling.fitting.isoflop import IsoFlop
from scaling.fitting.table_fit import TableFit
from scaling.reporting.drawing import (
    GREY,
    PALETTE,
    Panel,
    axis_title,
    band,
    colours_of,
    empty_figure,
    explain_repeats,
    line,
    points,
    scales,
    symbol_of,
    symbols_of,
)
from scaling.reporting.figures_loss import LN2
from scaling.runs.record import RunRecord, bits

SECONDS = 3_600.0
NUM_DRAWN = 40


def profile_panels(law: TableFit, records: Sequence[RunRecord]) -> list[Panel]:
    """Loss against each size at equal budgets, with the lowest points by each method."""
    found = law.profiles
    if found is None:
        return []
    fitted = np.flatnonzero(law.table.fitted).tolist()
    budget = budgets(records, PROFILES["shape"])
    panels = []
    for index, name in enumerate(law.fit.points.names):
        profiles = [profile for profile in found.profiles if profile.name == name]
        if len(profiles) < 2 or min(profile.sizes for profile in profiles) < 3:
            continue
        figure = empty_figure(name)
        for number, profile in enumerate(profiles):
            colour = PALETTE[number % len(PALETTE)]
            rows = [
                row
                for row, at in enumerate(fitted)
                if budget[at] and np.isclose(budget[at] or 0, profile.budget, rtol=0.2)
            ]
            rows.sort(key=lambda row: law.fit.points.x[row, index])
            x = law.fit.points.x[rows, index]
            label = f"{profile.budget:.2g}"
            line(figure, x, law.fit.predicted[rows] / LN2, colour)
            says = [f"run {records[fitted[row]].id}, {label} operations" for row in rows]
            runs = [records[fitted[row]] for row in rows]
            marker = {"symbol": [symbol_of("circle", run) for run in runs]}
            nats = law.fit.points.loss[rows].tolist()
            points(figure, x, nats, says, colour, name=label, marker=marker)
        explain_repeats(figure, [records[at] for at in fitted if budget[at]])
        figure.update_xaxes(type="log")
        caption = (
            "A colour for each budget (operations); lines: the joint fit at the runs' own sizes. "
            + _agree(found, name)
        )
        panels.append(Panel(f"equal budgets over {name}", figure, caption))
    return panels


def _agree(found: IsoFlop, name: str) -> str:
    powers = found.powers.get(name, {})
    if not powers:
        return "No best size grows over these budgets."
    said = ", ".join(f"{power.exponent:.3f} by the {method}" for method, power in powers.items())
    return f"The best {name} grows with the budget to the power of {said}."


def frontier_panels(best: Frontier, found: IsoFlop | None) -> list[Panel]:
    """The best value of each column against the budget, by the joint fit and by profiles."""
    ordered = sorted(best.best, key=lambda point: point.budget)
    panels = []
    for number, (name, exponent) in enumerate(best.exponents.items()):
        colour = PALETTE[number % len(PALETTE)]
        figure = empty_figure("operations", vertical=f"best {name}")
        limits = [point.intervals[name] for point in ordered]
        if all(limits):
            low, high = np.array([limit for limit in limits if limit]).T
            band(figure, [point.budget for point in ordered], low, high, colour)
        figure.add_scatter(
            x=[point.budget for point in ordered],
            y=[point.sizes[name] for point in ordered],
            mode="lines+markers",
            line={"color": colour},
            name="joint fit under the model's own cost",
            hovertemplate="%{y:,.4g} at %{x:.3g} operations<extra></extra>",
        )
        profiles = [one for one in found.profiles if one.name == name] if found else []
        cubic = [(one.budget, one.best["cubic"]) for one in profiles if one.bracketed("cubic")]
        if cubic:
            figure.add_scatter(
                x=[budget for budget, _ in cubic],
                y=[size for _, size in cubic],
                mode="markers",
                marker={"color": GREY, "symbol": "diamond-open", "size": 10},
                name="lowest points of the profiles (cubic)",
                hovertemplate="%{y:,.4g} at %{x:.3g} operations<extra></extra>",
            )
        figure.update_xaxes(type="log", exponentformat="power")
        figure.update_yaxes(type="log", exponentformat="power")
        interval = best.intervals[name]
        within = f" (95% {interval[0]:.3f} to {interval[1]:.3f})" if interval else ""
        caption = f"Grows with the budget to the power of {exponent:.3f}{within} within the data."
        if cubic:
            caption += " Profiles keep all other sizes as they are; the joint fit moves them too."
        panels.append(Panel(f"best {name}", figure, caption))
    return panels


def compute_panel(records: Sequence[RunRecord]) -> Panel:
    """Loss against the operations of each run, with those that nothing cheaper beats."""
    cost = [run.operations.total for run in records]
    figure = empty_figure("operations, forward and backward")
    _draw_runs(figure, records, cost)
    hull = pareto(cost, [run.validation.nats for run in records])
    line(
        figure,
        [cost[at] for at in hull],
        [bits(records[at].validation.nats) for at in hull],
        GREY,
        name="nothing cheaper is better",
        showlegend=True,
        dash="dot",
    )
    figure.update_xaxes(type="log", exponentformat="power")
    scales(figure)
    named = ", ".join(records[at].id for at in hull)
    return Panel("loss against compute", figure, f"Runs that no cheaper one beats: {named}.")


def time_panel(records: Sequence[RunRecord]) -> Panel:
    """Loss against the hours that each run took."""
    hours = [run.throughput.wall_seconds / SECONDS for run in records]
    figure = empty_figure("hours from start to end")
    _draw_runs(figure, records, hours)
    figure.update_xaxes(type="log")
    scales(figure)
    caption = (
        f"{sum(hours):,.2f} hours in all. Records hold no price, so there is no axis in dollars."
    )
    return Panel("loss against time", figure, caption)


def pareto(cost: Sequence[float], loss: Sequence[float]) -> list[int]:
    """Numbers of the runs that no cheaper one beats, by cost."""
    found: list[int] = []
    for at in sorted(range(len(cost)), key=lambda at: (cost[at], loss[at])):
        if not found or loss[at] < loss[found[-1]]:
            found.append(at)
    return found


def chunk_panel(law: TableFit | None, records: Sequence[RunRecord]) -> Panel | None:
    """Loss against the chunk at equal cost; None where no budget has several chunks."""
    budget = budgets(records, PROFILES["chunk"])
    of = sorted((at for at, one in enumerate(budget) if one), key=lambda at: budget[at] or 0)
    if not of:
        return None
    figure = empty_figure(axis_title(CHUNK))
    names = {column: name for name, column in _columns(law).items()}
    for number, (one, members) in enumerate(groupby(of, key=lambda at: budget[at])):
        colour = PALETTE[number % len(PALETTE)]
        rows = sorted(members, key=lambda at: setting(records[at], CHUNK))
        x = [setting(records[at], CHUNK) for at in rows]
        says = [f"run {records[at].id}, {one:.3g} operations" for at in rows]
        nats = [records[at].validation.nats for at in rows]
        marker = {"symbol": [symbol_of("circle", records[at]) for at in rows]}
        points(figure, x, nats, says, colour, name=f"{one:.2g}", marker=marker)
        if law:
            values = np.array(
                [[law.table.values[name][at] for name in law.fit.points.names] for at in rows]
            )
            line(figure, x, law.fit.at(values) / LN2, colour)
    explain_repeats(figure, [records[at] for at in of])
    figure.update_xaxes(type="log")
    caption = "A colour for each budget (operations); lines: the joint fit at the runs' own sizes."
    optimum = f"{names.get(CHUNK)}.optimum"
    if (
        law
        and optimum in law.fit.named_parameters
        and np.isfinite(law.fit.named_parameters[optimum])
    ):
        caption += (
            f" At equal targets its best chunk is {law.fit.named_parameters[optimum]:,.0f} samples"
        )
        interval = law.uncertainty.intervals[optimum]
        caption += f" (95% {interval[0]:,.0f} to {interval[1]:,.0f})." if interval else "."
    return Panel("loss against the chunk at equal compute", figure, caption)


def choice_panels(found: Sequence[Specification]) -> list[Panel]:
    """Each exponent, and E, under every choice, in the order of their size."""
    made = [choice for choice in found if choice.values]
    panels = []
    for key in made[0].values:
        ordered = sorted(made, key=lambda choice: choice.values[key])
        scale = LN2 if key == "E" else 1.0
        values = [choice.values[key] / scale for choice in ordered]
        figure = empty_figure(
            "E, bits a sample" if key == "E" else key.replace(".", ", "), vertical=""
        )
        for reported in (False, True):
            of = [at for at, choice in enumerate(ordered) if (choice is made[0]) == reported]
            limits = [ordered[at].intervals[key] for at in of]
            figure.add_scatter(
                x=[values[at] for at in of],
                y=[ordered[at].name for at in of],
                error_x={
                    "array": [
                        limit[1] / scale - values[at] if limit else 0
                        for limit, at in zip(limits, of, strict=True)
                    ],
                    "thickness": 1.2,
                },
                mode="markers",
                marker={
                    "color": PALETTE[1] if reported else PALETTE[0],
                    "symbol": "diamond" if reported else "circle",
                    "size": 9,
                },
                hovertemplate="%{y}: %{x:.4f}<extra></extra>",
                showlegend=False,
            )
        names = [choice.name for choice in ordered]
        figure.update_yaxes(
            title=None, categoryorder="array", categoryarray=names, nticks=len(names) + 1
        )
        figure.update_layout(margin={"l": 190, "r": 18, "t": 10, "b": 56})
        caption = (
            f"From {values[0]:.4f} to {values[-1]:.4f} over {len(ordered)} choices; diamond: as "
            "reported. Bars: 95% by the curvature at the optimum."
        )
        panels.append(Panel(key.replace(".exponent", ", exponent"), figure, caption))
    return panels


def _columns(law: TableFit | None) -> dict[str, str]:
    return law.table.covariates if law else {}


def _draw_runs(figure: go.Figure, records: Sequence[RunRecord], x: Sequence[float]) -> None:
    """All runs, a colour and a symbol for each depth."""
    depths = [f"layers {setting(run, PANEL)}" for run in records]
    colours, symbols = colours_of(depths), symbols_of(depths)
    for depth in sorted(colours, key=lambda text: (len(text), text)):
        of = [at for at, one in enumerate(depths) if one == depth]
        points(
            figure,
            [x[at] for at in of],
            [records[at].validation.nats for at in of],
            [f"run {records[at].id}, {depth}" for at in of],
            colours[depth],
            name=depth,
            marker={
                "symbol": [symbol_of(symbols[depth], records[at]) for at in of],
                "size": 6,
                "opacity": 0.75,
            },
        )
    explain_repeats(figure, records)
