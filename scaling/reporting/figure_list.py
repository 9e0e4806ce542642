"""The numbered figures of a report, F1 to F12, as panels, JSON values and rows of a table."""

from collections.abc import Iterator, Sequence
from typing import Any

from scaling.analysis.series import CONTEXT, setting_name
from scaling.reporting import figures_cost, figures_law, figures_learning, figures_loss
from scaling.reporting.drawing import NumberedFigure, Panel
from scaling.reporting.page import panels_as_json
from scaling.reporting.study import Study


def numbered_figures(study: Study) -> list[NumberedFigure]:
    """Return all figures in their order; a figure that cannot be drawn has a sentence instead."""
    return [
        *_against_axes(study),
        _context_gain(study),
        _contexts_seen(study),
        _learning(study),
        _equal_budgets(study),
        NumberedFigure("F6", "Loss against compute", [figures_cost.compute_panel(study.records)]),
        _chunk(study),
        *_law_figures(study),
        NumberedFigure("F12", "Loss against time", [figures_cost.time_panel(study.records)]),
    ]


def _against_axes(study: Study) -> list[NumberedFigure]:
    found = []
    for axis, series in study.curves.items():
        values = {x for one in series for x in one.positions}
        missing = (
            f"Not enough runs for a curve: all of them have {setting_name(axis)} "
            f"{min(values):,.6g}. A curve needs at least two values."
        )
        panels = figures_loss.loss_panels(series) if len(values) > 1 else []
        found.append(NumberedFigure("F1", f"Loss against {setting_name(axis)}", panels, missing))
    return found


def _context_gain(study: Study) -> NumberedFigure:
    curves = study.curves.get(CONTEXT, [])
    panels = figures_law.gain_panels_by_law(study.law, study.records, study.seed_noise)
    panels = panels or figures_law.gain_panels_by_curves(curves, study.seed_noise)
    missing = (
        "Not enough runs: neither a law of the whole study with the context nor a power law of one "
        "curve is determined. The captions of F1 give the slopes."
    )
    return NumberedFigure("F2", "Gain of a doubled context", panels, missing)


def _contexts_seen(study: Study) -> NumberedFigure:
    series = study.curves[study.main_axis]
    panels = figures_loss.context_panels(series)
    panels += figures_loss.overlaid_panels([run for one in series for run in one.records])
    missing = "Not enough contexts: no run was scored at several contexts."
    return NumberedFigure("F3", "Loss against the context seen, within one run", panels, missing)


def _learning(study: Study) -> NumberedFigure:
    floor = study.law.analysis.fit.named_parameters["E"] if study.law.analysis else 0.0
    panels = figures_learning.learning_panels(study.curves[study.main_axis])
    panels += figures_learning.collapsed_panels(study.records, floor)
    return NumberedFigure("F4", "Learning curves", panels)


def _equal_budgets(study: Study) -> NumberedFigure:
    law = study.law.analysis
    panels: list[Panel] = []
    if law:
        panels += figures_cost.profile_panels(law, study.records, study.budgets("shape"))
        panels += figures_cost.frontier_panels(law.best, law.profiles) if law.best else []
    missing = "Not enough runs: " + (" ".join(study.law.notes) or "no runs share a budget.")
    return NumberedFigure("F5", "Best sizes for a budget", panels, missing)


def _chunk(study: Study) -> NumberedFigure:
    panels = figures_cost.chunk_panels(study.law.analysis, study.records, study.budgets("chunk"))
    missing = (
        "Not enough runs: this figure needs four chunks at one budget, with equal settings except "
        "the length of training."
    )
    return NumberedFigure("F7", "Loss against the chunk at equal compute", panels, missing)


def _law_figures(study: Study) -> list[NumberedFigure]:
    law, specifications = study.law.analysis, study.law.specifications
    missing = few = "Not enough runs: " + " ".join(study.law.notes)
    reducible: list[Panel] = []
    residuals: list[Panel] = []
    exponents: list[Panel] = []
    if law:
        few = "Not enough configurations for a bootstrap: intervals follow from the curvature."
        reducible = [figures_law.reducible_panel(law, study.records)]
        residuals = figures_law.residual_panels(law)
        exponents = figures_law.exponent_panels(law.fit)
    others = any(one.values for one in specifications)
    choices = figures_law.specification_panels(specifications) if others else []
    return [
        NumberedFigure("F8", "Reducible loss, and the held-out runs", reducible, missing),
        NumberedFigure("F9", "Residuals of the law", residuals, missing),
        NumberedFigure("F10", "E against the exponents", exponents, few),
        NumberedFigure("F11", "The law under other choices", choices, missing),
    ]


def figures_as_json(figures: Sequence[NumberedFigure]) -> list[dict[str, Any]]:
    """Return figures as plain JSON values; ``first`` is true for the first one of its code."""
    return [
        {
            "code": figure.code,
            "first": figure.code not in [other.code for other in figures[:at]],
            "title": figure.title,
            "panels": panels_as_json(figure.panels),
            "missing": "" if figure.panels else figure.missing,
        }
        for at, figure in enumerate(figures)
    ]


def figure_rows(figures: Sequence[NumberedFigure]) -> list[dict[str, Any]]:
    """Return each drawn point as a row of a table, in the units of its axes."""
    return list(_drawn_rows(figures)) or [{"figure": None}]


def _drawn_rows(figures: Sequence[NumberedFigure]) -> Iterator[dict[str, Any]]:
    for figure in figures:
        for panel in figure.panels:
            axes = panel.figure.layout.xaxis.title.text, panel.figure.layout.yaxis.title.text
            for number, trace in enumerate(panel.figure.data):
                error = getattr(trace, "error_y", None)
                errors = error.array if error is not None and error.array is not None else None
                for at, (x, y) in enumerate(zip(trace.x, trace.y, strict=True)):
                    yield {
                        "figure": figure.code,
                        "panel": panel.title,
                        "trace": number,
                        "name": trace.name or ("band" if trace.fill else trace.mode),
                        "x": x,
                        "y": y,
                        "error": None if errors is None else errors[at],
                        "x_axis": axes[0],
                        "y_axis": axes[1],
                    }
