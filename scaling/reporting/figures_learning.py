"""Figures of learning curves: of each run, and of all runs on one scale to expose outliers."""

from collections.abc import Sequence

import numpy as np

from scaling.analysis.series import SEED, Series, setting, setting_name, setting_text
from scaling.reporting.drawing import (
    GREY,
    HOVER,
    PALETTE,
    Chart,
    Panel,
    colours_of,
    in_bits,
    padded_limits,
)
from scaling.reporting.figures_loss import reference_lines
from scaling.runs.record import CurvePoint, RunRecord, in_both_units

STRETCHES = 8  # of a run, over which its training loss is averaged
MOST_WITH_TRAINING = 60  # runs in a figure: with more, only validation is drawn
OUTLYING = 8.0  # median deviations from the median run, half-way through the training
LEAST_APART = 0.02  # of the collapsed scale: closer runs are no outliers


def learning_panels(series: Sequence[Series]) -> list[Panel]:
    """Draw validation and training loss against the targets seen: a panel for each depth."""
    colours = colours_of([one.label for one in series])
    records = [record for one in series for record in one.records]
    points = [
        point
        for record in records
        for point in (*record.validation_curve, *_smoothed(record.training_curve))
    ]
    heights = in_bits([point.nats for point in points])
    lines, note = reference_lines(records[0], min(heights), max(heights), 0.0)
    limits = padded_limits([*heights, *lines.values()], 0.08)
    with_training = len(records) <= MOST_WITH_TRAINING
    training = f"dotted: training, averaged over {STRETCHES} stretches of the run."
    kinds = f"Thick: validation; {training}" if with_training else "Validation losses."
    panels = []
    for name in dict.fromkeys(one.panel for one in series):
        figure = Chart("targets seen", limits, log="")
        members = [one for one in series if one.panel == name]
        for one in members:
            _draw(figure, one, colours[one.label], with_training)
        figure.draw_references(lines)
        ends = ", ".join(f"{one.label} ends at {one.losses}" for one in members)
        caption = f"{kinds} {ends[0].upper()}{ends[1:]}. {note}"
        panels.append(Panel(name, figure, caption))
    return panels


def collapsed_panels(records: Sequence[RunRecord], floor: float) -> list[Panel]:
    """Draw all runs as shares of their length and reducible loss, with the outliers coloured.

    ``floor`` is the irreducible loss (nats), 0 if it is unknown. The list is empty if no run was
    validated twice.
    """
    drawn = [run for run in records if len(run.validation_curve) > 1]
    if not drawn:
        return []
    shares = [
        (
            [point.targets / run.targets.seen for point in run.validation_curve],
            [
                (point.nats - floor) / (run.validation.nats - floor)
                for point in run.validation_curve
            ],
        )
        for run in drawn
    ]
    middles = np.array([np.interp(0.5, x, y) for x, y in shares])
    apart = np.abs(middles - np.median(middles))
    limit = max(OUTLYING * float(np.median(apart)), LEAST_APART)
    vertical = "reducible loss over its last value"
    figure = Chart("share of the run's targets", vertical=vertical, log="xy")
    outliers = [run.id for run, far in zip(drawn, apart > limit, strict=True) if far]
    for far in (False, True):
        x: list[float | None] = []
        y: list[float | None] = []
        hover_text: list[str] = []
        for run, (across, up) in zip(drawn, shares, strict=True):
            if (run.id in outliers) == far:
                x += [*across, None]
                y += [*up, None]
                hover_text += [f"run {run.id}"] * (len(across) + 1)
        figure.add_scatter(
            x=x,
            y=y,
            customdata=hover_text,
            mode="lines",
            line={"color": PALETTE[1] if far else GREY, "width": 2 if far else 1},
            opacity=1.0 if far else 0.45,
            hovertemplate="%{y:.4f} at %{x:.3f}<br>%{customdata}<extra></extra>",
            name="outliers" if far else "other runs",
        )
    verdict = (
        f"Outliers (coloured), half-way more than {OUTLYING:g} median deviations from the median: "
        f"{', '.join(outliers)}."
        if outliers
        else "No run is an outlier."
    )
    over = f"above E = {in_both_units(floor, 3)}" if floor else "in full, because E is unknown"
    caption = f"{len(drawn)} runs; the loss {over}. {verdict}"
    return [Panel("all runs, collapsed", figure, caption)]


def _draw(figure: Chart, one: Series, colour: str, training: bool) -> None:
    """Draw the learning curves of one series as one trace, with gaps between runs."""
    kinds = [("validation", "solid", [run.validation_curve for run in one.records])]
    if training:
        curves = [_smoothed(run.training_curve) for run in one.records]
        kinds.insert(0, ("training", "dot", curves))
    for kind, dash, all_points in kinds:
        x: list[float | None] = []
        y: list[float | None] = []
        hover_text: list[tuple[float, str] | None] = []
        for record, points in zip(one.records, all_points, strict=True):
            axis = f"{setting_name(one.axis)} {setting_text(setting(record, one.axis))}"
            run = f"{kind}, {one.label}, {axis}, {SEED} {record.config[SEED]}<br>run {record.id}"
            x += [*(point.targets for point in points), None]
            y += [*in_bits([point.nats for point in points]), None]
            hover_text += [*((point.nats, run) for point in points), None]
        figure.add_scatter(
            x=x,
            y=y,
            customdata=hover_text,
            hovertemplate=HOVER,
            mode="lines",
            line={"color": colour, "width": 1 if dash == "dot" else 2, "dash": dash},
            opacity=0.6 if dash == "dot" else 0.9,
            name=one.label,
            legendgroup=one.label,
            showlegend=kind == "validation",
        )


def _smoothed(curve: Sequence[CurvePoint]) -> list[CurvePoint]:
    """Average a curve over stretches, because single steps scatter far beyond the trend."""
    stretches = np.array_split(np.arange(len(curve)), min(STRETCHES, len(curve)))
    return [
        curve[stretch[-1]].model_copy(
            update={"nats": float(np.mean([curve[index].nats for index in stretch]))}
        )
        for stretch in stretches
    ]
