"""Figures of the law of a study: reducible loss, residuals, redraws, specifications, gains."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.special import ndtri

from scaling.analysis.context_or_size import per_doubling, size_instead_of_context
from scaling.analysis.series import CONTEXT, Series
from scaling.analysis.study_law import Specification, StudyLaw
from scaling.fitting.fit import Fit
from scaling.fitting.slope import Floats
from scaling.fitting.table_fit import TableFit
from scaling.fitting.uncertainty import PERCENTILES
from scaling.reporting.drawing import (
    GREY,
    PALETTE,
    SYMBOLS,
    Chart,
    Panel,
    axis_title,
    in_bits,
    symbol_of,
)
from scaling.runs.record import RunRecord, bits, in_both_units

NUM_DRAWN = 40  # points along a drawn line


def reducible_panel(law: TableFit, records: Sequence[RunRecord]) -> Panel:
    """Draw the loss above E against compute, with fitted runs filled and held-out runs open."""
    floor = law.fit.named_parameters["E"]
    figure = Chart("operations, forward and backward", vertical="bits a sample above E", log="xy")
    errors: list[str] = []
    for fitted, name in ((True, "fitted"), (False, "held out")):
        chosen = np.flatnonzero(law.table.fitted if fitted else law.table.held_out).tolist()
        if not len(chosen):
            continue
        hover_text = [f"run {records[at].id}, {name}" for at in chosen]
        if not fitted and law.held_out:
            errors = [f"{error:+.2%}" for error in law.held_out.relative_errors]
            hover_text = [
                f"{text}, predicted less measured {error}"
                for text, error in zip(hover_text, errors, strict=True)
            ]
        figure.draw_points(
            [records[at].operations.total for at in chosen],
            [records[at].validation.nats - floor for at in chosen],
            hover_text,
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
    figure.explain_repeats([records[at] for at in np.flatnonzero(law.table.usable).tolist()])
    note = _draw_best_losses(figure, law, records, floor)
    figure.update_xaxes(exponentformat="power")
    off = f" Held out, predicted less measured: {', '.join(errors)}." if errors else ""
    return Panel("reducible loss", figure, f"E is {in_both_units(floor, 3)}.{off}{note}")


def _draw_best_losses(
    figure: Chart, law: TableFit, records: Sequence[RunRecord], floor: float
) -> str:
    """Draw the lowest loss above E at each budget, and return a sentence for the caption."""
    if not law.best:
        return ""
    best = sorted(law.best.best, key=lambda point: point.budget)
    dearest = max(records[at].operations.total for at in np.flatnonzero(law.table.fitted).tolist())
    for beyond in (False, True):
        part = [point for point in best if (point.budget > dearest) == beyond]
        part = [best[len(best) - len(part) - 1], *part] if beyond else part
        figure.draw_line(
            [point.budget for point in part],
            in_bits([point.loss - floor for point in part]),
            PALETTE[2],
            dash="dash" if beyond else "solid",
            name="best sizes" + (", extrapolated" if beyond else ""),
            showlegend=True,
        )
    return " Line: the lowest loss at each budget by the fit, dashed beyond its runs."


def residual_panels(law: TableFit) -> list[Panel]:
    """Draw relative residuals of the fitted runs against each column and a normal distribution."""
    made = law.fit
    relative = 100 * (made.predicted / made.points.loss - 1)
    deviation = float(relative.std(ddof=1))
    panels = []
    for index, name in enumerate(made.points.names):
        figure = Chart(name, vertical="predicted less measured, %")
        _draw_residuals(
            figure,
            made.points.x[:, index],
            relative,
            {"color": PALETTE[index % len(PALETTE)], "size": 6, "opacity": 0.6},
            ",.6g",
        )
        figure.add_hline(0, line={"color": GREY, "width": 1})
        trend = float(np.corrcoef(made.points.position[:, index], relative)[0, 1])
        caption = f"Correlation with the logarithm of {name}: {trend:+.2f}."
        panels.append(Panel(f"against {name}", figure, caption))
    ranks = (np.arange(len(relative)) + 0.5) / len(relative)
    normal = ndtri(ranks)
    figure = Chart("standard normal", vertical="predicted less measured, %", log="")
    marker = {"color": PALETTE[0], "size": 6, "opacity": 0.7}
    _draw_residuals(figure, normal, np.sort(relative), marker, ".2f")
    figure.draw_line([normal[0], normal[-1]], [deviation * normal[0], deviation * normal[-1]], GREY)
    caption = f"Line: a normal distribution with their standard deviation, {deviation:.3f}%."
    return [*panels, Panel("against a normal distribution", figure, caption)]


def _draw_residuals(
    figure: Chart, x: Floats, relative: Floats, marker: dict[str, Any], form: str
) -> None:
    figure.add_scatter(
        x=x.tolist(),
        y=relative.tolist(),
        mode="markers",
        marker=marker,
        hovertemplate=f"%{{y:+.3f}}% at %{{x:{form}}}<extra></extra>",
        showlegend=False,
    )


def exponent_panels(made: Fit) -> list[Panel]:
    """Draw E against each exponent over the redrawn configurations; empty without redraws."""
    if len(made.redraws) < 2:
        return []
    values = made.form.named_parameters(made.redraws, made.points.centres)
    panels = []
    for index, name in enumerate(made.form.terms):
        exponent = values[f"{name}.exponent"]
        figure = Chart(f"exponent of {name}", vertical="E, bits a sample", log="")
        figure.draw_points(
            exponent,
            values["E"],
            ["redraw"] * len(exponent),
            PALETTE[index % len(PALETTE)],
            marker={"symbol": SYMBOLS[index % len(SYMBOLS)], "size": 5, "opacity": 0.5},
            showlegend=False,
        )
        figure.draw_points(
            [made.named_parameters[f"{name}.exponent"]],
            [made.named_parameters["E"]],
            ["fit"],
            GREY,
            marker={"symbol": "x", "size": 11},
            showlegend=False,
        )
        correlation = float(np.corrcoef(exponent, values["E"])[0, 1])
        caption = (
            f"{len(exponent)} redraws; the cross is the fit. Correlation {correlation:+.2f}: near "
            "1 or -1, neither can be read alone."
        )
        panels.append(Panel(f"E and the exponent of {name}", figure, caption))
    return panels


def gain_panels_by_law(
    law: StudyLaw, records: Sequence[RunRecord], noise: float | None
) -> list[Panel]:
    """Draw the gain of one more doubling of context by the joint fit; empty without a context."""
    index = law.context_column
    if law.analysis is None or index is None:
        return []
    made = law.analysis.fit
    usable = np.flatnonzero(law.analysis.table.usable).tolist()
    reference = min(usable, key=lambda at: records[at].validation.nats)
    row = np.array([law.analysis.table.values[name][reference] for name in made.points.names])
    figure = _gain_figure()
    contexts, gain = _draw_gain(figure, made, row, index, PALETTE[0], "context, joint fit")
    caption = f"Other settings as in run {records[reference].id}; band: 95%."
    other = None if law.sizes is None else size_instead_of_context(made, law.sizes, row, contexts)
    if other is not None:
        name, instead = other
        _gain_line(figure, contexts, instead, PALETTE[1], f"the same operations on {name}", "dash")
        caption += _crossing(
            contexts, gain, instead, f"that of the same operations spent on {name}"
        )
    caption += _noise_line(figure, contexts, gain, noise)
    return [Panel("gain of a doubled context", figure, caption)]


def gain_panels_by_curves(series: Sequence[Series], noise: float | None) -> list[Panel]:
    """Draw the same gain by the determined power laws of single curves; empty without any."""
    laws = [
        (one, one.law.fitted)
        for one in series
        if one.axis == CONTEXT and one.law and one.law.determined
    ]
    if not laws:
        return []
    figure = _gain_figure()
    caption = "The power law of each curve; bands: 95%."
    for number, (one, made) in enumerate(laws):
        colour, name = PALETTE[number % len(PALETTE)], f"{one.panel}, {one.label}"
        contexts, gain = _draw_gain(figure, made, made.points.x[0], 0, colour, name)
    caption += _noise_line(figure, contexts, gain, noise) if len(laws) == 1 else ""
    return [Panel("gain of a doubled context", figure, caption)]


def _gain_figure() -> Chart:
    return Chart(axis_title(CONTEXT), vertical="bits a sample gained by a doubling", log="xy")


def _draw_gain(
    figure: Chart, made: Fit, row: Floats, index: int, colour: str, name: str
) -> tuple[Floats, Floats]:
    """Draw the gain of a doubled context with its band, all else as in ``row``.

    Returns the contexts (samples) and the gains (nats), both of shape (NUM_DRAWN,).
    """
    fitted = made.points.x[:, index]
    contexts = np.geomspace(fitted.min(), fitted.max(), NUM_DRAWN)
    rows = np.tile(row, (len(contexts), 1))
    rows[:, index] = contexts
    gain = per_doubling(made, rows, index, made.parameters[None])[0]
    drawn = per_doubling(made, rows, index, made.redraws)
    if len(drawn) > 1:
        low, high = np.percentile(drawn, PERCENTILES, axis=0)
        figure.draw_band(contexts, in_bits(low), in_bits(high), colour)
    _gain_line(figure, contexts, gain, colour, name)
    return contexts, gain


def _gain_line(
    figure: Chart, contexts: Floats, gain: Floats, colour: str, name: str, dash: str = "solid"
) -> None:
    figure.draw_line(
        contexts,
        in_bits(gain),
        colour,
        dash=dash,
        name=name,
        showlegend=True,
        hoverinfo=None,
        hovertemplate="%{y:.4f} bits a doubling at %{x:,.0f} samples<extra></extra>",
    )


def _noise_line(figure: Chart, contexts: Floats, gain: Floats, noise: float | None) -> str:
    """Draw the scatter between seeds, and return a sentence on where the gain falls below it."""
    if noise is None:
        return " No configuration was run twice, so the scatter between seeds is unknown."
    figure.draw_line(
        [contexts[0], contexts[-1]],
        [bits(noise)] * 2,
        GREY,
        dash="dot",
        name="scatter between seeds",
        showlegend=True,
    )
    return _crossing(contexts, gain, np.full(len(gain), noise), "the scatter between seeds")


def _crossing(contexts: Floats, gain: Floats, other: Floats, name: str) -> str:
    """Return a sentence on where the gain falls below another one."""
    below = np.flatnonzero(gain < other)
    if not len(below):
        return f" The gain is above {name} at all these contexts."
    if below[0] == 0:
        return f" The gain is below {name} from the shortest context on."
    return f" The gain is below {name} from {contexts[below[0]]:,.0f} samples on."


def specification_panels(found: Sequence[Specification]) -> list[Panel]:
    """Draw E and each exponent under every specification, in the order of their size."""
    made = [one for one in found if one.values]
    panels = []
    for key in made[0].values:
        ordered = sorted(made, key=lambda one: one.values[key])
        values = [bits(one.values[key]) if key == "E" else one.values[key] for one in ordered]
        title = "E, bits a sample" if key == "E" else key.replace(".", ", ")
        figure = Chart(title, vertical="", log="")
        for reported in (False, True):
            chosen = [at for at, one in enumerate(ordered) if (one is made[0]) == reported]
            ends = [interval[1] if (interval := one.intervals[key]) else None for one in ordered]
            if key == "E":
                ends = [None if end is None else bits(end) for end in ends]
            errors = [
                0 if end is None else end - value for end, value in zip(ends, values, strict=True)
            ]
            figure.add_scatter(
                x=[values[at] for at in chosen],
                y=[ordered[at].name for at in chosen],
                error_x={"array": [errors[at] for at in chosen], "thickness": 1.2},
                mode="markers",
                marker={
                    "color": PALETTE[1] if reported else PALETTE[0],
                    "symbol": "diamond" if reported else "circle",
                    "size": 9,
                },
                hovertemplate="%{y}: %{x:.4f}<extra></extra>",
                showlegend=False,
            )
        names = [one.name for one in ordered]
        figure.update_yaxes(
            title=None, categoryorder="array", categoryarray=names, nticks=len(names) + 1
        )
        figure.update_layout(margin={"l": 190, "r": 18, "t": 10, "b": 56})
        caption = (
            f"From {values[0]:.4f} to {values[-1]:.4f} over {len(ordered)} choices; diamond: as "
            "reported. Bars: 95% Wald intervals."
        )
        panels.append(Panel(key.replace(".exponent", ", exponent"), figure, caption))
    return panels
