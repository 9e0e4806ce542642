"""All that a report says, as plain JSON values: the page's words and tables are made from these."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from scaling.analysis.checklist import checklist
from scaling.analysis.context_or_size import Doubling, longest_doublings
from scaling.analysis.provenance import count_noun, departures, provenance, setup
from scaling.analysis.records import rows
from scaling.analysis.series import (
    CONTEXT,
    SEED,
    Series,
    configuration,
    setting_name,
    setting_text,
    varied,
)
from scaling.analysis.study_law import StudyLaw
from scaling.fitting.slope import FitError, Slope, fit_slope, replicate_noise
from scaling.planning.planned_and_measured import planned_content
from scaling.reporting.figure_list import StudyAnalysis
from scaling.reporting.law_content import law_content, law_sentences
from scaling.runs.record import RunRecord, bits
from scaling.runs.study import STUDY_NAME, read_states


def unfinished_runs(folder: Path, records: Sequence[RunRecord]) -> list[dict[str, Any]]:
    """Runs that the study's folder names and that have no record: state, axes, and why."""
    if not (folder / STUDY_NAME).exists():
        return []
    done = {run.id for run in records}
    return [
        {
            "id": state.id,
            "axes": state.axes,
            "state": state.state,
            "step": state.step,
            "steps": state.steps,
            "problem": state.problem,
        }
        for state in read_states(folder)
        if state.id not in done
    ]


def run_usage(records: Sequence[RunRecord], law: StudyLaw) -> list[str]:
    """For each sorted record, what the law of the whole study did with it."""
    if law.analysis is None:
        return ["single curves only"] * len(records)
    table = law.analysis.table
    return [
        "fitted" if fitted else "held out" if held else "left aside"
        for fitted, held in zip(table.fitted.tolist(), table.held_out.tolist(), strict=True)
    ]


def report_content(study: StudyAnalysis, lost: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """All that the report says, as plain JSON values; losses in nats and bits a sample.

    ``lost`` are the runs of the study that did not finish.
    """
    records, axes = study.records, study.axes
    keys = varied(records)
    table = [
        row | {"used": used}
        for row, used in zip(rows(records), run_usage(records, study.law), strict=True)
    ]
    best = min(table, key=lambda row: float(row["nats"]))
    references = records[0].validation.references
    content: dict[str, Any] = {
        "best": best,
        "references": {
            name: _both(getattr(references, name))
            for name in ("linear_on_targets", "linear", "histogram")
        },
        "slopes": {axis: _common_slope(series) for axis, series in axes.items()},
        "doublings": [
            _doubling(one) for one in longest_doublings(study.law, axes.get(CONTEXT, []))
        ],
        "fits": [_fit(series) for group in axes.values() for series in group],
        "law": law_content(study.law, study.choices),
        "noise": _noise(records, keys),
        "checks": [
            asdict(check)
            for check in checklist(records, study.law.analysis, study.noise, len(lost))
        ],
        "setup": setup(records, keys),
        "departures": departures(records),
        "axes": keys,
        "runs": table,
        "planned": planned_content(records),
        "unfinished": list(lost),
        "provenance": provenance(records),
    }
    content["headlines"] = _headlines(content, next(iter(axes)))
    return content


def _headlines(content: dict[str, Any], axis: str) -> list[str]:
    """The answer: the best run, what the axis buys, what the law says and recommends."""
    best, slope, name = content["best"], content["slopes"][axis], setting_name(axis)
    where = ", ".join(
        f"{setting_name(key)} {setting_text(best[key])}" for key in [*content["axes"], SEED]
    )
    side = "below" if best["margin_bits"] < 0 else "above"
    lines = [
        f"Best of {count_noun(len(content['runs']), 'run')}: {best['bits']:.3f} bits "
        f"({best['nats']:.3f} nats) a sample with {where}; that is "
        f"{abs(best['margin_bits']):.3f} bits "
        f"({abs(best['margin_nats']):.3f} nats) {side} a linear AR(32) predictor on the same "
        f"targets (standard error {best['margin_bits_standard_error']:.3f} bits)."
    ]
    law = law_sentences(content["law"]) or [
        _law_headline([fit for fit in content["fits"] if fit["axis"] == axis], name)
    ]
    if slope is None:
        text = f"What {name} buys: not enough runs with different values of it to tell."
        return [*lines, text, *law]
    low, high = slope["interval"]["bits"]
    verdict = "no effect that these runs can tell from chance"
    if low > 0 or high < 0:
        verdict = f"more {name} predicts {'better' if high < 0 else 'worse'}"
    lines.append(
        f"Each doubling of {name} changes the loss by {slope['per_doubling']['bits']:+.4f} bits "
        f"({slope['per_doubling']['nats']:+.4f} nats) a sample (95% interval {low:+.4f} to "
        f"{high:+.4f} bits; {slope['configurations']} configurations in {slope['groups']} groups): "
        f"{verdict}.{_doublings_said(content['doublings'])}"
    )
    return [*lines, *law]


def _doublings_said(doublings: Sequence[dict[str, Any]]) -> str:
    """What the law says of single doublings of the context, after the slope over all of them."""
    said = []
    for one in doublings:
        change, error = one["change"], one["standard_error"]["bits"]
        low, high = one["interval"]["bits"]
        beyond = f" ({one['beyond']:.3g} times beyond its runs)" if one["beyond"] > 1 else ""
        said.append(
            f"from {one['start']:,} to {2 * one['start']:,} samples{beyond} changes the loss by "
            f"{change['bits']:+.4f} \u00b1 {error:.4f} bits ({change['nats']:+.4f} nats; 95% "
            f"interval {low:+.4f} to {high:+.4f} bits)"
        )
    return f" By {doublings[0]['law']}, doubling the context {', and '.join(said)}." if said else ""


def _law_headline(fits: list[dict[str, Any]], name: str) -> str:
    """What the power laws of one axis say, or what keeps all of them from saying anything."""
    determined = [fit for fit in fits if fit["law"] and fit["law"]["determined"]]
    if determined:
        first = determined[0]
        text = f"The power law is determined in {len(determined)} of {len(fits)} groups."
        return f"{text} With {first['panel']}, {first['label']}: {first['sentence']}"
    found = [[finding["text"] for finding in fit["findings"]] for fit in fits]
    common = [text for text in found[0] if all(text in texts for texts in found)]
    reasons = " ".join(common) or "The table of fits gives the reason for each."
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
    """The slope that all curves of an axis share, each with a level of its own."""
    positions = [x for one in series for x in one.positions]
    groups = [index for index, one in enumerate(series) for _ in one.records]
    try:
        return _slope(fit_slope(positions, [n for one in series for n in one.nats], None, groups))
    except FitError:
        return None


def _fit(series: Series) -> dict[str, Any]:
    """One row of the table of fits, with the points that it rests on."""
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
            "objective": law.objective,
            "starts_agreeing": law.starts_agreeing,
        },
        "findings": [asdict(finding) for finding in law.findings] if law else [],
        "sentence": law.sentence if law else " ".join(series.reasons),
    }


def _noise(records: Sequence[RunRecord], keys: list[str]) -> dict[str, Any]:
    """How far runs scatter: between seeds, and by the choice of the validation targets."""
    losses = [run.validation.nats for run in records]
    spread = replicate_noise(losses, [configuration(run, keys) for run in records])
    return {
        "between_seeds": spread and {**_both(spread[0]), "degrees_of_freedom": spread[1]},
        "validation": _both(float(np.median([run.validation.standard_error for run in records]))),
    }
