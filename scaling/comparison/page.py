"""A comparison's files beside its ``comparison.json``: an HTML page, and its rows as CSV."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datasets.files import replacing
from scaling.analysis.series import CONTEXT, Series, setting
from scaling.comparison.table import PROTOCOLS, Comparison, ComparisonRow, ScoredLoss
from scaling.reporting import figures_learning
from scaling.reporting.page import panels_as_json, render
from scaling.reporting.report import ReportPaths, table_text
from scaling.runs.record import RunRecord, bits


def write_page(found: Comparison, records: Sequence[RunRecord], folder: Path) -> ReportPaths:
    """Write ``report.html`` and ``comparison.csv`` into the study's folder.

    ``records`` are those of the trained rows.
    """
    rows = [_row(row) for row in found.rows]
    flat = [
        {key: value for key, value in row.items() if not isinstance(value, dict)}
        | {f"{p}_{key}": value for p in PROTOCOLS for key, value in row[p].items()}
        for row in rows
    ]
    content = {
        "kicker": "Longwave comparison",
        "study": found.study,
        "headlines": found.headlines,
        "setup": _setup(found),
        "rows": rows,
        "best": found.best,
        "learning_panels": panels_as_json(
            figures_learning.learning_panels(_curves(found, records))
        ),
        "provenance": _provenance(found),
        "reproduce": f"python -m scaling report {folder}",
    }
    paths = ReportPaths(
        html=folder / "report.html",
        json=folder / "comparison.json",
        csv=folder / "comparison.csv",
        headlines=found.headlines,
    )
    for path, text in (
        (paths.csv, table_text(flat)),
        (paths.html, render("comparison.html.j2", content)),
    ):
        with replacing(path) as partial:
            partial.write_text(text)
    return paths


def _row(row: ComparisonRow) -> dict[str, Any]:
    """One row as plain values, its scores in nats and bits."""
    values = row.model_dump(exclude={"scores"})
    return values | {protocol: _score(row.scores[protocol]) for protocol in PROTOCOLS}


def _score(score: ScoredLoss) -> dict[str, float | None]:
    in_nats: dict[str, float | None] = {
        "": score.loss.nats,
        "half_interval_": score.half_interval,
        "difference_": None if score.difference is None else score.difference.nats,
        "difference_half_interval_": score.difference_half_interval,
    }
    return {f"{name}nats": value for name, value in in_nats.items()} | {
        f"{name}bits": None if value is None else bits(value) for name, value in in_nats.items()
    }


def _setup(found: Comparison) -> dict[str, str]:
    one, quantiser = found.targets, found.quantiser
    texts = {
        "Corpus": f"{found.corpus}: {quantiser.rate:,} Hz, {quantiser.codec}, {quantiser.levels} "
        f"levels, scaling {quantiser.scaling}",
        "Full context": f"{one['full-context'].targets:,} targets of the {found.split} split, each "
        f"with {found.history:,} samples before it, of which a model takes its context; "
        f"clusters: {one['full-context'].clusters:,} {one['full-context'].clustered_by}",
        "From silence": f"{one['from-silence'].targets:,} targets in chunks of 131,072 samples "
        f"that begin with silence; clusters: {one['from-silence'].clusters:,} "
        f"{one['from-silence'].clustered_by}",
    }
    for match in found.matches:
        name, _, rest = match.sentence.partition(": ")
        texts[name[0].upper() + name[1:]] = rest
    return texts


def _provenance(found: Comparison) -> dict[str, str]:
    return {
        "Corpus fingerprint": found.corpus_fingerprint,
        **{f"Targets, {p}": found.targets[p].targets_hash for p in PROTOCOLS},
        "Code version": found.code_version,
        "Hardware": ", ".join(f"{key} {value}" for key, value in found.hardware.items()),
        "Library versions": ", ".join(f"{key} {value}" for key, value in found.versions.items()),
    }


def _curves(found: Comparison, records: Sequence[RunRecord]) -> list[Series]:
    """A curve for each trained row, in panels by what they train and what they read."""
    by_run = {record.id: record for record in records}
    return [
        Series(
            axis=CONTEXT,
            panel=_panel(by_run[row.run]),
            label=row.name,
            records=(by_run[row.run],),
            slope=None,
            law=None,
            reasons=(),
        )
        for row in found.rows
        if row.run
    ]


def _panel(record: RunRecord) -> str:
    mode = record.targets.mode
    if mode == "sequence":
        return "baselines"
    return f"Longwave, {mode} targets, recent {setting(record, 'model.recent')}"
