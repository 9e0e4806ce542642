"""The content of a report as plain JSON values, from which its words and tables are rendered."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from scaling.analysis.best_sizes import TARGETS
from scaling.analysis.context_or_size import Doubling
from scaling.analysis.provenance import count_noun, departures, provenance, setup
from scaling.analysis.series import SEED, Series, setting_name, setting_text
from scaling.analysis.study_law import FURTHER, UNREADABLE, StudyLaw, specification_range
from scaling.fitting.slope import FitError, Slope, fit_slope
from scaling.fitting.table_fit import to_json_values
from scaling.reporting.reproducibility import reproducibility_content
from scaling.reporting.study import Study
from scaling.runs.record import bits, in_both_units

UNFINISHED = ("id", "axes", "state", "step", "steps", "problem")
"""Facts of a run without a record."""


def report_content(study: Study) -> dict[str, Any]:
    """Return all text and numbers of a report; losses in nats and bits a sample."""
    records = study.records
    references = records[0].validation.references
    content: dict[str, Any] = {
        "study": study.name,
        "reproduce": f"python -m scaling report {study.folder}",
        "skipped": list(study.skipped),
        "best": min(study.table, key=lambda row: float(row["nats"])),
        "references": {
            name: _both(getattr(references, name))
            for name in ("linear_on_targets", "linear", "histogram")
        },
        "slopes": {axis: _common_slope(series) for axis, series in study.curves.items()},
        "doublings": [_doubling(one) for one in study.doublings],
        "fits": [_fit(series) for group in study.curves.values() for series in group],
        "law": _law(study.law),
        "noise": _noise(study),
        "checks": [asdict(check) for check in study.checks],
        "setup": setup(records, study.varied),
        "departures": departures(records),
        "axes": study.varied,
        "runs": study.table,
        "planned": study.planned,
        "unfinished": [
            {name: getattr(state, name) for name in UNFINISHED} for state in study.unfinished
        ],
        "provenance": provenance(records),
    }
    content["headlines"] = _headlines(content, study.main_axis)
    content["origins"] = reproducibility_content(study.reproducibility)
    content["context_use"] = [
        probe.model_dump() | {"sentence": probe.sentence} for probe in study.probes
    ]
    return content


def _headlines(content: dict[str, Any], axis: str) -> list[str]:
    """Return the headlines: the best run, the effect of the axis, the law and its best sizes."""
    best, slope, name = content["best"], content["slopes"][axis], setting_name(axis)
    settings = ", ".join(
        f"{setting_name(key)} {setting_text(best[key])}" for key in [*content["axes"], SEED]
    )
    side = "below" if best["margin_bits"] < 0 else "above"
    lines = [
        f"Best of {count_noun(len(content['runs']), 'run')}: {in_both_units(best['nats'], 3)} "
        f"a sample with {settings}. That is {in_both_units(abs(best['margin_nats']), 3)} {side} a "
        "linear AR(32) predictor on the same targets (standard error "
        f"{best['margin_bits_standard_error']:.3f} bits)."
    ]
    law = _law_headlines(content["law"]) or [
        _curves_headline([fit for fit in content["fits"] if fit["axis"] == axis], name)
    ]
    if slope is None:
        text = f"Effect of {name}: not enough runs with different values to estimate it."
        return [*lines, text, *law]
    low, high = slope["interval"]["bits"]
    verdict = "no effect that differs from chance"
    if low > 0 or high < 0:
        verdict = f"more {name} predicts {'better' if high < 0 else 'worse'}"
    lines.append(
        f"Each doubling of {name} changes the loss by "
        f"{in_both_units(slope['per_doubling']['nats'], sign='+')} a sample (95% interval "
        f"{low:+.4f} to {high:+.4f} bits; {slope['configurations']} configurations in "
        f"{slope['groups']} groups): "
        f"{verdict}.{_doublings_sentence(content['doublings'])}"
    )
    return [*lines, *law]


def _doublings_sentence(doublings: Sequence[dict[str, Any]]) -> str:
    """Return a sentence on single doublings of the context, to follow the slope over all."""
    changes = []
    for one in doublings:
        change, error = one["change"], one["standard_error"]["bits"]
        low, high = one["interval"]["bits"]
        beyond = f" ({one['beyond']:.3g} times beyond its runs)" if one["beyond"] > 1 else ""
        changes.append(
            f"from {one['start']:,} to {2 * one['start']:,} samples{beyond} changes the loss by "
            f"{change['bits']:+.4f} \u00b1 {error:.4f} bits ({change['nats']:+.4f} nats; 95% "
            f"interval {low:+.4f} to {high:+.4f} bits)"
        )
    if not changes:
        return ""
    return f" By {doublings[0]['law']}, doubling the context {', and '.join(changes)}."


def _curves_headline(fits: list[dict[str, Any]], name: str) -> str:
    """Return the result of the power laws of one axis, or why none is determined."""
    determined = [fit for fit in fits if fit["law"] and fit["law"]["determined"]]
    if determined:
        first = determined[0]
        text = f"The power law is determined in {len(determined)} of {len(fits)} groups."
        return f"{text} With {first['panel']}, {first['label']}: {first['sentence']}"
    found = [[finding["text"] for finding in fit["findings"]] for fit in fits]
    common = [text for text in found[0] if all(text in texts for texts in found)]
    reasons = " ".join(common) or "The table of fits gives the reason for each group."
    return f"No power law in {name} is determined (0 of {len(fits)} groups). {reasons}"


def _both(nats: float) -> dict[str, float]:
    return {"nats": nats, "bits": bits(nats)}


def _both_ends(interval: tuple[float, float]) -> dict[str, list[float]]:
    return {"nats": list(interval), "bits": [bits(end) for end in interval]}


def _slope(slope: Slope | None) -> dict[str, Any] | None:
    if slope is None:
        return None
    return {
        "per_doubling": _both(slope.per_doubling),
        "interval": _both_ends(slope.interval),
        "configurations": slope.num_configurations,
        "groups": slope.num_groups,
    }


def _doubling(one: Doubling) -> dict[str, Any]:
    return {
        "law": one.law,
        "start": one.start,
        "beyond": one.beyond,
        "change": _both(one.nats),
        "standard_error": _both(one.standard_error),
        "interval": _both_ends(one.interval),
    }


def _common_slope(series: list[Series]) -> dict[str, Any] | None:
    """Return the slope that all curves of an axis share, each with its own level."""
    positions = [x for one in series for x in one.positions]
    groups = [index for index, one in enumerate(series) for _ in one.records]
    try:
        return _slope(fit_slope(positions, [n for one in series for n in one.nats], groups))
    except FitError:
        return None


def _fit(series: Series) -> dict[str, Any]:
    """Return one row of the table of fits, with its points."""
    law = series.law
    return {
        "axis": series.axis,
        "panel": series.panel,
        "label": series.label,
        "points": [
            {"id": run.id, "x": x, **_both(nats)}
            for run, x, nats in zip(series.records, series.positions, series.nats, strict=True)
        ],
        "slope": _slope(series.slope),
        "law": law
        and {
            "determined": law.determined,
            "irreducible": _both(law.irreducible),
            "reducible_at_centre": _both(law.reducible),
            "centre": law.centre,
            "exponent": law.exponent,
            "intervals": {
                "irreducible": _both_ends(law.intervals["irreducible"]),
                "reducible_at_centre": _both_ends(law.intervals["reducible"]),
                "exponent": list(law.intervals["exponent"]),
            }
            if law.intervals
            else None,
            "objective": law.fitted.value,
            "starts_agreeing": law.fitted.starts_agreeing,
        },
        "findings": [asdict(finding) for finding in law.findings] if law else [],
        "sentence": law.sentence if law else " ".join(series.reasons),
    }


def _noise(study: Study) -> dict[str, Any]:
    """Return the scatter between seeds, and the median error of a validation."""
    errors = [run.validation.standard_error for run in study.records]
    between = study.noise and {**_both(study.noise[0]), "degrees_of_freedom": study.noise[1]}
    return {"between_seeds": between, "validation": _both(float(np.median(errors)))}


def _law(law: StudyLaw) -> dict[str, Any]:
    """Return the fit by the names of docs/fitting.md, its specifications and best sizes."""
    content: dict[str, Any] = {
        "columns": law.columns,
        "command": law.command,
        "notes": law.notes,
        "fit": law.analysis and law.analysis.content(),
        "choices": [asdict(one) for one in law.specifications],
        "spread": specification_range(law.specifications),
        "recommended": _recommended(law),
        "readable": law.is_readable,
    }
    result: dict[str, Any] = to_json_values(content)
    return result


def _recommended(law: StudyLaw) -> list[dict[str, Any]]:
    """Return the best sizes at the largest budget of the runs and at multiples of it."""
    if law.analysis is None or law.analysis.best is None:
        return []
    further = law.analysis.best.best[-len(FURTHER) :]
    return [
        {
            "times": factor,
            **asdict(point),
            "loss": _both(point.loss),
            "extrapolation": max(point.reach, point.cost_reach),
        }
        for factor, point in zip(FURTHER, further, strict=True)
    ]


def _law_headlines(content: dict[str, Any]) -> list[str]:
    """Return sentences on the law, its held-out test and its best sizes."""
    fit = content["fit"]
    if fit is None:
        return []
    sentences = [_law_sentence(content, fit)]
    if fit["holdout"]:
        sentences.append(_held_out_sentence(fit["holdout"]))
    if content["recommended"] and content["readable"]:
        sentences.append(_best_sizes_sentence(content))
    return sentences


def _law_sentence(content: dict[str, Any], fit: dict[str, Any]) -> str:
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
        else " It must not be used: "
        + " ".join(one["text"] for one in fit["warnings"] if one["code"] in UNREADABLE)
    )
    return (
        f"Law of the whole study, {fit['n']} runs in {fit['configurations']} configurations: the "
        f"loss falls towards {in_both_units(fit['E'], 3)} a sample"
        f"{floor}, with exponents {', '.join(exponents)}.{''.join(optima)}"
        f"{verdict}"
    )


def _held_out_sentence(held: dict[str, Any]) -> str:
    inside = held["inside"]
    within = "" if inside is None else f"; {inside} of them lie inside their 95% interval"
    runs = (
        f"The {held['rows']} most expensive runs were"
        if held["rows"] > 1
        else "The most expensive run was"
    )
    return (
        f"{runs} held out: the law predicts them with a mean absolute error of "
        f"{100 * held['mean_abs_relative_error']:.2f}%{within}."
    )


def _best_sizes_sentence(content: dict[str, Any]) -> str:
    point = content["recommended"][1]
    sizes = ", ".join(
        f"{name} {size:,.3g}" if size >= 1e6 else f"{name} {size:,.0f}"
        for name, size in point["sizes"].items()
    )
    fixed = "" if TARGETS in content["columns"].values() else " at the targets of the best run"
    return (
        f"For {point['times']:.0f} times the largest budget of the runs, {point['budget']:.2g} "
        f"operations a run, the lowest loss is expected with {sizes}{fixed}: "
        f"{in_both_units(point['loss']['nats'], 3)}, {point['extrapolation']:.3g} times beyond "
        "the runs."
    )


def _within(interval: list[float] | None, form: str = "{:.3f}") -> str:
    if interval is None:
        return ""
    return f" ({form.format(interval[0])} to {form.format(interval[1])})"
