"""The numbered figures of a report, F1 to F12: each drawn, or the sentence that stands for it."""

from collections.abc import Sequence
from dataclasses import dataclass

from scaling.analysis.series import CONTEXT, Series, setting_name
from scaling.analysis.specification_curve import Specification
from scaling.analysis.study_law import StudyLaw
from scaling.reporting import figures_cost, figures_law, figures_learning, figures_loss
from scaling.reporting.drawing import NumberedFigure, Panel
from scaling.runs.record import RunRecord


@dataclass(frozen=True)
class StudyAnalysis:
    """All that figures are drawn from: sorted records, their curves by axis, and the law.

    ``noise`` is the scatter between seeds in nats; None where no configuration was run twice.
    """

    records: Sequence[RunRecord]
    axes: dict[str, list[Series]]
    law: StudyLaw
    choices: list[Specification]
    noise: float | None


def numbered_figures(study: StudyAnalysis) -> list[NumberedFigure]:
    """All figures in their order."""
    return [
        *_against_axes(study),
        _marginal(study),
        _positions(study),
        _learning(study),
        _equal_budgets(study),
        NumberedFigure("F6", "Loss against compute", [figures_cost.compute_panel(study.records)]),
        _chunk(study),
        *_of_law(study),
        _choices(study),
        NumberedFigure("F12", "Loss against time", [figures_cost.time_panel(study.records)]),
    ]


def _against_axes(study: StudyAnalysis) -> list[NumberedFigure]:
    found = []
    for axis, series in study.axes.items():
        title = f"Loss against {setting_name(axis)}"
        values = {x for one in series for x in one.positions}
        if len(values) > 1:
            found.append(NumberedFigure("F1", title, figures_loss.loss_panels(series)))
        else:
            text = (
                f"Not enough runs for a curve: all of them have {setting_name(axis)} "
                f"{min(values):,.6g}. It takes at least two values of it to draw one."
            )
            found.append(NumberedFigure("F1", title, missing=text))
    return found


def _marginal(study: StudyAnalysis) -> NumberedFigure:
    title = "What a doubling of context buys"
    panel = figures_law.marginal_of_law(study.law, study.records, study.noise)
    panel = panel or figures_law.marginal_of_curves(study.axes.get(CONTEXT, []), study.noise)
    if panel:
        return NumberedFigure("F2", title, [panel])
    text = (
        "Not enough runs: neither a law of the whole study in context nor a power law of one curve "
        "is determined, so the gain has no curve. The slopes of F1 say what the runs can tell."
    )
    return NumberedFigure("F2", title, missing=text)


def _positions(study: StudyAnalysis) -> NumberedFigure:
    title = "Loss against the context seen, within one run"
    first = next(iter(study.axes.values()))
    found = [
        *figures_loss.context_panels(first),
        *figures_loss.overlaid_panels([run for one in first for run in one.records]),
    ]
    text = "Not enough contexts: no run was scored from several of them."
    return NumberedFigure("F3", title, found, "" if found else text)


def _learning(study: StudyAnalysis) -> NumberedFigure:
    first = next(iter(study.axes.values()))
    floor = study.law.analysis.fit.named_parameters["E"] if study.law.analysis else 0.0
    together = figures_learning.collapsed(study.records, floor)
    found = [*figures_learning.learning_panels(first), *([together[0]] if together else [])]
    return NumberedFigure("F4", "Learning curves", found)


def _equal_budgets(study: StudyAnalysis) -> NumberedFigure:
    title = "Best sizes for a budget"
    law = study.law.analysis
    found: list[Panel] = []
    if law:
        found += figures_cost.profile_panels(law, study.records)
        found += figures_cost.frontier_panels(law.best, law.profiles) if law.best else []
    text = "Not enough runs: " + (" ".join(study.law.notes) or "no runs share a budget.")
    return NumberedFigure("F5", title, found, "" if found else text)


def _chunk(study: StudyAnalysis) -> NumberedFigure:
    panel = figures_cost.chunk_panel(study.law.analysis, study.records)
    text = (
        "Not enough runs: it takes four chunks at one budget, with all else but the length of "
        "training the same."
    )
    title = "Loss against the chunk at equal compute"
    return (
        NumberedFigure("F7", title, [panel]) if panel else NumberedFigure("F7", title, missing=text)
    )


def _of_law(study: StudyAnalysis) -> list[NumberedFigure]:
    law = study.law.analysis
    titles = {
        "F8": "Reducible loss, and the held-out runs",
        "F9": "Residuals of the law",
        "F10": "How E and the exponents hang together",
    }
    if law is None:
        text = "Not enough runs: " + " ".join(study.law.notes)
        return [NumberedFigure(code, title, missing=text) for code, title in titles.items()]
    drawn = figures_law.exponent_panels(law.fit)
    few = "Not enough configurations to redraw: their intervals are those of the curvature."
    return [
        NumberedFigure("F8", titles["F8"], [figures_law.reducible(law, study.records)]),
        NumberedFigure("F9", titles["F9"], figures_law.residuals(law)),
        NumberedFigure("F10", titles["F10"], drawn, "" if drawn else few),
    ]


def _choices(study: StudyAnalysis) -> NumberedFigure:
    title = "The law under other choices"
    if any(choice.values for choice in study.choices):
        return NumberedFigure("F11", title, figures_cost.choice_panels(study.choices))
    return NumberedFigure("F11", title, missing="Not enough runs: " + " ".join(study.law.notes))
