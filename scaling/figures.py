"""Series into figures: loss against a swept axis with its fit, and learning curves.

The figures carry data and shapes only. Their colours come from a palette that colour-blind readers
can tell apart and that stands out on white and on black; the page that shows them sets the colours
of text and grid to its own theme.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from scaling.record import ContextLoss, CurvePoint, RunRecord, bits
from scaling.series import CONTEXT, SEED, Series, name_of, setting, written

SAMPLES = (CONTEXT, "model.chunk")  # axes counted in samples
# The hues of Okabe and Ito (2008) in tones that stand out on white and on black.
PALETTE = ("#2B86C5", "#D9641A", "#12996F", "#C46FA3", "#C98A00", "#4FAEDC")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x")
NUM_DRAWN = 60  # points along a drawn line
STRETCHES = 8  # of a run, over which its training loss is averaged
CONTEXTS_CAPTION = (
    "The held-out targets scored by one run from fewer samples, pair by pair with its longest "
    "context; bars are standard errors. Contexts are the octaves of chunks that it trained."
)
HOVER = "%{y:.4f} bits (%{customdata[0]:.4f} nats) a sample<br>%{customdata[1]}<extra></extra>"


@dataclass(frozen=True)
class Panel:
    """One figure with its title and the sentences under it."""

    title: str
    figure: go.Figure
    caption: str


def loss_panels(series: Sequence[Series]) -> list[Panel]:
    """Loss against the series' axis: a panel for each depth, a colour for each remaining value."""
    names = list(dict.fromkeys(one.panel for one in series))
    colours = _colours(series)
    records = [record for one in series for record in one.records]
    losses = [bits(record.validation.nats) for record in records]
    errors = [bits(record.validation.standard_error) for record in records]
    lines, note = _references(records[0], min(losses), max(losses), max(errors))
    shown = [*losses, *lines.values()]
    room = 0.06 * (max(shown) - min(shown)) + max(errors)
    limits = (min(shown) - room, max(shown) + room)
    panels = []
    for name in names:
        figure = _figure(_titled(series[0].axis), limits)
        members = [one for one in series if one.panel == name]
        for offset, one in enumerate(members):
            dodge = 1 + 0.02 * (offset - (len(members) - 1) / 2)
            _draw(figure, one, colours[one.label], SYMBOLS[offset % len(SYMBOLS)], dodge)
        ticks = sorted({value for one in members for value in one.positions})
        figure.update_xaxes(type="log", tickvals=ticks, ticktext=[_short(tick) for tick in ticks])
        _draw_references(figure, lines)
        panels.append(Panel(name, figure, " ".join([*map(_drawn_as, members), note])))
    return panels


def learning_panels(series: Sequence[Series]) -> list[Panel]:
    """Validation loss (training loss thin) against targets seen: a panel for each depth."""
    colours = _colours(series)
    records = [record for one in series for record in one.records]
    points = [
        point
        for record in records
        for point in (*record.validation_curve, *_smoothed(record.training_curve))
    ]
    heights = [bits(point.nats) for point in points]
    lines, note = _references(records[0], min(heights), max(heights), 0.0)
    shown = [*heights, *lines.values()]
    room = 0.08 * (max(shown) - min(shown))
    panels = []
    for name in dict.fromkeys(one.panel for one in series):
        figure = _figure("targets seen", (min(shown) - room, max(shown) + room))
        members = [one for one in series if one.panel == name]
        for one in members:
            for index, record in enumerate(one.records):
                _draw_learning(figure, one, record, colours[one.label], index == 0)
        _draw_references(figure, lines)
        ends = ", ".join(f"{one.label} ends at {one.losses}" for one in members)
        caption = (
            f"Thick: validation; dotted: training, in means over {STRETCHES} stretches of the run. "
            f"{ends[0].upper()}{ends[1:]}. {note}"
        )
        panels.append(Panel(name, figure, caption))
    return panels


def context_panels(series: Sequence[Series]) -> list[Panel]:
    """What shorter contexts cost single runs that trained them: a panel for each depth.

    Of each curve the run of the longest context is drawn; empty where no run trained several.
    """
    colours = _colours(series)
    longest = [max(one.records, key=lambda run: setting(run, CONTEXT)) for one in series]
    curves = [run.validation.by_context for run in longest]
    drawn = [(one, curve) for one, curve in zip(series, curves, strict=True) if len(curve) > 1]
    heights = [
        bits(point.excess + sign * (point.excess_standard_error or 0))
        for _, points in drawn
        for point in points
        for sign in (-1, 1)
    ]
    panels = []
    for name in dict.fromkeys(one.panel for one, _ in drawn):
        room = 0.08 * (max(heights) - min(heights))
        figure = _figure(_titled(CONTEXT), (min(heights) - room, max(heights) + room))
        figure.update_yaxes(title_text="bits above the longest context", exponentformat="power")
        figure.update_xaxes(type="log")
        for one, points in drawn:
            if one.panel == name:
                _draw_contexts(figure, one, points, colours[one.label])
        panels.append(Panel(name, figure, CONTEXTS_CAPTION))
    return panels


def _draw_contexts(
    figure: go.Figure, one: Series, points: Sequence[ContextLoss], colour: str
) -> None:
    """One run's excess at each context, with its paired standard error."""
    errors = [bits(point.excess_standard_error or 0) for point in points]
    figure.add_scatter(
        x=[point.longest for point in points],
        y=[bits(point.excess) for point in points],
        error_y={"array": errors, "thickness": 1.2},
        customdata=[(point.excess, f"{one.label}, {point.longest:,} samples") for point in points],
        hovertemplate=HOVER,
        mode="lines+markers",
        line={"color": colour, "width": 1.5},
        name=one.label,
    )


def _colours(series: Sequence[Series]) -> dict[str, str]:
    labels = dict.fromkeys(one.label for one in series)
    return {label: PALETTE[index % len(PALETTE)] for index, label in enumerate(labels)}


def _figure(horizontal: str, limits: tuple[float, float]) -> go.Figure:
    """An empty figure: bits a sample upwards, transparent, themed by the page."""
    figure = go.Figure()
    figure.update_layout(
        template="none",
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"size": 13},
        height=360,
        margin={"l": 62, "r": 18, "t": 34, "b": 56},
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        hovermode="closest",
    )
    axis = {"zeroline": False, "showline": True, "ticks": "outside", "ticklen": 4}
    figure.update_xaxes(title=horizontal, showgrid=False, **axis)
    # The widest label of a tick decides where the title stands.
    title = {"text": "bits a sample", "standoff": 8}
    figure.update_yaxes(title=title, automargin=True, range=limits, nticks=6, **axis)
    return figure


def _draw(figure: go.Figure, one: Series, colour: str, symbol: str, dodge: float) -> None:
    """One curve: its configurations' means with error bars, over its line and band."""
    fitted = one.law if one.law and one.law.determined else one.slope
    if fitted:
        x = np.geomspace(min(one.positions), max(one.positions), NUM_DRAWN)
        line, band = fitted.at(x), fitted.band(x)
        red, green, blue = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
        if band:
            figure.add_scatter(
                x=[*x, *x[::-1]],
                y=[bits(value) for value in (*band[1], *band[0][::-1])],
                fill="toself",
                fillcolor=f"rgba({red},{green},{blue},0.14)",
                line={"width": 0},
                hoverinfo="skip",
                showlegend=False,
            )
        figure.add_scatter(
            x=list(x),
            y=[bits(value) for value in line],
            mode="lines",
            line={"color": colour, "width": 1.5, "dash": "solid" if fitted is one.law else "dash"},
            hoverinfo="skip",
            showlegend=False,
        )
    cells: dict[float, list[RunRecord]] = {}
    for position, record in zip(one.positions, one.records, strict=True):
        cells.setdefault(position, []).append(record)
    losses = [float(np.mean([run.validation.nats for run in runs])) for runs in cells.values()]
    figure.add_scatter(
        x=[position * dodge for position in cells],
        y=[bits(loss) for loss in losses],
        error_y={"array": [bits(_error(runs)) for runs in cells.values()], "thickness": 1.2},
        customdata=[
            (loss, f"{one.label}, {name_of(one.axis)} {position:,.6g}, runs: {len(runs)}")
            for loss, (position, runs) in zip(losses, cells.items(), strict=True)
        ],
        hovertemplate=HOVER,
        mode="markers",
        marker={"color": colour, "size": 9, "symbol": symbol},
        name=one.label,
    )


def _draw_learning(
    figure: go.Figure, one: Series, record: RunRecord, colour: str, in_legend: bool
) -> None:
    """The two learning curves of one run."""
    run = f"{name_of(one.axis)} {written(setting(record, one.axis))}, {SEED} {record.config[SEED]}"
    for kind, points, dash in (
        ("training", _smoothed(record.training_curve), "dot"),
        ("validation", record.validation_curve, "solid"),
    ):
        figure.add_scatter(
            x=[point.targets for point in points],
            y=[bits(point.nats) for point in points],
            customdata=[(point.nats, f"{kind}, {one.label}, {run}") for point in points],
            hovertemplate=HOVER,
            mode="lines",
            line={"color": colour, "width": 1 if dash == "dot" else 2, "dash": dash},
            opacity=0.6 if dash == "dot" else 0.9,
            name=one.label,
            legendgroup=one.label,
            showlegend=in_legend and kind == "validation",
        )


def _smoothed(curve: Sequence[CurvePoint]) -> list[CurvePoint]:
    """Means over stretches of a curve: single steps scatter far beyond their trend."""
    stretches = np.array_split(np.arange(len(curve)), min(STRETCHES, len(curve)))
    return [
        curve[stretch[-1]].model_copy(
            update={"nats": float(np.mean([curve[index].nats for index in stretch]))}
        )
        for stretch in stretches
    ]


def _error(runs: Sequence[RunRecord]) -> float:
    """Spread among replicates in nats, or the standard error of the validation of a single run."""
    losses = [run.validation.nats for run in runs]
    return float(np.std(losses, ddof=1)) if len(runs) > 1 else runs[0].validation.standard_error


def _references(
    record: RunRecord, low: float, high: float, error: float
) -> tuple[dict[str, float], str]:
    """The reference lines (bits) that at most double the axis, and a sentence on the others."""
    references = record.validation.references
    span = max(high - low, 4 * error)
    drawn: dict[str, float] = {}
    notes = []
    for name, nats in (
        ("linear AR(32)", references.linear_on_targets),
        ("histogram entropy", references.histogram),
    ):
        if low - span <= bits(nats) <= high + span:
            drawn[name] = bits(nats)
        else:
            side = "above" if bits(nats) > high else "below"
            notes.append(f"{name}, {bits(nats):.3f} bits ({nats:.3f} nats), is {side} the axis.")
    return drawn, " ".join(f"The {note}" for note in notes)


def _draw_references(figure: go.Figure, lines: dict[str, float]) -> None:
    for name, height in lines.items():
        figure.add_hline(
            height,
            line={"color": "#888888", "width": 1.2, "dash": "dot"},
            annotation={"text": f"{name} {height:.3f}", "font": {"size": 12}},
            annotation_position="top right",
        )


def _drawn_as(one: Series) -> str:
    """What the line of a curve is, and its slope."""
    if one.slope is None:
        return f"{one.label[0].upper()}{one.label[1:]}: not enough runs for a line."
    low, high = one.slope.interval
    kind = "power law" if one.law and one.law.determined else "straight line"
    return (
        f"{one.label[0].upper()}{one.label[1:]}: {kind} with 95% band; "
        f"{bits(one.slope.per_doubling):+.4f} bits ({one.slope.per_doubling:+.4f} nats) a doubling "
        f"({bits(low):+.4f} to {bits(high):+.4f} bits)."
    )


def _titled(key: str) -> str:
    return f"{name_of(key)} (samples)" if key in SAMPLES else name_of(key)


def _short(value: float) -> str:
    return f"{value / 1000:g}k" if value >= 1_000 else f"{value:g}"
