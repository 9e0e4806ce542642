"""The report of a study: one HTML page, and its words and numbers as other files.

    python -m scaling report runs/demo

:func:`analyse_study` reads and fits everything once. All text of the page is first put into
``report.json``; the page and the Markdown are rendered from it and from the figures, so each of
their numbers can be traced to a record. ``runs.csv`` has a row for each run, ``figures.csv`` one
for each drawn point.
"""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets.files import write_whole
from scaling.reporting.content import report_content
from scaling.reporting.figure_list import figure_rows, figures_as_json, numbered_figures
from scaling.reporting.page import render
from scaling.reporting.study import Study, analyse_study
from scaling.runs.record import RunRecord


@dataclass(frozen=True)
class ReportPaths:
    """The files of a report, and its main lines of text."""

    html: Path
    json: Path
    csv: Path
    headlines: list[str]


def write_report(
    records: Sequence[RunRecord], folder: Path, *, study: str, skipped: Sequence[str] = ()
) -> ReportPaths:
    """Analyse the study named ``study`` and write its report into its folder.

    ``skipped`` are sentences on records that could not be read. Raises :class:`ReportError` if
    there is no record, or if the losses of two records are not comparable.
    """
    return write_study_report(analyse_study(records, folder, name=study, skipped=skipped))


def write_study_report(study: Study) -> ReportPaths:
    """Write ``report.html``, ``.md`` and ``.json``, ``runs.csv`` and ``figures.csv``."""
    content, figures, folder = report_content(study), numbered_figures(study), study.folder
    shown = content | {
        "kicker": "Longwave scaling report",
        "figures": figures_as_json(figures),
        "clips": study.clips,
    }
    folder.mkdir(parents=True, exist_ok=True)
    tables = {"runs.csv": content["runs"], "figures.csv": figure_rows(figures)}
    return write_page(folder / "report.html", "report", content, shown, tables)


def write_page(
    html: Path,
    template: str,
    content: dict[str, Any],
    shown: dict[str, Any],
    tables: Mapping[str, Sequence[dict[str, Any]]],
) -> ReportPaths:
    """Write ``content`` as JSON, ``shown`` as a page and as Markdown, and tables by file name.

    All files are in the folder of ``html``. NaN and infinity in the JSON are errors.
    """
    paths = ReportPaths(
        html=html,
        json=html.with_suffix(".json"),
        csv=html.with_name(next(iter(tables))),
        headlines=content["headlines"],
    )
    texts = {html.with_name(name): table_text(rows) for name, rows in tables.items()}
    texts[paths.json] = json.dumps(content, indent=1, allow_nan=False) + "\n"
    texts[html.with_suffix(".md")] = render(f"{template}.md.j2", shown)
    texts[html] = render(f"{template}.html.j2", shown)
    write_files(texts)
    return paths


def write_files(texts: Mapping[Path, str]) -> None:
    """Write texts to their paths, each file whole or not at all."""
    for path, text in texts.items():
        write_whole(path, text)


def table_text(table: Sequence[dict[str, Any]]) -> str:
    """Return rows as CSV text with a header of all columns that some row has."""
    text = io.StringIO()
    columns = list(dict.fromkeys(key for row in table for key in row))
    writer = csv.DictWriter(text, fieldnames=columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    return text.getvalue()
