"""Two studies side by side: what each found, the runs that they share, and how far they differ."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import stdtrit

from datasets.files import replacing
from scaling.analysis.records import ReportError, check_records_comparable, load_records
from scaling.analysis.series import CONTEXT, SEED, setting, setting_name, varied
from scaling.reporting.content import report_content, unfinished_runs
from scaling.reporting.drawing import PALETTE, Panel, axis_title, empty_figure, points, scales
from scaling.reporting.figure_list import StudyAnalysis
from scaling.reporting.page import plain, render
from scaling.reporting.report import ReportPaths, analyse_study, table_text
from scaling.runs.record import RunRecord, bits

Z = 1.96  # of a difference between two independent estimates
LEAST_PAIRS = 3
SYMBOLS = ("circle", "diamond-open")


@dataclass(frozen=True)
class Side:
    """One of the two studies: its name, what was fitted, and all that its own report says."""

    name: str
    study: StudyAnalysis
    content: dict[str, Any]


def write_two(first: Path, second: Path) -> ReportPaths:
    """Write ``compared-with-SECOND.html`` and its Markdown, JSON and CSV into the first folder."""
    sides = _side(first), _side(second)
    if sides[0].name == sides[1].name:
        sides = tuple(  # type: ignore[assignment]
            Side(str(folder), side.study, side.content)
            for folder, side in zip((first, second), sides, strict=True)
        )
    content = compared(*sides)
    content["reproduce"] = f"python -m scaling report --compare {first} {second}"
    shown = content | {
        "kicker": "Longwave: two studies",
        "panels": plain(_panels(sides)) if not content["incomparable"] else [],
    }
    stem = first / f"compared-with-{second.resolve().name}"
    paths = ReportPaths(
        html=Path(f"{stem}.html"),
        json=Path(f"{stem}.json"),
        csv=Path(f"{stem}.csv"),
        headlines=content["headlines"],
    )
    for path, text in (
        (paths.csv, table_text(content["pairs"] or [{"configuration": None}])),
        (paths.json, json.dumps(content, indent=1, allow_nan=False) + "\n"),
        (Path(f"{stem}.md"), render("two_studies.md.j2", shown)),
        (paths.html, render("two_studies.html.j2", shown)),
    ):
        with replacing(path) as partial:
            partial.write_text(text)
    return paths


def _side(folder: Path) -> Side:
    records, _ = load_records(folder)
    check_records_comparable(records)
    found = analyse_study(records, folder)
    return Side(
        folder.resolve().name, found, report_content(found, unfinished_runs(folder, records))
    )


def compared(first: Side, second: Side) -> dict[str, Any]:
    """What two studies say beside each other, as plain JSON values.

    Losses are set against each other only where they were measured on the same targets in the same
    units; exponents and slopes in any case.
    """
    incomparable = _incomparable(first, second)
    pairs = [] if incomparable else _pairs(first.study.records, second.study.records)
    content: dict[str, Any] = {
        "study": f"{first.name} and {second.name}",
        "names": [first.name, second.name],
        "incomparable": incomparable,
        "answers": [side.content["headlines"] for side in (first, second)],
        "setup": _setup(first, second),
        "parameters": _parameters(first, second),
        "slopes": _slopes(first, second),
        "pairs": pairs,
        "mean_difference": _mean_difference(pairs),
    }
    content["headlines"] = _headlines(content)
    return content


def _incomparable(first: Side, second: Side) -> str | None:
    try:
        check_records_comparable([first.study.records[0], second.study.records[0]])
    except ReportError as error:
        return str(error)
    return None


def _setup(first: Side, second: Side) -> list[dict[str, Any]]:
    """What was run, label by label, and whether it is the same."""
    left, right = first.content["setup"], second.content["setup"]
    return [
        {"label": label, "texts": [left[label], right[label]], "same": left[label] == right[label]}
        for label in left
    ]


def _parameters(first: Side, second: Side) -> list[dict[str, Any]]:
    """Parameters of both laws that have the same name, with their difference and its interval."""
    fits = [side.content["law"]["fit"] for side in (first, second)]
    if None in fits:
        return []
    rows = []
    for name in fits[0]["parameters"]:
        values = [fit["parameters"].get(name) for fit in fits]
        errors = [fit["standard_errors"].get(name) for fit in fits]
        if None in values or name.endswith("coefficient"):
            continue
        half = None if None in errors else Z * float(np.hypot(*errors))
        difference = values[1] - values[0]
        rows.append(
            {
                "name": name,
                "values": values,
                "intervals": [fit["intervals"].get(name) for fit in fits],
                "difference": difference,
                "half_interval": half,
                "differs": half is not None and abs(difference) > half,
            }
        )
    return rows


def _slopes(first: Side, second: Side) -> list[dict[str, Any]]:
    """What a doubling of each axis changes in both."""
    left, right = first.content["slopes"], second.content["slopes"]
    return [
        {"axis": axis, "slopes": [left[axis], right[axis]]}
        for axis in left
        if axis in right and left[axis] and right[axis]
    ]


def _pairs(first: Sequence[RunRecord], second: Sequence[RunRecord]) -> list[dict[str, Any]]:
    """Runs of the two that agree in every setting that varies within either, seed included."""
    keys = [*dict.fromkeys([*varied(first), *varied(second)]), SEED]
    found = {tuple(setting(run, key) for key in keys): run for run in second}
    pairs = []
    for run in first:
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


def _mean_difference(pairs: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """Mean over the pairs of second less first, with its 95% interval (Student t)."""
    if len(pairs) < LEAST_PAIRS:
        return None
    nats = np.array([pair["difference_nats"] for pair in pairs])
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
        lines.append(f"Losses are not set against each other. {content['incomparable']}")
    elif mean:
        verdict = "no difference that can be told from chance"
        if abs(mean["nats"]) > mean["half_interval_nats"]:
            verdict = f"{second} predicts {'better' if mean['nats'] < 0 else 'worse'}"
        lines.append(
            f"Over {mean['pairs']} runs of the same settings, {second} less {first} is "
            f"{mean['bits']:+.4f} bits ({mean['nats']:+.4f} nats) a sample (95% interval "
            f"{mean['bits'] - mean['half_interval_bits']:+.4f} to "
            f"{mean['bits'] + mean['half_interval_bits']:+.4f} bits): {verdict}."
        )
    else:
        lines.append(
            f"{len(content['pairs'])} runs have the same settings in both: too few to compare runs."
        )
    apart = [row["name"].replace(".", ", ") for row in content["parameters"] if row["differs"]]
    if content["parameters"]:
        said = f"differ in {'; '.join(apart)}" if apart else "do not differ beyond chance"
        lines.append(f"The laws of the two studies {said}.")
    else:
        lines.append("Not both studies have a law of the whole study, so none are compared.")
    return lines


def _panels(sides: tuple[Side, Side]) -> list[Panel]:
    """All runs of both against compute and against the context, a colour and symbol for each."""
    axes: list[tuple[str, str, Callable[[RunRecord], float]]] = [
        ("against compute", "operations, forward and backward", lambda run: run.operations.total),
        (
            f"against {setting_name(CONTEXT)}",
            axis_title(CONTEXT),
            lambda run: setting(run, CONTEXT),
        ),
    ]
    panels = []
    for title, horizontal, of in axes:
        figure = empty_figure(horizontal)
        for number, side in enumerate(sides):
            runs = side.study.records
            points(
                figure,
                [of(run) for run in runs],
                [run.validation.nats for run in runs],
                [f"{side.name}, run {run.id}" for run in runs],
                PALETTE[number],
                name=side.name,
                marker={"symbol": SYMBOLS[number], "size": 7, "opacity": 0.7},
            )
        figure.update_xaxes(type="log")
        scales(figure)
        best = "; ".join(
            f"best of {side.name} {side.content['best']['bits']:.3f} bits "
            f"({side.content['best']['nats']:.3f} nats)"
            for side in sides
        )
        panels.append(Panel(title, figure, f"{best[0].upper()}{best[1:]}."))
    return panels
