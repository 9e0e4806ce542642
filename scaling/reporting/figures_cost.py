"""Figures of the loss against compute and time: equal budgets, frontier, best runs and chunk."""

from collections.abc import Sequence
from itertools import groupby

import numpy as np

from scaling.analysis.series import CHUNK, PANEL, setting
from scaling.config.hardware import SECONDS_PER_HOUR
from scaling.fitting.frontier import Frontier
from scaling.fitting.isoflop import IsoFlop
from scaling.fitting.table_fit import TableFit
from scaling.reporting.drawing import (
    GREY,
    PALETTE,
    Chart,
    Panel,
    axis_title,
    colours_of,
    in_bits,
    symbols_of,
)
from scaling.runs.record import RunRecord

BUDGET_CAPTION = (
    "A colour for each budget (operations); lines: the joint fit at the sizes of the runs."
)


def profile_panels(
    law: TableFit, records: Sequence[RunRecord], budget: Sequence[float | None]
) -> list[Panel]:
    """Draw the loss against each size at equal budgets, with the growth of the best size.

    ``budget`` (operations) is that of each record; None outside of profiles.
    """
    found = law.profiles
    if found is None:
        return []
    fitted = np.flatnonzero(law.table.fitted).tolist()
    panels = []
    for index, name in enumerate(law.fit.points.names):
        profiles = [profile for profile in found.profiles if profile.name == name]
        if len(profiles) < 2 or min(profile.sizes for profile in profiles) < 3:
            continue
        figure = Chart(name)
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
            figure.draw_line(x, in_bits(law.fit.predicted[rows]), colour)
            runs = [records[fitted[row]] for row in rows]
            figure.draw_runs(x, runs, f"{label} operations", colour, name=label)
        figure.explain_repeats([records[at] for at in fitted if budget[at]])
        caption = f"{BUDGET_CAPTION} {_growth_sentence(found, name)}"
        panels.append(Panel(f"equal budgets over {name}", figure, caption))
    return panels


def _growth_sentence(found: IsoFlop, name: str) -> str:
    """Return a sentence on the growth of the best size by each method."""
    powers = found.powers.get(name, {})
    if not powers:
        return "Too few budgets have a best size to fit its growth."
    exponents = [f"{power.exponent:.3f} ({method})" for method, power in powers.items()]
    return f"The best size in {name} grows with the budget to the power of {', '.join(exponents)}."


def frontier_panels(best: Frontier, found: IsoFlop | None) -> list[Panel]:
    """Draw the best value of each column against the budget, by the joint fit and by profiles."""
    ordered = sorted(best.best, key=lambda point: point.budget)
    panels = []
    for number, (name, exponent) in enumerate(best.exponents.items()):
        colour = PALETTE[number % len(PALETTE)]
        figure = Chart("operations", vertical=f"best {name}", log="xy")
        limits = [point.intervals[name] for point in ordered]
        if all(limits):
            low, high = np.array([limit for limit in limits if limit]).T
            figure.draw_band([point.budget for point in ordered], low, high, colour)
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
                name="minima of the profiles (cubic)",
                hovertemplate="%{y:,.4g} at %{x:.3g} operations<extra></extra>",
            )
        figure.update_xaxes(exponentformat="power")
        figure.update_yaxes(exponentformat="power")
        interval = best.intervals[name]
        within = f" (95% {interval[0]:.3f} to {interval[1]:.3f})" if interval else ""
        caption = f"Grows with the budget to the power of {exponent:.3f}{within} within the runs."
        if cubic:
            caption += " Profiles keep all other sizes fixed; the joint fit varies them too."
        panels.append(Panel(f"best {name}", figure, caption))
    return panels


def compute_panel(records: Sequence[RunRecord]) -> Panel:
    """Draw the loss against the operations of each run, with the Pareto front."""
    cost = [run.operations.total for run in records]
    figure = Chart("operations, forward and backward")
    _draw_runs_by_depth(figure, records, cost)
    hull = pareto(cost, [run.validation.nats for run in records])
    figure.draw_line(
        [cost[at] for at in hull],
        in_bits([records[at].validation.nats for at in hull]),
        GREY,
        name="Pareto front",
        showlegend=True,
        dash="dot",
    )
    figure.update_xaxes(exponentformat="power")
    figure.add_scale_buttons()
    named = ", ".join(records[at].id for at in hull)
    return Panel("loss against compute", figure, f"Runs that no cheaper run beats: {named}.")


def time_panel(records: Sequence[RunRecord]) -> Panel:
    """Draw the loss against the hours of each run."""
    hours = [run.throughput.wall_seconds / SECONDS_PER_HOUR for run in records]
    figure = Chart("hours from start to end")
    _draw_runs_by_depth(figure, records, hours)
    figure.add_scale_buttons()
    caption = (
        f"{sum(hours):,.2f} hours in total. Records have no prices, so there is no axis in dollars."
    )
    return Panel("loss against time", figure, caption)


def pareto(cost: Sequence[float], loss: Sequence[float]) -> list[int]:
    """Return the indices of the runs that no cheaper run beats, by cost."""
    found: list[int] = []
    for at in sorted(range(len(cost)), key=lambda at: (cost[at], loss[at])):
        if not found or loss[at] < loss[found[-1]]:
            found.append(at)
    return found


def chunk_panels(
    law: TableFit | None, records: Sequence[RunRecord], budget: Sequence[float | None]
) -> list[Panel]:
    """Draw the loss against the chunk at equal cost; empty if no budget has several chunks."""
    of = sorted((at for at, one in enumerate(budget) if one), key=lambda at: budget[at] or 0)
    if not of:
        return []
    figure = Chart(axis_title(CHUNK))
    for number, (one, members) in enumerate(groupby(of, key=lambda at: budget[at])):
        colour = PALETTE[number % len(PALETTE)]
        rows = sorted(members, key=lambda at: setting(records[at], CHUNK))
        x = [setting(records[at], CHUNK) for at in rows]
        runs = [records[at] for at in rows]
        figure.draw_runs(x, runs, f"{one:.3g} operations", colour, name=f"{one:.2g}")
        if law:
            values = np.array(
                [[law.table.values[name][at] for name in law.fit.points.names] for at in rows]
            )
            figure.draw_line(x, in_bits(law.fit.at(values)), colour)
    figure.explain_repeats([records[at] for at in of])
    caption = BUDGET_CAPTION + (_best_chunk_sentence(law) if law else "")
    return [Panel("loss against the chunk at equal compute", figure, caption)]


def _best_chunk_sentence(law: TableFit) -> str:
    names = {column: name for name, column in law.table.covariates.items()}
    optimum = f"{names.get(CHUNK)}.optimum"
    best = law.fit.named_parameters.get(optimum, np.nan)
    if not np.isfinite(best):
        return ""
    interval = law.uncertainty.intervals[optimum]
    within = f" (95% {interval[0]:,.0f} to {interval[1]:,.0f})" if interval else ""
    return f" At equal targets the best chunk is {best:,.0f} samples{within}."


def _draw_runs_by_depth(figure: Chart, records: Sequence[RunRecord], x: Sequence[float]) -> None:
    """Draw all runs, with a colour and a symbol for each depth."""
    depths = [f"layers {setting(run, PANEL)}" for run in records]
    colours, symbols = colours_of(depths), symbols_of(depths)
    for depth in sorted(colours, key=lambda text: (len(text), text)):
        of = [at for at, one in enumerate(depths) if one == depth]
        figure.draw_runs(
            [x[at] for at in of],
            [records[at] for at in of],
            depth,
            colours[depth],
            symbol=symbols[depth],
            marker={"size": 6, "opacity": 0.75},
            name=depth,
        )
    figure.explain_repeats(records)
