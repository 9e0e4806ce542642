"""The records of a study: reading, comparability, equal budgets, and a table with a row a run."""

from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from scaling.analysis.series import (
    CHUNK,
    CONTEXT,
    PANEL,
    RATE,
    SEED,
    SHAPE_AXES,
    WIDTH,
    configuration,
    setting,
    setting_sort_key,
    varied,
)
from scaling.fitting.loss_table import read
from scaling.runs.record import FILE_NAME, RecordError, RunRecord, bits

SHAPE = (CONTEXT, *SHAPE_AXES, WIDTH)
"""Settings with a column in every table of runs, varied or not."""
LENGTH = ("train.steps", "train.batch")
"""Settings that change the number of targets of a run."""
SIZE = (PANEL, WIDTH)
"""Settings that change the number of parameters."""
EQUAL = 1.02  # costs within this factor of the lowest are one budget
LEAST_SIZES = 4  # at a budget, for a profile
TRADED = 1.1  # least factor between the targets of a profile's runs

PROFILES: dict[str, tuple[str, ...]] = {"shape": SIZE, "chunk": (CHUNK,), "context": (CONTEXT,)}
"""Settings that may differ within a profile, besides the length of training, by its name."""

COMPARED: dict[str, Callable[[RunRecord], Any]] = {
    "validation targets": lambda run: run.validation.targets_hash,
    "codec": lambda run: run.corpus.codec,
    "levels": lambda run: run.corpus.levels,
    "scaling": lambda run: run.corpus.scaling,
    "chunk of samples scaled together": lambda run: run.corpus.chunk,
    "rate": lambda run: run.corpus.rate,
}
"""Facts that must agree if two losses are to be compared."""


class ReportError(ValueError):
    """Records that cannot share one report, with the reason."""


def load_records(study_folder: Path) -> tuple[list[RunRecord], list[str]]:
    """Return the records of a study (``<study>/<id>/record.json``), and the problem of each other.

    ReportError if the folder has no record at all.
    """
    paths = sorted(study_folder.glob(f"*/{FILE_NAME}"))
    if not paths:
        raise ReportError(
            f"{study_folder} has no finished run: a run that ends writes {FILE_NAME} into its own "
            f"folder. Run `python -m scaling status {study_folder}` to see its runs."
        )
    records, skipped = [], []
    for path in paths:
        try:
            records.append(RunRecord.read(path))
        except RecordError as error:
            skipped.append(str(error))
    return records, skipped


def check_records_comparable(records: Sequence[RunRecord]) -> None:
    """Raise ReportError unless all losses were measured on the same targets in the same units."""
    if not records:
        raise ReportError("There is no run record to report on. Train a run first.")
    first = records[0]
    for other in records[1:]:
        for fact, read_fact in COMPARED.items():
            if read_fact(other) != read_fact(first):
                raise ReportError(
                    f"Run {first.id} has {fact} {read_fact(first)} and run {other.id} has "
                    f"{read_fact(other)}: their losses cannot share a table or a fit. Put the runs "
                    "into two studies."
                )


def sorted_records(records: Sequence[RunRecord]) -> list[RunRecord]:
    """Sort records by the settings that vary among them, then by seed."""
    keys = [*varied(records), SEED]
    return sorted(records, key=lambda run: [setting_sort_key(setting(run, key)) for key in keys])


def read_run_table(path: Path) -> pd.DataFrame:
    """Read a CSV file, or the finished runs of a study's folder, as a table with a row a run."""
    if not path.is_dir():
        return read(path)
    records, _ = load_records(path)
    check_records_comparable(records)
    return pd.DataFrame(table_rows(sorted_records(records)))


def budgets(records: Sequence[RunRecord], free: Sequence[str]) -> list[float | None]:
    """Return the budget (operations) of each run in a profile of these settings, else None.

    The runs of a profile cost the same to within 2 %. They agree in every setting except ``free``
    and the length of training, take at least four values of ``free``, and differ in targets.
    """
    fixed = [key for key in varied(records) if key not in (*free, *LENGTH)]
    groups: dict[tuple[Hashable, ...], list[int]] = {}
    for index, run in enumerate(records):
        groups.setdefault(configuration(run, fixed), []).append(index)
    found: list[float | None] = [None] * len(records)
    for members in groups.values():
        for profile in _equal_costs(records, members):
            runs = [records[index] for index in profile]
            sizes, seen = {configuration(r, free) for r in runs}, [r.targets.seen for r in runs]
            if len(sizes) >= LEAST_SIZES and max(seen) > TRADED * min(seen):
                cost = float(np.exp(np.mean([np.log(run.operations.total) for run in runs])))
                for index in profile:
                    found[index] = cost
    return found


def _equal_costs(records: Sequence[RunRecord], members: Sequence[int]) -> list[list[int]]:
    """Split runs (indices) into groups of equal cost, from the cheapest to the dearest."""
    groups: list[list[int]] = []
    lowest = 0.0
    for cost, index in sorted((records[index].operations.total, index) for index in members):
        if cost > EQUAL * lowest:
            groups.append([])
            lowest = cost
        groups[-1].append(index)
    return groups


def table_rows(records: Sequence[RunRecord]) -> list[dict[str, Any]]:
    """Return a row for each record: its settings, targets, losses and speed.

    If runs form profiles of equal cost, the columns ``isoflop_*`` have their budgets.
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
