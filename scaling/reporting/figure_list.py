"""The numbered figures of a report, F1 to F12: each drawn, or the sentence that stands for it."""

from collections.abc import Sequence
from dataclasses import dataclass

from scaling.analysis.series import CONTEXT, Series, name_of
from scaling.analysis.specification_curve import Choice
from scaling.analysis.study_law import StudyLaw
from scaling.reporting import figures_cost, figures_law, figures_learning, figures_loss
from scaling.reporting.drawing import Panel, Plate
from scaling.runs.record import RunRecord


@dataclass(frozen=True)
class Analysed:
    """All that figures are drawn from: sorted records, their curves by axis, and the law.

    ``noise`` is the scatter between seeds in nats; None where no configuration was run twice.
    """

    records: Sequence[RunRecord]
    axes: dict[str, list[Series]]
    law: StudyLaw
    choices: list[Choice]
    noise: float | None


def plates(study: Analysed) -> list[Plate]:
    """All figures in their order."""
    return [
        *_against_axes(study),
        _marginal(study),
        _positions(study),
        _learning(study),
        _equal_budgets(study),
        Plate("F6", "Loss against compute", [figures_cost.compute_panel(study.records)]),
        _chunk(study),
        *_of_law(study),
        _choices(study),
        Plate("F12", "Loss against time", [figures_cost.time_panel(study.records)]),
    ]


def _against_axes(study: Analysed) -> list[Plate]:
    found = []
    for axis, series in study.axes.items():
        title = f"Loss against {name_of(axis)}"
        values = {x for one in series for x in one.positions}
        if len(values) > 1:
            found.append(Plate("F1", title, figures_loss.loss_panels(series)))
        else:
            text = (
                f"Not enough runs for a curve: all of them have {name_of(axis)} "
                f"{min(values):,.6g}. It takes at least two values of it to draw one."
            )
            found.append(Plate("F1", title, missing=text))
    return found


def _marginal(study: Analysed) -> Plate:
    title = "What a doubling of context buys"
    panel = figures_law.marginal_of_law(study.law, study.records, study.noise)
    panel = panel or figures_law.marginal_of_curves(study.axes.get(CONTEXT, []), study.noise)
    if panel:
        return Plate("F2", title, [panel])
    text = (
        "Not enough runs: neither a law of the whole study in context nor a power law of one curve "
        "is determined, so the gain has no curve. The slopes of F1 say what the runs can tell."
    )
    return Plate("F2", title, missing=text)


def _positions(study: Analysed) -> Plate:
    title = "Loss against the context seen, within one run"
    first = next(iter(study.axes.values()))
    found = [
        *figures_loss.context_panels(first),
        *figures_loss.overlaid_panels([run for one in first for run in one.records]),
    ]
    text = "Not enough contexts: no run was scored from several of them."
    return Plate("F3", title, found, "" if found else text)


def _learning(study: Analysed) -> Plate:
    first = next(iter(study.axes.values()))
    floor = study.law.analysis.fit.natural["E"] if study.law.analysis else 0.0
    together = figures_learning.collapsed(study.records, floor)
    found = [*figures_learning.learning_panels(first), *([together[0]] if together else [])]
    return Plate("F4", "Learning curves", found)


def _equal_budgets(study: Analysed) -> Plate:
    title = "Best sizes for a budget"
    law = study.law.analysis
    found: list[Panel] = []
    if law:
        found += figures_cost.profile_panels(law, study.records)
        found += figures_cost.frontier_panels(law.best, law.profiles) if law.best else []
    text = "Not enough runs: " + (" ".join(study.law.notes) or "no runs share a budget.")
    return Plate("F5", title, found, "" if found else text)


def _chunk(study: Analysed) -> Plate:
    panel = figures_cost.chunk_panel(study.law.analysis, study.records)
    text = (
        "Not enough runs: it takes four chunks at one budget, with all else but the length of "
        "training the same."
    )
    title = "Loss against the chunk at equal compute"
    return Plate("F7", title, [panel]) if panel else Plate("F7", title, missing=text)


def _of_law(study: Analysed) -> list[Plate]:
    law = study.law.analysis
    titles = {
        "F8": "Reducible loss, and the held-out runs",
        "F9": "Residuals of the law",
        "F10": "How E and the exponents hang together",
    }
    if law is None:
        text = "Not enough runs: " + " ".join(study.law.notes)
        return [Plate(code, title, missing=text) for code, title in titles.items()]
    drawn = figures_law.redraws(law.fit)
    few = "Not enough configurations to redraw: their intervals are those of the curvature."
    return [
        Plate("F8", titles["F8"], [figures_law.reducible(law, study.records)]),
        Plate("F9", titles["F9"], figures_law.residuals(law)),
        Plate("F10", titles["F10"], drawn, "" if drawn else few),
    ]


def _choices(study: Analysed) -> Plate:
    title = "The law under other choices"
    if any(choice.values for choice in study.choices):
        return Plate("F11", title, figures_cost.choice_panels(study.choices))
    return Plate("F11", title, missing="Not enough runs: " + " ".join(study.law.notes))
