"""A study's records: read from its folder, held to one unit, and as a table with a row a run."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from scaling.analysis.budgets import PROFILES, budgets
from scaling.analysis.series import CONTEXT, SEED, SHAPE_AXES, setting, setting_sort_key, varied
from scaling.runs.record import FILE_NAME, RecordError, RunRecord, bits

SHAPE = (CONTEXT, *SHAPE_AXES, "model.width")  # in every table of runs, varied or not
RATE = "train.learning_rate"

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


def check_records_comparable(records: Sequence[RunRecord]) -> None:
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


def sorted_records(records: Sequence[RunRecord]) -> list[RunRecord]:
    """Records in the order of what varies among them, then of their seeds."""
    keys = [*varied(records), SEED]
    return sorted(records, key=lambda run: [setting_sort_key(setting(run, key)) for key in keys])


def rows(records: Sequence[RunRecord]) -> list[dict[str, Any]]:
    """The records as rows: what varies and the shape, what was trained, losses, speed.

    Where runs make profiles of equal cost, ``isoflop_shape`` and its like are their budgets.
    """
    keys = dict.fromkeys([*varied(records), *SHAPE])
    known = [key for key in keys if all(_has(run, key) for run in records)]
    table = [_row(run, known) for run in records]
    for name, free in PROFILES.items():
        found = budgets(records, free)
        if any(found):
            for row, budget in zip(table, found, strict=True):
                row[f"isoflop_{name}"] = budget
    return table


def _has(run: RunRecord, key: str) -> bool:
    try:
        setting(run, key)
    except KeyError:
        return False
    return True


def _row(run: RunRecord, keys: list[str]) -> dict[str, Any]:
    """One run in the table and in the CSV."""
    final, margin = run.validation, run.validation.references
    return {
        "id": run.id,
        **{key: setting(run, key) for key in keys},
        SEED: setting(run, SEED),
        "parameters": run.total_parameters,
        **{f"parameters.{group}": count for group, count in run.parameters.items()},
        "steps": run.targets.steps,
        "targets_per_step": run.targets.per_step,
        "learning_rate": setting(run, RATE) if _has(run, RATE) else None,
        "operations_per_target": run.operations.per_target,
        "operations": run.operations.total,
        "targets_seen": run.targets.seen,
        "targets_unique": run.targets.unique,
        "bits": bits(final.nats),
        "bits_standard_error": bits(final.standard_error),
        "nats": final.nats,
        "nats_standard_error": final.standard_error,
        "margin_bits": bits(margin.margin),
        "margin_bits_standard_error": bits(margin.margin_standard_error),
        "margin_nats": margin.margin,
        "margin_nats_standard_error": margin.margin_standard_error,
        "targets_per_second": run.throughput.targets_per_second,
        "data_wait_share": run.throughput.data_wait_share,
        "goodput": run.throughput.goodput,
        "wall_seconds": run.throughput.wall_seconds,
        "peak_memory_bytes": run.throughput.peak_memory_bytes,
        "restarts": len(run.restarts),
        "order_digest": run.targets.order_digest,
        "started": run.started,
        "finished": run.finished,
    }
