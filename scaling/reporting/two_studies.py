"""Two studies side by side: their answers, laws and slopes, and the runs of equal settings."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import stdtrit

from scaling.analysis.records import ReportError, check_records_comparable, load_records
from scaling.analysis.series import CONTEXT, SEED, setting, setting_name
from scaling.reporting.content import report_content
from scaling.reporting.drawing import PALETTE, Chart, Panel, axis_title
from scaling.reporting.page import panels_as_json
from scaling.reporting.report import ReportPaths, write_page
from scaling.reporting.study import Study, analyse_study
from scaling.runs.record import RunRecord, bits, in_both_units

Z = 1.96  # of a difference between two independent estimates
LEAST_PAIRS = 3
SYMBOLS = ("circle", "diamond-open")

Pair = tuple[Study, Study]


def write_two(first: Path, second: Path) -> ReportPaths:
    """Write ``compared-with-SECOND.html`` and its Markdown, JSON and CSV into the first folder."""
    names = [folder.resolve().name for folder in (first, second)]
    if names[0] == names[1]:
        names = [str(first), str(second)]
    studies = (
        analyse_study(load_records(first)[0], first, name=names[0]),
        analyse_study(load_records(second)[0], second, name=names[1]),
    )
    content = comparison_content(studies)
    content["reproduce"] = f"python -m scaling report --compare {first} {second}"
    shown = content | {
        "keys": _pairing_settings(studies),
        "kicker": "Longwave: two studies",
        "panels": panels_as_json(_panels(studies)) if not content["incomparable"] else [],
    }
    stem = f"compared-with-{second.resolve().name}"
    tables = {f"{stem}.csv": content["pairs"] or [{"configuration": None}]}
    return write_page(first / f"{stem}.html", "two_studies", content, shown, tables)


def comparison_content(studies: Pair) -> dict[str, Any]:
    """Return two studies side by side as plain JSON values.

    Losses are compared only if both studies measured them on the same targets in the same units;
    exponents and slopes always.
    """
    names = [study.name for study in studies]
    first, second = (report_content(study) for study in studies)
    incomparable = _incomparable(studies)
    pairs = [] if incomparable else _pairs(studies)
    content: dict[str, Any] = {
        "study": " and ".join(names),
        "names": names,
        "incomparable": incomparable,
        "answers": [first["headlines"], second["headlines"]],
        "setup": [
            {"label": label, "texts": [text, second["setup"][label]]}
            | {"same": text == second["setup"][label]}
            for label, text in first["setup"].items()
        ],
        "parameters": _parameters(first["law"]["fit"], second["law"]["fit"]),
        "slopes": [
            {"axis": axis, "slopes": [slope, second["slopes"][axis]]}
            for axis, slope in first["slopes"].items()
            if slope and second["slopes"].get(axis)
        ],
        "pairs": pairs,
        "mean_difference": _mean_difference([pair["difference_nats"] for pair in pairs]),
    }
    content["headlines"] = _headlines(content)
    return content


def _incomparable(studies: Pair) -> str | None:
    """Return why losses of the studies are not comparable; None if they are."""
    try:
        check_records_comparable([study.records[0] for study in studies])
    except ReportError as error:
        return str(error)
    return None


def _parameters(
    first: dict[str, Any] | None, second: dict[str, Any] | None
) -> list[dict[str, Any]]:
    """Return the parameters that both laws have, with their difference and its interval."""
    if first is None or second is None:
        return []
    rows = []
    for name in first["parameters"]:
        values = [fit["parameters"].get(name) for fit in (first, second)]
        errors = [fit["standard_errors"].get(name) for fit in (first, second)]
        if None in values or name.endswith("coefficient"):
            continue
        half = None if None in errors else Z * float(np.hypot(*errors))
        difference = values[1] - values[0]
        rows.append(
            {
                "name": name,
                "values": values,
                "intervals": [fit["intervals"].get(name) for fit in (first, second)],
                "difference": difference,
                "half_interval": half,
                "differs": half is not None and abs(difference) > half,
            }
        )
    return rows


def _pairing_settings(studies: Pair) -> list[str]:
    """Return the seed and the settings that vary within either study."""
    return [*dict.fromkeys(key for study in studies for key in study.varied), SEED]


def _pairs(studies: Pair) -> list[dict[str, Any]]:
    """Pair the runs that agree in all :func:`_pairing_settings`."""
    first, second = studies
    keys = _pairing_settings(studies)
    found = {tuple(setting(run, key) for key in keys): run for run in second.records}
    pairs = []
    for run in first.records:
        other = found.get(tuple(setting(run, key) for key in keys))
        if other is None:
            continue
        difference = other.validation.nats - run.validation.nats
        pairs.append(
            {
                **{key: setting(run, key) for key in keys},
                "first": run.id,
                "second": other.id,
                "first_bits": bits(run.validation.nats),
                "second_bits": bits(other.validation.nats),
                "difference_bits": bits(difference),
                "difference_nats": difference,
            }
        )
    return pairs


def _mean_difference(differences: list[float]) -> dict[str, Any] | None:
    """Return the mean of paired differences (nats) with its 95% interval (Student t)."""
    if len(differences) < LEAST_PAIRS:
        return None
    nats = np.array(differences)
    half = float(stdtrit(len(nats) - 1, 0.975) * nats.std(ddof=1) / np.sqrt(len(nats)))
    mean = float(nats.mean())
    return {
        "nats": mean,
        "bits": bits(mean),
        "half_interval_nats": half,
        "half_interval_bits": bits(half),
        "pairs": len(nats),
    }


def _headlines(content: dict[str, Any]) -> list[str]:
    first, second = content["names"]
    lines = []
    mean = content["mean_difference"]
    if content["incomparable"]:
        lines.append(f"The losses of the two studies are not compared. {content['incomparable']}")
    elif mean:
        verdict = "no difference beyond chance"
        if abs(mean["nats"]) > mean["half_interval_nats"]:
            verdict = f"{second} predicts {'better' if mean['nats'] < 0 else 'worse'}"
        lines.append(
            f"Over {mean['pairs']} pairs of runs with equal settings, {second} less {first} is "
            f"{in_both_units(mean['nats'], sign='+')} a sample (95% interval "
            f"{mean['bits'] - mean['half_interval_bits']:+.4f} to "
            f"{mean['bits'] + mean['half_interval_bits']:+.4f} bits): {verdict}."
        )
    else:
        lines.append(
            f"{len(content['pairs'])} pairs of runs have equal settings: too few to compare runs."
        )
    apart = [row["name"].replace(".", ", ") for row in content["parameters"] if row["differs"]]
    if content["parameters"]:
        verdict = f"differ in {'; '.join(apart)}" if apart else "do not differ beyond chance"
        lines.append(f"The laws of the two studies {verdict}.")
    else:
        lines.append(
            "At most one of the studies has a law of the whole study, so no laws are compared."
        )
    return lines


def _panels(studies: Pair) -> list[Panel]:
    """Draw all runs against compute and the context, a colour and a symbol for each study."""
    axes: list[tuple[str, str, Callable[[RunRecord], float]]] = [
        ("against compute", "operations, forward and backward", lambda run: run.operations.total),
        (
            f"against {setting_name(CONTEXT)}",
            axis_title(CONTEXT),
            lambda run: setting(run, CONTEXT),
        ),
    ]
    best = "; ".join(
        f"best of {study.name} "
        f"{in_both_units(min(run.validation.nats for run in study.records), 3)}"
        for study in studies
    )
    panels = []
    for title, horizontal, position in axes:
        figure = Chart(horizontal)
        for number, study in enumerate(studies):
            figure.draw_points(
                [position(run) for run in study.records],
                [run.validation.nats for run in study.records],
                [f"{study.name}, run {run.id}" for run in study.records],
                PALETTE[number],
                name=study.name,
                marker={"symbol": SYMBOLS[number], "size": 7, "opacity": 0.7},
            )
        figure.add_scale_buttons()
        panels.append(Panel(title, figure, f"{best[0].upper()}{best[1:]}."))
    return panels
