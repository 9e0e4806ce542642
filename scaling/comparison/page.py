"""HTML page and CSV table of a comparison, beside its ``comparison.json``."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from datasets.files import replacing
from scaling.analysis.series import CONTEXT, Series, setting
from scaling.comparison.table import PROTOCOLS, Comparison, ScoredLoss
from scaling.reporting import figures_learning
from scaling.reporting.page import panels_as_json, render
from scaling.reporting.report import ReportPaths, table_text
from scaling.runs.record import RunRecord, bits


def write_page(comparison: Comparison, records: Sequence[RunRecord], folder: Path) -> ReportPaths:
    """Write ``report.html`` and ``comparison.csv``; ``records`` are those of the trained rows."""
    rows = [
        row.model_dump(exclude={"scores"}) | {p: _score(row.scores[p]) for p in PROTOCOLS}
        for row in comparison.rows
    ]
    flat = [
        {key: value for key, value in row.items() if not isinstance(value, dict)}
        | {f"{p}_{key}": value for p in PROTOCOLS for key, value in row[p].items()}
        for row in rows
    ]
    content = {
        "kicker": "Longwave comparison",
        "study": comparison.study,
        "headlines": comparison.headlines,
        "setup": _setup(comparison),
        "rows": rows,
        "best": comparison.best,
        "learning_panels": panels_as_json(
            figures_learning.learning_panels(_curves(comparison, records))
        ),
        "provenance": _provenance(comparison),
        "reproduce": f"python -m scaling report {folder}",
    }
    paths = ReportPaths(
        html=folder / "report.html",
        json=folder / "comparison.json",
        csv=folder / "comparison.csv",
        headlines=comparison.headlines,
    )
    page = render("comparison.html.j2", content)
    for path, text in ((paths.csv, table_text(flat)), (paths.html, page)):
        with replacing(path) as partial:
            partial.write_text(text)
    return paths


def _score(score: ScoredLoss) -> dict[str, float | None]:
    """Return a score as JSON values in nats and bits."""
    in_nats: dict[str, float | None] = {
        "": score.loss.nats,
        "half_interval_": score.half_interval,
        "difference_": None if score.difference is None else score.difference.nats,
        "difference_half_interval_": score.difference_half_interval,
    }
    return {f"{name}nats": value for name, value in in_nats.items()} | {
        f"{name}bits": None if value is None else bits(value) for name, value in in_nats.items()
    }


def _setup(comparison: Comparison) -> dict[str, str]:
    quantiser = comparison.quantiser
    full, silent = comparison.targets["full-context"], comparison.targets["from-silence"]
    texts = {
        "Corpus": f"{comparison.corpus}: {quantiser.rate:,} Hz, {quantiser.codec}, "
        f"{quantiser.levels} levels, scaling {quantiser.scaling}",
        "Full context": f"{full.targets:,} targets of the {comparison.split} split, each after "
        f"{comparison.history:,} samples or more, of which a model reads its context; clusters: "
        f"{full.clusters:,} {full.clustered_by}",
        "From silence": f"{silent.targets:,} targets in chunks of 131,072 samples that begin with "
        f"silence; clusters: {silent.clusters:,} {silent.clustered_by}",
    }
    for match in comparison.matches:
        name, _, rest = match.sentence.partition(": ")
        texts[name[0].upper() + name[1:]] = rest
    return texts


def _provenance(comparison: Comparison) -> dict[str, str]:
    def listed(values: Mapping[str, Any]) -> str:
        return ", ".join(f"{key} {value}" for key, value in values.items())

    return {
        "Corpus fingerprint": comparison.corpus_fingerprint,
        **{f"Targets, {p}": comparison.targets[p].targets_hash for p in PROTOCOLS},
        "Code version": comparison.code_version,
        "Hardware": listed(comparison.hardware),
        "Library versions": listed(comparison.versions),
    }


def _curves(comparison: Comparison, records: Sequence[RunRecord]) -> list[Series]:
    """Return a curve for each trained row, in panels by target mode and recent path."""
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
        for row in comparison.rows
        if row.run
    ]


def _panel(record: RunRecord) -> str:
    mode = record.targets.mode
    if mode == "sequence":
        return "baselines"
    return f"Longwave, {mode} targets, recent {setting(record, 'model.recent')}"
