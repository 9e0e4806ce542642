"""A study's records into its report: one HTML file, the numbers in it as JSON, the runs as CSV.

    python -m scaling report runs/demo

Everything that the page says is first put into ``report.json``; the page is rendered from that and
from the figures, so that each of its numbers can be looked up there and traced to a record.
"""

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets.files import replacing
from scaling import figures
from scaling.content import content_of
from scaling.page import plain, render
from scaling.record import FILE_NAME, RecordError, RunRecord
from scaling.series import (
    CONTEXT,
    SEED,
    Series,
    curve_axes,
    curves,
    setting,
    varied,
)

# What has to be the same for two losses to be compared.
COMPARED: dict[str, Callable[[RunRecord], Any]] = {
    "validation targets": lambda run: run.validation.targets_hash,
    "codec": lambda run: run.corpus.codec,
    "levels": lambda run: run.corpus.levels,
    "scaling": lambda run: run.corpus.scaling,
    "chunk of samples scaled together": lambda run: run.corpus.chunk,
    "rate": lambda run: run.corpus.rate,
}


class ReportError(ValueError):
    """Records that cannot stand in one report, with the reason."""


@dataclass(frozen=True)
class ReportPaths:
    """The files of a report, and its main lines of text."""

    html: Path
    json: Path
    csv: Path
    headlines: list[str]


def load_records(study_folder: Path) -> tuple[list[RunRecord], list[str]]:
    """All records of a study (``<study>/<id>/record.json``), and a sentence for each unusable one.

    Raises :class:`ReportError` where the folder holds no record at all.
    """
    paths = sorted(study_folder.glob(f"*/{FILE_NAME}"))
    if not paths:
        raise ReportError(
            f"{study_folder} holds no finished run: a run ends with {FILE_NAME} in its own folder."
        )
    records, skipped = [], []
    for path in paths:
        try:
            records.append(RunRecord.read(path))
        except RecordError as error:
            skipped.append(str(error))
    return records, skipped


def write_report(
    records: Sequence[RunRecord], folder: Path, *, study: str, skipped: Sequence[str] = ()
) -> ReportPaths:
    """Write ``report.html``, ``report.json`` and ``runs.csv`` into the folder.

    ``skipped`` are sentences on records that could not be used. Raises :class:`ReportError` where
    there is no record, or where two of them must not share a table.
    """
    _check_comparable(records)
    keys = varied(records)
    records = sorted(records, key=lambda run: [_order(setting(run, key)) for key in [*keys, SEED]])
    swept = curve_axes(records) or [CONTEXT]
    axes = {axis: curves(records, axis) for axis in swept}
    content = {
        "study": study,
        "reproduce": f"python -m scaling report {folder}",
        "skipped": list(skipped),
        **content_of(records, keys, axes),
    }
    paths = ReportPaths(
        html=folder / "report.html",
        json=folder / "report.json",
        csv=folder / "runs.csv",
        headlines=content["headlines"],
    )
    texts = {
        paths.csv: table_text(content["runs"]),
        paths.json: json.dumps(content, indent=1, allow_nan=False) + "\n",
        paths.html: _page(content, axes),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for path, text in texts.items():
        with replacing(path) as partial:
            partial.write_text(text)
    return paths


def _check_comparable(records: Sequence[RunRecord]) -> None:
    """Refuse losses that were not measured on the same targets in the same units."""
    if not records:
        raise ReportError("There is no run record to report on.")
    first = records[0]
    for other in records[1:]:
        for what, get in COMPARED.items():
            if get(other) != get(first):
                raise ReportError(
                    f"Run {first.id} has {what} {get(first)} and run {other.id} has {get(other)}: "
                    "their losses must not share a table or a fit. Report them as two studies."
                )


def _order(value: Any) -> tuple[bool, float, str]:
    """Sort key: numbers by size, then everything else by its text."""
    numeric = isinstance(value, int | float)
    return (not numeric, float(value) if numeric else 0.0, str(value))


def table_text(rows: list[dict[str, Any]]) -> str:
    """Rows as CSV text with a header."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _page(content: dict[str, Any], axes: dict[str, list[Series]]) -> str:
    """The HTML page: the content and the figures."""
    drawn = {
        axis: plain(figures.loss_panels(series))
        for axis, series in axes.items()
        if len({x for one in series for x in one.positions}) > 1
    }
    first = next(iter(axes.values()))
    return render(
        "report.html.j2",
        {
            **content,
            "kicker": "Longwave scaling report",
            "loss_panels": drawn,
            "context_panels": plain(figures.context_panels(first)),
            "learning_panels": plain(figures.learning_panels(first)),
        },
    )
