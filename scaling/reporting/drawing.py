"""What all figures share: colours, an empty figure, points with both units, and the captions' home.

Figures carry data and shapes only. Their colours come from a palette that colour-blind readers can
tell apart and that stands out on white and on black, and every group has a symbol besides; the page
that shows them sets the colours of text and grid to its own theme.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import plotly.graph_objects as go

from scaling.analysis.series import CONTEXT, setting_name
from scaling.fitting.slope import Floats
from scaling.runs.record import RunRecord, bits

Values = Sequence[float] | Floats
SAMPLES = (CONTEXT, "model.chunk")  # axes counted in samples
# The hues of Okabe and Ito (2008) in tones that stand out on white and on black.
PALETTE = ("#2B86C5", "#D9641A", "#12996F", "#C46FA3", "#C98A00", "#4FAEDC")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x")
HOVER = "%{y:.4f} bits (%{customdata[0]:.4f} nats) a sample<br>%{customdata[1]}<extra></extra>"
GREY = "#888888"
BAND = 0.14  # of opacity


@dataclass(frozen=True)
class Panel:
    """One figure with its title and the sentences under it."""

    title: str
    figure: go.Figure
    caption: str


@dataclass(frozen=True)
class NumberedFigure:
    """A numbered figure of the report: its panels, or the sentence that stands for them."""

    code: str
    title: str
    panels: list[Panel] = field(default_factory=list)
    missing: str = ""


def empty_figure(
    horizontal: str, limits: tuple[float, float] | None = None, vertical: str = "bits a sample"
) -> go.Figure:
    """An empty figure, transparent, themed by the page."""
    figure = go.Figure()
    figure.update_layout(
        template="none",
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"size": 13},
        height=360,
        margin={"l": 72, "r": 18, "t": 34, "b": 56},
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        hovermode="closest",
    )
    axis = {"zeroline": False, "showline": True, "ticks": "outside", "ticklen": 4}
    figure.update_xaxes(title=horizontal, showgrid=False, **axis)
    title = {"text": vertical, "standoff": 6}
    figure.update_yaxes(title=title, range=limits, nticks=6, **axis)
    return figure


def colours_of(labels: Sequence[str]) -> dict[str, str]:
    """A colour for each different label."""
    known = dict.fromkeys(labels)
    return {label: PALETTE[index % len(PALETTE)] for index, label in enumerate(known)}


def symbols_of(labels: Sequence[str]) -> dict[str, str]:
    """A symbol for each different label."""
    known = dict.fromkeys(labels)
    return {label: SYMBOLS[index % len(SYMBOLS)] for index, label in enumerate(known)}


def symbol_of(symbol: str, *runs: RunRecord) -> str:
    """The symbol of a point: hollow with a dot where one of its runs saw its data repeatedly."""
    repeated = any(run.targets.passes > 1 for run in runs)
    return f"{symbol.removesuffix('-open')}-open-dot" if repeated else symbol


def explain_repeats(figure: go.Figure, runs: Sequence[RunRecord]) -> None:
    """An entry of the legend for :func:`symbol_of`, where a run of the figure needs it."""
    if any(run.targets.passes > 1 for run in runs):
        figure.add_scatter(
            x=[None],
            y=[None],
            mode="markers",
            marker={"color": GREY, "size": 9, "symbol": "circle-open-dot"},
            name="hollow, with a dot: repeated data",
        )


def points(
    figure: go.Figure,
    x: Values,
    nats: Values,
    says: Sequence[str],
    colour: str,
    **how: Any,
) -> None:
    """Points of a loss in bits, whose hover gives nats and what each point is."""
    marker = {"color": colour, "size": 8, **how.pop("marker", {})}
    figure.add_scatter(
        x=list(x),
        y=[bits(value) for value in nats],
        customdata=[(float(value), text) for value, text in zip(nats, says, strict=True)],
        hovertemplate=HOVER,
        marker=marker,
        **{"mode": "markers", **how},
    )


def band(figure: go.Figure, x: Values, low: Floats, high: Floats, colour: str) -> None:
    """The area between two curves, in the unit of the axis."""
    red, green, blue = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
    figure.add_scatter(
        x=[*x, *x[::-1]],
        y=[*low, *high[::-1]],
        mode="lines",
        fill="toself",
        fillcolor=f"rgba({red},{green},{blue},{BAND})",
        line={"width": 0},
        hoverinfo="skip",
        showlegend=False,
    )


def line(figure: go.Figure, x: Values, y: Values, colour: str, **how: Any) -> None:
    """A line in the unit of the axis that says nothing on hover, unless told to."""
    figure.add_scatter(
        x=list(x),
        y=list(y),
        mode="lines",
        line={"color": colour, "width": 1.5, "dash": how.pop("dash", "solid")},
        **{"hoverinfo": "skip", "showlegend": False, **how},
    )


def scales(figure: go.Figure, vertical: bool = False) -> None:
    """Buttons that switch an axis between logarithmic and linear."""
    axis = "yaxis" if vertical else "xaxis"
    figure.update_layout(
        updatemenus=[
            {
                "type": "buttons",
                "direction": "right",
                "showactive": False,
                "x": 1,
                "xanchor": "right",
                "y": 1.02,
                "yanchor": "bottom",
                "pad": {"r": 0, "t": 0},
                "font": {"size": 11},
                "buttons": [
                    {"label": kind, "method": "relayout", "args": [{f"{axis}.type": kind}]}
                    for kind in ("log", "linear")
                ],
            }
        ]
    )


def axis_title(key: str) -> str:
    """What an axis of this setting is called, with its unit."""
    return f"{setting_name(key)} (samples)" if key in SAMPLES else setting_name(key)


def tick_label(value: float) -> str:
    """A tick of an axis."""
    return f"{value / 1000:g}k" if value >= 1_000 else f"{value:g}"
