"""What a report says of the law of the whole study: its numbers as plain values, and sentences."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from scaling.analysis.best_sizes import TARGETS
from scaling.analysis.checklist import UNREADABLE, unreadable
from scaling.analysis.specification_curve import Specification, specification_range
from scaling.analysis.study_law import FURTHER, StudyLaw
from scaling.fitting.table_fit import to_json_values
from scaling.runs.record import bits


def law_content(law: StudyLaw, choices: Sequence[Specification]) -> dict[str, Any]:
    """The fit by the names of docs/fitting.md, how it was come to, and what else it might be."""
    content: dict[str, Any] = {
        "columns": law.columns,
        "command": law.command,
        "notes": law.notes,
        "fit": law.content(),
        "choices": [asdict(choice) for choice in choices],
        "spread": specification_range(choices),
        "recommended": _recommended(law),
        "readable": bool(law.analysis and not unreadable(law.analysis.warnings)),
    }
    result: dict[str, Any] = to_json_values(content)
    return result


def _recommended(law: StudyLaw) -> list[dict[str, Any]]:
    """Best sizes at the largest budget that was spent and at multiples of it."""
    if law.analysis is None or law.analysis.best is None:
        return []
    further = law.analysis.best.best[-len(FURTHER) :]
    return [
        {
            "times": factor,
            **asdict(point),
            "loss": {"nats": point.loss, "bits": bits(point.loss)},
            "extrapolation": max(point.reach, point.cost_reach),
        }
        for factor, point in zip(FURTHER, further, strict=True)
    ]


def law_sentences(content: dict[str, Any]) -> list[str]:
    """The law, its held-out test and what it recommends, in sentences of the answer."""
    fit = content["fit"]
    if fit is None:
        return []
    said = [_law(content, fit)]
    if fit["holdout"]:
        said.append(_held_out(fit["holdout"]))
    if content["recommended"] and content["readable"]:
        said.append(_best(content))
    return said


def _law(content: dict[str, Any], fit: dict[str, Any]) -> str:
    exponents = [
        f"{name} {term['exponent']:.3f}{_within(fit['intervals'][f'{name}.exponent'])}"
        for name, term in fit["terms"].items()
        if term.get("exponent") is not None
    ]
    optima = [
        f" The best {name} is {term['optimum']:,.0f}"
        f"{_within(fit['intervals'][f'{name}.optimum'], '{:,.0f}')} at equal targets."
        for name, term in fit["terms"].items()
        if term.get("optimum") is not None
    ]
    floor = ""
    if low_high := fit["intervals"]["E"]:
        floor = f" (95% interval {bits(low_high[0]):.3f} to {bits(low_high[1]):.3f} bits)"
    verdict = (
        ""
        if content["readable"]
        else " It must not be read: "
        + " ".join(one["text"] for one in fit["warnings"] if one["code"] in UNREADABLE)
    )
    return (
        f"Law of the whole study, {fit['n']} runs in {fit['configurations']} configurations: the "
        f"loss falls towards {bits(fit['E']):.3f} bits ({fit['E']:.3f} nats) a sample"
        f"{floor}, with exponents {', '.join(exponents)}.{''.join(optima)}"
        f"{verdict}"
    )


def _held_out(held: dict[str, Any]) -> str:
    inside = held["inside"]
    within = "" if inside is None else f"; {inside} of them lie inside their 95% interval"
    runs = (
        f"The {held['rows']} most expensive runs were"
        if held["rows"] > 1
        else "The most expensive run was"
    )
    return (
        f"{runs} not fitted: the law predicts them with a mean error of "
        f"{100 * held['mean_abs_relative_error']:.2f}%{within}."
    )


def _best(content: dict[str, Any]) -> str:
    point = content["recommended"][1]
    sizes = ", ".join(
        f"{name} {size:,.3g}" if size >= 1e6 else f"{name} {size:,.0f}"
        for name, size in point["sizes"].items()
    )
    seen = "" if TARGETS in content["columns"].values() else " at the targets that were trained"
    return (
        f"For {point['times']:.0f} times the largest budget spent, {point['budget']:.2g} "
        f"operations a run, the lowest loss is expected with {sizes}{seen}: "
        f"{point['loss']['bits']:.3f} bits ({point['loss']['nats']:.3f} nats), "
        f"{point['extrapolation']:.3g} times beyond the runs."
    )


def _within(interval: list[float] | None, form: str = "{:.3f}") -> str:
    if interval is None:
        return ""
    return f" ({form.format(interval[0])} to {form.format(interval[1])})"
