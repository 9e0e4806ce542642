"""A study as one object: all that a report is made from, read and fitted once."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scaling.analysis.checklist import Check, checklist
from scaling.analysis.context_or_size import Doubling, longest_doublings
from scaling.analysis.records import check_records_comparable, sorted_records, table_rows
from scaling.analysis.series import CONTEXT, Series, seed_noise, study_curves, varied
from scaling.analysis.study_law import StudyLaw, study_law
from scaling.evaluation.scores import ContextUse, context_uses
from scaling.planning.planned_and_measured import planned_content
from scaling.reporting.clips import Clip, first_prompt_clips, read_clips
from scaling.reporting.reproducibility import RunReproducibility, run_reproducibility
from scaling.runs.record import RunRecord
from scaling.runs.study import STUDY_NAME, RunState, read_states


@dataclass(frozen=True)
class Study:
    """The files of a study and its analysis.

    ``records`` are sorted by the settings in ``varied``; ``table`` has the row of each record,
    ``reproducibility`` its entry. ``skipped`` are sentences on unusable records, ``unfinished``
    runs without a record, ``clips`` those of the first prompt. ``curves`` are by axis, ``noise``
    is the standard deviation between seeds (nats) with its degrees of freedom.
    """

    name: str
    folder: Path
    records: Sequence[RunRecord]
    skipped: Sequence[str]
    unfinished: Sequence[RunState]
    probes: Sequence[ContextUse]
    clips: Sequence[Clip]
    reproducibility: Sequence[RunReproducibility]
    varied: list[str]
    table: list[dict[str, Any]]
    curves: dict[str, list[Series]]
    law: StudyLaw
    doublings: list[Doubling]
    noise: tuple[float, int] | None
    checks: list[Check]
    planned: dict[str, Any]

    @property
    def seed_noise(self) -> float | None:
        """Standard deviation between seeds (nats); None if no configuration was run twice."""
        return self.noise[0] if self.noise else None

    def budgets(self, profile: str) -> list[float | None]:
        """Return the budget (operations) of each run in the profiles of this name, else None."""
        return [row.get(f"isoflop_{profile}") for row in self.table]

    @property
    def main_axis(self) -> str:
        """The axis of the headlines and of the first figures."""
        return next(iter(self.curves))


def analyse_study(
    records: Sequence[RunRecord], folder: Path, *, name: str, skipped: Sequence[str] = ()
) -> Study:
    """Read the files of a study beside its records, and fit all that its report shows.

    Raises ReportError if there is no record, or if the losses of two records are not comparable.
    """
    check_records_comparable(records)
    records = sorted_records(records)
    table, curves, noise = table_rows(records), study_curves(records), seed_noise(records)
    law = study_law(records, table, folder)
    is_study = (folder / STUDY_NAME).exists()
    unfinished = read_states(folder, without={run.id for run in records}) if is_study else []
    return Study(
        name=name,
        folder=folder,
        records=records,
        skipped=skipped,
        unfinished=unfinished,
        probes=context_uses(folder, [run.id for run in records]),
        clips=first_prompt_clips(read_clips(folder)),
        reproducibility=[run_reproducibility(folder / run.id, run) for run in records],
        varied=varied(records),
        table=[
            row | {"used": used}
            for row, used in zip(table, _law_usage(law, len(table)), strict=True)
        ],
        curves=curves,
        law=law,
        doublings=longest_doublings(law, curves.get(CONTEXT, [])),
        noise=noise,
        checks=checklist(records, law.analysis, noise[0] if noise else None, len(unfinished)),
        planned=planned_content(records),
    )


def _law_usage(law: StudyLaw, num_runs: int) -> list[str]:
    """Return how the law of the study used each run."""
    if law.analysis is None:
        return ["single curves only"] * num_runs
    table = law.analysis.table
    return [
        "fitted" if fitted else "held out" if held else "left aside"
        for fitted, held in zip(table.fitted.tolist(), table.held_out.tolist(), strict=True)
    ]
