"""What the law of a whole study looks like: reducible loss, residuals, redraws, marginal gain."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from scipy.special import ndtri

from scaling.analysis.context_or_size import context_column, per_doubling, size_instead_of_context
from scaling.analysis.series import CONTEXT, Series
from scaling.analysis.study_law import StudyLaw
from scaling.fitting.fit import Fit
from scaling.fitting.slope import Floats
from scaling.fitting.table_fit import TableFit
from scaling.fitting.uncertainty import PERCENTILES
from scaling.reporting.drawing import (
    GREY,
    PALETTE,
    SYMBOLS,
    Panel,
    axis_title,
    band,
    empty_figure,
    explain_repeats,
    line,
    points,
    symbol_of,
)
from scaling.reporting.figures_loss import LN2
from scaling.runs.record import RunRecord, bits

NUM_DRAWN = 40


def reducible(law: TableFit, records: Sequence[RunRecord]) -> Panel:
    """The loss above E against compute: fitted runs filled, held-out ones open with their error."""
    floor = law.fit.named_parameters["E"]
    figure = empty_figure("operations, forward and backward", vertical="bits a sample above E")
    errors: list[str] = []
    for fitted, name in ((True, "fitted"), (False, "held out")):
        chosen = np.flatnonzero(law.table.fitted if fitted else law.table.held_out).tolist()
        if not len(chosen):
            continue
        says = [f"run {records[at].id}, {name}" for at in chosen]
        if not fitted and law.held_out:
            errors = [f"{error:+.2%}" for error in law.held_out.relative_errors]
            says = [
                f"{text}, predicted {error} off" for text, error in zip(says, errors, strict=True)
            ]
        points(
            figure,
            [records[at].operations.total for at in chosen],
            [records[at].validation.nats - floor for at in chosen],
            says,
            PALETTE[0] if fitted else PALETTE[1],
            name=name,
            marker={
                "symbol": [
                    symbol_of("circle" if fitted else "circle-open", records[at]) for at in chosen
                ],
                "size": 6 if fitted else 11,
                "line": {"width": 0 if fitted else 2},
            },
            opacity=0.6 if fitted else 1.0,
        )
    explain_repeats(figure, [records[at] for at in np.flatnonzero(law.table.usable).tolist()])
    note = ""
    if law.best:
        best = sorted(law.best.best, key=lambda point: point.budget)
        dearest = max(
            records[at].operations.total for at in np.flatnonzero(law.table.fitted).tolist()
        )
        for beyond in (False, True):
            part = [point for point in best if (point.budget > dearest) == beyond]
            part = [best[len(best) - len(part) - 1], *part] if beyond else part
            line(
                figure,
                [point.budget for point in part],
                [(point.loss - floor) / LN2 for point in part],
                PALETTE[2],
                dash="dash" if beyond else "solid",
                name="best sizes" + (", extrapolated" if beyond else ""),
                showlegend=True,
            )
        note = " Line: the lowest loss that each budget buys by the fit, dashed beyond its runs."
    figure.update_xaxes(type="log", exponentformat="power")
    figure.update_yaxes(type="log")
    off = f" Held out, predicted less measured: {', '.join(errors)}." if errors else ""
    caption = f"E is {bits(floor):.3f} bits ({floor:.3f} nats).{off}{note}"
    return Panel("reducible loss", figure, caption)


def residuals(law: TableFit) -> list[Panel]:
    """Relative residuals of the fitted runs against every column, and against a normal's."""
    made = law.fit
    relative = 100 * (made.predicted / made.points.loss - 1)
    deviation = float(relative.std(ddof=1))
    panels = []
    for index, name in enumerate(made.points.names):
        figure = empty_figure(name, vertical="predicted less measured, %")
        figure.add_scatter(
            x=made.points.x[:, index].tolist(),
            y=relative.tolist(),
            mode="markers",
            marker={"color": PALETTE[index % len(PALETTE)], "size": 6, "opacity": 0.6},
            hovertemplate="%{y:+.3f}% at %{x:,.6g}<extra></extra>",
            showlegend=False,
        )
        figure.add_hline(0, line={"color": GREY, "width": 1})
        figure.update_xaxes(type="log")
        trend = float(np.corrcoef(made.points.position[:, index], relative)[0, 1])
        caption = f"Correlation with the logarithm of {name}: {trend:+.2f}."
        panels.append(Panel(f"against {name}", figure, caption))
    ranks = (np.arange(len(relative)) + 0.5) / len(relative)
    normal = ndtri(ranks)
    figure = empty_figure("standard normal", vertical="predicted less measured, %")
    figure.add_scatter(
        x=normal.tolist(),
        y=sorted(relative.tolist()),
        mode="markers",
        marker={"color": PALETTE[0], "size": 6, "opacity": 0.7},
        hovertemplate="%{y:+.3f}% at %{x:.2f}<extra></extra>",
        showlegend=False,
    )
    line(figure, [normal[0], normal[-1]], [deviation * normal[0], deviation * normal[-1]], GREY)
    caption = f"Line: a normal distribution with their standard deviation, {deviation:.3f}%."
    return [*panels, Panel("against a normal distribution", figure, caption)]


def exponent_panels(made: Fit) -> list[Panel]:
    """E against each exponent over the redrawn configurations; empty without redraws."""
    if len(made.redraws) < 2:
        return []
    values = made.form.named_parameters(made.redraws, made.points.centres)
    panels = []
    for index, name in enumerate(made.form.terms):
        exponent = values[f"{name}.exponent"]
        figure = empty_figure(f"exponent of {name}", vertical="E, bits a sample")
        points(
            figure,
            exponent,
            values["E"],
            ["a redraw"] * len(exponent),
            PALETTE[index % len(PALETTE)],
            marker={"symbol": SYMBOLS[index % len(SYMBOLS)], "size": 5, "opacity": 0.5},
            showlegend=False,
        )
        points(
            figure,
            [made.named_parameters[f"{name}.exponent"]],
            [made.named_parameters["E"]],
            ["the fit"],
            GREY,
            marker={"symbol": "x", "size": 11},
            showlegend=False,
        )
        correlation = float(np.corrcoef(exponent, values["E"])[0, 1])
        caption = (
            f"{len(exponent)} redraws; the cross is the fit. Correlation {correlation:+.2f}: "
            "the nearer to 1 or -1, the less can either be read alone."
        )
        panels.append(Panel(f"E and the exponent of {name}", figure, caption))
    return panels


def marginal_of_law(
    law: StudyLaw, records: Sequence[RunRecord], noise: float | None
) -> Panel | None:
    """What one more doubling of context buys by the joint fit; None where it knows no context."""
    index = context_column(law)
    if law.analysis is None or index is None:
        return None
    made = law.analysis.fit
    usable = np.flatnonzero(law.analysis.table.usable).tolist()
    reference = min(usable, key=lambda at: records[at].validation.nats)
    row = np.array([law.analysis.table.values[name][reference] for name in made.points.names])
    contexts = np.geomspace(*_ends(made.points.x[:, index]), NUM_DRAWN)
    rows = np.tile(row, (len(contexts), 1))
    rows[:, index] = contexts
    gain = per_doubling(made, rows, index, made.parameters[None])[0]
    drawn = per_doubling(made, rows, index, made.redraws)
    figure = empty_figure(axis_title(CONTEXT), vertical="bits a sample gained by a doubling")
    if len(drawn) > 1:
        low, high = np.percentile(drawn, PERCENTILES, axis=0) / LN2
        band(figure, contexts, low, high, PALETTE[0])
    _gain_line(figure, contexts, gain, PALETTE[0], "context, joint fit")
    caption = f"All else as in run {records[reference].id}; band: 95%."
    if law.sizes is not None:
        other = size_instead_of_context(made, law.sizes, row, contexts)
        if other is not None:
            name, instead = other
            _gain_line(
                figure, contexts, instead, PALETTE[1], f"the same operations on {name}", "dash"
            )
            caption += _crossing(contexts, gain, instead, f"what the same operations buy in {name}")
    caption += _noise_line(figure, contexts, gain, noise)
    figure.update_xaxes(type="log")
    figure.update_yaxes(type="log")
    return Panel("what a doubling of context buys", figure, caption)


def marginal_of_curves(series: Sequence[Series], noise: float | None) -> Panel | None:
    """The same from the curves whose own power laws are determined; None where there is none."""
    laws = [one for one in series if one.axis == CONTEXT and one.law and one.law.determined]
    if not laws:
        return None
    figure = empty_figure(axis_title(CONTEXT), vertical="bits a sample gained by a doubling")
    caption = "Each curve's own power law; bands: 95%."
    for number, one in enumerate(laws):
        assert one.law is not None
        made, colour = one.law.fitted, PALETTE[number % len(PALETTE)]
        contexts = np.geomspace(*_ends(made.points.x[:, 0]), NUM_DRAWN)
        gain = per_doubling(made, contexts[:, None], 0, made.parameters[None])[0]
        drawn = per_doubling(made, contexts[:, None], 0, made.redraws)
        if len(drawn) > 1:
            low, high = np.percentile(drawn, PERCENTILES, axis=0) / LN2
            band(figure, contexts, low, high, colour)
        _gain_line(figure, contexts, gain, colour, f"{one.panel}, {one.label}")
    caption += _noise_line(figure, contexts, gain, noise) if len(laws) == 1 else ""
    figure.update_xaxes(type="log")
    figure.update_yaxes(type="log")
    return Panel("what a doubling of context buys", figure, caption)


def _gain_line(
    figure: go.Figure,
    contexts: Floats,
    gain: Floats,
    colour: str,
    name: str,
    dash: str = "solid",
) -> None:
    line(
        figure,
        contexts,
        gain / LN2,
        colour,
        dash=dash,
        name=name,
        showlegend=True,
        hoverinfo=None,
        hovertemplate="%{y:.4f} bits a doubling at %{x:,.0f} samples<extra></extra>",
    )


def _noise_line(figure: go.Figure, contexts: Floats, gain: Floats, noise: float | None) -> str:
    """The scatter between seeds as a line, and where the gain falls below it, in a sentence."""
    if noise is None:
        return " No configuration was run twice, so the scatter between seeds is not drawn."
    line(
        figure,
        _ends(contexts),
        [bits(noise)] * 2,
        GREY,
        dash="dot",
        name="scatter between seeds",
        showlegend=True,
    )
    return _crossing(contexts, gain, np.full(len(gain), noise), "the scatter between seeds")


def _crossing(contexts: Floats, gain: Floats, other: Floats, what: str) -> str:
    below = np.flatnonzero(gain < other)
    if not len(below):
        return f" Within these contexts it stays above {what}."
    if below[0] == 0:
        return f" It lies below {what} from the shortest context on."
    return f" From {contexts[below[0]]:,.0f} samples on it lies below {what}."


def _ends(values: Floats) -> tuple[float, float]:
    return float(values.min()), float(values.max())
