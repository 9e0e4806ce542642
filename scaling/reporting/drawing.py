"""Parts of all figures: colours, an empty figure, points in both units, bands, lines and panels.

Figures have data and shapes only. Colour-blind readers can distinguish the palette, it is visible
on white and on black, and each group also has a symbol. The page sets the colours of text and grid.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any, Literal

import plotly.graph_objects as go

from scaling.analysis.series import CHUNK, CONTEXT, setting_name
from scaling.fitting.slope import Floats
from scaling.runs.record import RunRecord, bits

Values = Sequence[float] | Floats
SAMPLES = (CONTEXT, CHUNK)  # axes in samples
# The hues of Okabe and Ito (2008) in tones that are visible on white and on black.
PALETTE = ("#2B86C5", "#D9641A", "#12996F", "#C46FA3", "#C98A00", "#4FAEDC")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x")
HOVER = "%{y:.4f} bits (%{customdata[0]:.4f} nats) a sample<br>%{customdata[1]}<extra></extra>"
GREY = "#888888"
BAND = 0.14  # of opacity


class Chart(go.Figure):  # type: ignore[misc]  # plotly has no types
    """Transparent figure, with points, lines and bands of losses in bits a sample.

    ``limits`` are those of the vertical axis; ``log`` names the logarithmic axes.
    """

    def __init__(
        self,
        horizontal: str,
        limits: tuple[float, float] | None = None,
        vertical: str = "bits a sample",
        log: Literal["", "x", "xy"] = "x",
    ) -> None:
        super().__init__()
        self.update_layout(
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
        self.update_xaxes(title=horizontal, showgrid=False, **axis)
        title = {"text": vertical, "standoff": 6}
        self.update_yaxes(title=title, range=limits, nticks=6, **axis)
        if "x" in log:
            self.update_xaxes(type="log")
        if "y" in log:
            self.update_yaxes(type="log")

    def explain_repeats(self, runs: Sequence[RunRecord]) -> None:
        """Add an entry to the legend for :func:`symbol_of` if one of the runs repeated its data."""
        if any(run.targets.passes > 1 for run in runs):
            self.add_scatter(
                x=[None],
                y=[None],
                mode="markers",
                marker={"color": GREY, "size": 9, "symbol": "circle-open-dot"},
                name="hollow with a dot: repeated data",
            )

    def draw_points(
        self, x: Values, nats: Values, hover_text: Sequence[str], colour: str, **options: Any
    ) -> None:
        """Draw losses (nats) as points in bits; the hover gives nats and a text for each point."""
        marker = {"color": colour, "size": 8, **options.pop("marker", {})}
        self.add_scatter(
            x=list(x),
            y=in_bits(nats),
            customdata=[(float(value), text) for value, text in zip(nats, hover_text, strict=True)],
            hovertemplate=HOVER,
            marker=marker,
            **{"mode": "markers", **options},
        )

    def draw_runs(
        self,
        x: Values,
        runs: Sequence[RunRecord],
        hover_text: str,
        colour: str,
        symbol: str = "circle",
        marker: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        """Draw the final losses of runs; ``hover_text`` follows the id of each run."""
        self.draw_points(
            x,
            [run.validation.nats for run in runs],
            [f"run {run.id}, {hover_text}" for run in runs],
            colour,
            marker={"symbol": [symbol_of(symbol, run) for run in runs], **(marker or {})},
            **options,
        )

    def draw_band(self, x: Values, low: Values, high: Values, colour: str) -> None:
        """Fill the area between two curves, in the unit of the axis."""
        red, green, blue = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
        self.add_scatter(
            x=[*x, *x[::-1]],
            y=[*low, *high[::-1]],
            mode="lines",
            fill="toself",
            fillcolor=f"rgba({red},{green},{blue},{BAND})",
            line={"width": 0},
            hoverinfo="skip",
            showlegend=False,
        )

    def draw_line(self, x: Values, y: Values, colour: str, **options: Any) -> None:
        """Draw a line in the unit of the axis, by default without hover text and legend."""
        self.add_scatter(
            x=list(x),
            y=list(y),
            mode="lines",
            line={"color": colour, "width": 1.5, "dash": options.pop("dash", "solid")},
            **{"hoverinfo": "skip", "showlegend": False, **options},
        )

    def draw_references(self, lines: dict[str, float]) -> None:
        """Draw dotted lines at the references (bits)."""
        for name, height in lines.items():
            self.add_hline(
                height,
                line={"color": GREY, "width": 1.2, "dash": "dot"},
                annotation={"text": f"{name} {height:.3f}", "font": {"size": 12}},
                annotation_position="top right",
            )

    def add_scale_buttons(self) -> None:
        """Add buttons that switch the horizontal axis between logarithmic and linear."""
        buttons = [
            {"label": kind, "method": "relayout", "args": [{"xaxis.type": kind}]}
            for kind in ("log", "linear")
        ]
        place = {
            "x": 1,
            "xanchor": "right",
            "y": 1.02,
            "yanchor": "bottom",
            "pad": {"r": 0, "t": 0},
        }
        look = {"type": "buttons", "direction": "right", "showactive": False, "font": {"size": 11}}
        self.update_layout(updatemenus=[{**look, **place, "buttons": buttons}])


@dataclass(frozen=True)
class Panel:
    """One figure with its title and the sentences under it."""

    title: str
    figure: go.Figure
    caption: str


@dataclass(frozen=True)
class NumberedFigure:
    """A numbered figure of the report; the sentence ``missing`` replaces panels that it lacks."""

    code: str
    title: str
    panels: list[Panel]
    missing: str = ""


def colours_of(labels: Sequence[str]) -> dict[str, str]:
    """Return a colour for each different label."""
    return dict(zip(dict.fromkeys(labels), cycle(PALETTE), strict=False))


def symbols_of(labels: Sequence[str]) -> dict[str, str]:
    """Return a symbol for each different label."""
    return dict(zip(dict.fromkeys(labels), cycle(SYMBOLS), strict=False))


def symbol_of(symbol: str, *runs: RunRecord) -> str:
    """Return the symbol of a point: hollow with a dot if one of its runs repeated its data."""
    repeated = any(run.targets.passes > 1 for run in runs)
    return f"{symbol.removesuffix('-open')}-open-dot" if repeated else symbol


def in_bits(nats: Values) -> list[float]:
    """Convert losses from nats to bits."""
    return [bits(value) for value in nats]


def padded_limits(values: Sequence[float], share: float, more: float = 0.0) -> tuple[float, float]:
    """Return the range of values, widened at both ends by a share of it and by ``more``."""
    room = share * (max(values) - min(values)) + more
    return min(values) - room, max(values) + room


def axis_title(key: str) -> str:
    """Return the title of the axis of a setting, with its unit."""
    return f"{setting_name(key)} (samples)" if key in SAMPLES else setting_name(key)


def tick_label(value: float) -> str:
    """Return the label of a tick of an axis."""
    return f"{value / 1000:g}k" if value >= 1_000 else f"{value:g}"
