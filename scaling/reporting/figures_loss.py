"""Figures of the loss against a swept axis with its fits, and against the context seen."""

from collections.abc import Hashable, Sequence

import numpy as np

from scaling.analysis.series import CONTEXT, Series, configuration, setting, setting_name, varied
from scaling.reporting.drawing import (
    PALETTE,
    SYMBOLS,
    Chart,
    Panel,
    axis_title,
    colours_of,
    in_bits,
    padded_limits,
    symbol_of,
    tick_label,
)
from scaling.runs.record import ContextLoss, RunRecord, bits, in_both_units

MOST_TICKS = 12
MOST_CAPTIONED = 4  # curves in a caption
NUM_DRAWN = 60  # points along a drawn line
CONTEXTS_CAPTION = (
    "Loss of one run on the held-out targets with fewer samples of context, less its loss with the "
    "longest; bars are paired standard errors. Contexts are the octaves of chunks that it trained."
)


def loss_panels(series: Sequence[Series]) -> list[Panel]:
    """Draw the loss against the axis of the series: panels by depth, colours by label."""
    colours = colours_of([one.label for one in series])
    records = [record for one in series for record in one.records]
    losses = in_bits([record.validation.nats for record in records])
    errors = in_bits([record.validation.standard_error for record in records])
    lines, note = reference_lines(records[0], min(losses), max(losses), max(errors))
    limits = padded_limits([*losses, *lines.values()], 0.06, max(errors))
    panels = []
    for name in dict.fromkeys(one.panel for one in series):
        figure = Chart(axis_title(series[0].axis), limits)
        members = [one for one in series if one.panel == name]
        for offset, one in enumerate(members):
            dodge = 1 + 0.02 * (offset - (len(members) - 1) / 2)
            _draw(figure, one, colours[one.label], SYMBOLS[offset % len(SYMBOLS)], dodge)
        figure.explain_repeats([run for one in members for run in one.records])
        ticks = sorted({value for one in members for value in one.positions})
        if len(ticks) <= MOST_TICKS:
            figure.update_xaxes(tickvals=ticks, ticktext=[tick_label(tick) for tick in ticks])
        figure.draw_references(lines)
        sentences = [*map(_curve_sentence, members[:MOST_CAPTIONED])]
        if len(members) > MOST_CAPTIONED:
            more = len(members) - MOST_CAPTIONED
            sentences.append(f"The table of fits has {more} more curves.")
        panels.append(Panel(name, figure, " ".join([*sentences, note])))
    return panels


def context_panels(series: Sequence[Series]) -> list[Panel]:
    """Draw the excess loss of shorter contexts within single runs: a panel for each depth.

    Each curve gives its run of the longest context; empty if no run trained several contexts.
    """
    colours = colours_of([one.label for one in series])
    longest = [max(one.records, key=lambda run: setting(run, CONTEXT)) for one in series]
    curves = [run.validation.by_context for run in longest]
    drawn = [(one, curve) for one, curve in zip(series, curves, strict=True) if len(curve) > 1]
    heights = [
        bits(score.excess + sign * (score.excess_standard_error or 0))
        for _, scored in drawn
        for score in scored
        for sign in (-1, 1)
    ]
    panels = []
    for name in dict.fromkeys(one.panel for one, _ in drawn):
        vertical = "bits above the longest context"
        figure = Chart(axis_title(CONTEXT), padded_limits(heights, 0.08), vertical)
        figure.update_yaxes(exponentformat="power")
        for one, scored in drawn:
            if one.panel == name:
                _draw_contexts(figure, one, scored, colours[one.label])
        panels.append(Panel(name, figure, CONTEXTS_CAPTION))
    return panels


def overlaid_panels(records: Sequence[RunRecord]) -> list[Panel]:
    """Overlay runs of different contexts, each at all contexts at which it was scored.

    One panel has the runs that differ only in context and seed, from the group with most contexts.
    The list is empty if no run was scored at several contexts.
    """
    others = [key for key in varied(records) if key != CONTEXT]
    groups: dict[tuple[Hashable, ...], dict[int, RunRecord]] = {}
    for run in records:
        if len(run.validation.by_context) > 1:
            groups.setdefault(configuration(run, others), {})[setting(run, CONTEXT)] = run
    if not groups:
        return []
    runs = max(groups.values(), key=len)
    if len(runs) < 2:
        return []
    figure = Chart("samples of context seen")
    for number, (context, run) in enumerate(sorted(runs.items())):
        scored, colour = run.validation.by_context, PALETTE[number % len(PALETTE)]
        figure.draw_points(
            [score.longest for score in scored],
            [score.nats for score in scored],
            [f"trained with {context:,} samples, run {run.id}"] * len(scored),
            colour,
            mode="lines+markers",
            marker={"symbol": SYMBOLS[number % len(SYMBOLS)], "size": 7},
            line={"color": colour, "width": 1.5},
            name=tick_label(context),
        )
    shared = ", ".join(f"{setting_name(key)} {setting(run, key)}" for key in others)
    caption = (
        f"A colour for each context of training{', all with ' + shared if shared else ''}. If a "
        "curve lies above that of a shorter context, training with more context worsened the use "
        "of the near context."
    )
    return [Panel("all contexts overlaid", figure, caption)]


def _draw_contexts(figure: Chart, one: Series, scored: Sequence[ContextLoss], colour: str) -> None:
    """Draw the excess loss of one run at each context, with its paired standard error."""
    errors = in_bits([score.excess_standard_error or 0 for score in scored])
    figure.draw_points(
        [score.longest for score in scored],
        [score.excess for score in scored],
        [f"{one.label}, {score.longest:,} samples" for score in scored],
        colour,
        error_y={"array": errors, "thickness": 1.2},
        mode="lines+markers",
        marker={"size": 6},
        line={"color": colour, "width": 1.5},
        name=one.label,
    )


def _draw(figure: Chart, one: Series, colour: str, symbol: str, dodge: float) -> None:
    """Draw one curve: means of its configurations with error bars, over its line and band."""
    fitted = one.law if one.law and one.law.determined else one.slope
    if fitted:
        x = np.geomspace(min(one.positions), max(one.positions), NUM_DRAWN)
        limits = fitted.band(x)
        if limits:
            figure.draw_band(x, in_bits(limits[0]), in_bits(limits[1]), colour)
        dash = "solid" if fitted is one.law else "dash"
        figure.draw_line(x, in_bits(fitted.at(x)), colour, dash=dash)
    cells: dict[float, list[RunRecord]] = {}
    for position, record in zip(one.positions, one.records, strict=True):
        cells.setdefault(position, []).append(record)
    losses = [float(np.mean([run.validation.nats for run in runs])) for runs in cells.values()]
    figure.draw_points(
        [position * dodge for position in cells],
        losses,
        [
            f"{one.label}, {setting_name(one.axis)} {position:,.6g}, runs: {len(runs)}"
            for position, runs in cells.items()
        ],
        colour,
        error_y={"array": in_bits([*map(_error, cells.values())]), "thickness": 1.2},
        marker={"size": 9, "symbol": [symbol_of(symbol, *runs) for runs in cells.values()]},
        name=one.label,
    )


def _error(runs: Sequence[RunRecord]) -> float:
    """Return the spread of replicates (nats), or the standard error of a single run."""
    losses = [run.validation.nats for run in runs]
    return float(np.std(losses, ddof=1)) if len(runs) > 1 else runs[0].validation.standard_error


def reference_lines(
    record: RunRecord, low: float, high: float, error: float
) -> tuple[dict[str, float], str]:
    """Return the reference lines (bits) that at most double the axis, and a note on the others."""
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
            notes.append(f"The {name}, {in_both_units(nats, 3)}, is {side} the axis.")
    return drawn, " ".join(notes)


def _curve_sentence(one: Series) -> str:
    """Return a sentence on the line of a curve and its slope."""
    if one.slope is None:
        return f"{one.label[0].upper()}{one.label[1:]}: not enough runs for a line."
    low, high = one.slope.interval
    kind = "power law" if one.law and one.law.determined else "straight line"
    return (
        f"{one.label[0].upper()}{one.label[1:]}: {kind} with 95% band; "
        f"{in_both_units(one.slope.per_doubling, sign='+')} a doubling "
        f"({bits(low):+.4f} to {bits(high):+.4f} bits)."
    )
