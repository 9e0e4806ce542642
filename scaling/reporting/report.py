"""A study's records into its report: one HTML file, and its words and numbers as other files.

    python -m scaling report runs/demo

Everything that the page says is first put into ``report.json``; the page and the Markdown are
rendered from that and from the figures, so that each of their numbers can be looked up there and
traced to a record. ``runs.csv`` has a row for each run, ``figures.csv`` one for each drawn point.
"""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from datasets.files import replacing
from scaling.analysis.records import check_records_comparable, rows, sorted_records
from scaling.analysis.series import CONTEXT, Series, configuration, curve_axes, curves, varied
from scaling.analysis.specification_curve import specification_curve
from scaling.analysis.study_law import study_law
from scaling.evaluation.scores import context_uses
from scaling.fitting.slope import replicate_noise
from scaling.reporting.clips import first_prompt_clips, read_clips
from scaling.reporting.content import report_content, unfinished_runs
from scaling.reporting.figure_list import StudyAnalysis, numbered_figures
from scaling.reporting.page import figure_rows, figures_as_json, render
from scaling.reporting.reproducibility import study_reproducibility
from scaling.runs.record import RunRecord


@dataclass(frozen=True)
class ReportPaths:
    """The files of a report, and its main lines of text."""

    html: Path
    json: Path
    csv: Path
    headlines: list[str]


def analyse_study(records: Sequence[RunRecord], folder: Path) -> StudyAnalysis:
    """Records with all that is fitted to them: curves of each axis, and the law of the study."""
    records = sorted_records(records)
    keys = varied(records)
    noise = replicate_noise(
        [run.validation.nats for run in records],
        [configuration(run, keys) for run in records],
    )
    law = study_law(records, folder)
    return StudyAnalysis(
        records=records,
        axes=_curves(records),
        law=law,
        choices=specification_curve(law.analysis.request, pd.DataFrame(rows(records)))
        if law.analysis
        else [],
        noise=noise[0] if noise else None,
    )


def _curves(records: Sequence[RunRecord]) -> dict[str, list[Series]]:
    """Curves of every axis of which some group of runs has three values; else of the first."""
    swept = sorted(curve_axes(records) or [CONTEXT], key=lambda axis: axis != CONTEXT)
    found = {axis: curves(records, axis) for axis in swept}
    drawn = {
        axis: series
        for axis, series in found.items()
        if any(len(set(one.positions)) > 2 for one in series)
    }
    return drawn or {swept[0]: found[swept[0]]}


def write_report(
    records: Sequence[RunRecord], folder: Path, *, study: str, skipped: Sequence[str] = ()
) -> ReportPaths:
    """Write ``report.html``, ``.md`` and ``.json``, ``runs.csv`` and ``figures.csv``.

    ``skipped`` are sentences on records that could not be used. Raises :class:`ReportError` where
    there is no record, or where two of them must not share a table.
    """
    check_records_comparable(records)
    return write(analyse_study(records, folder), folder, study=study, skipped=skipped)


def write(
    found: StudyAnalysis, folder: Path, *, study: str, skipped: Sequence[str] = ()
) -> ReportPaths:
    """Write the files of what has been fitted."""
    clips = first_prompt_clips(read_clips(folder))
    content = {
        "study": study,
        "reproduce": f"python -m scaling report {folder}",
        "skipped": list(skipped),
        **report_content(found, unfinished_runs(folder, found.records)),
        "origins": study_reproducibility(folder, found.records),
    }
    uses = context_uses(folder, [run.id for run in found.records])
    content["context_use"] = [one.model_dump() | {"sentence": one.sentence} for one in uses]
    drawn = numbered_figures(found)
    shown = {"kicker": "Longwave scaling report", "plates": figures_as_json(drawn), "clips": clips}
    paths = ReportPaths(
        html=folder / "report.html",
        json=folder / "report.json",
        csv=folder / "runs.csv",
        headlines=content["headlines"],
    )
    texts = {
        paths.csv: table_text(content["runs"]),
        folder / "figures.csv": table_text(figure_rows(drawn)),
        paths.json: json.dumps(content, indent=1, allow_nan=False) + "\n",
        folder / "report.md": render("report.md.j2", content | shown),
        paths.html: render("report.html.j2", content | shown),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for path, text in texts.items():
        with replacing(path) as partial:
            partial.write_text(text)
    return paths


def table_text(table: Sequence[dict[str, Any]]) -> str:
    """Rows as CSV text with a header: every column that some row has."""
    text = io.StringIO()
    columns = list(dict.fromkeys(key for row in table for key in row))
    writer = csv.DictWriter(text, fieldnames=columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    return text.getvalue()
