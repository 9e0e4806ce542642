"""What became of every run of a study: fitted, held out, left aside, or never finished."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scaling.record import RunRecord
from scaling.study import STUDY_NAME, read
from scaling.study_law import StudyLaw


def unfinished(folder: Path, records: Sequence[RunRecord]) -> list[dict[str, Any]]:
    """Runs that the study's folder names and that have no record: state, axes, and why."""
    if not (folder / STUDY_NAME).exists():
        return []
    done = {run.id for run in records}
    return [
        {
            "id": state.id,
            "axes": state.axes,
            "state": state.state,
            "step": state.step,
            "steps": state.steps,
            "problem": state.problem,
        }
        for state in read(folder)
        if state.id not in done
    ]


def uses(records: Sequence[RunRecord], law: StudyLaw) -> list[str]:
    """For each sorted record, what the law of the whole study did with it."""
    if law.analysis is None:
        return ["single curves only"] * len(records)
    table = law.analysis.table
    return [
        "fitted" if fitted else "held out" if held else "left aside"
        for fitted, held in zip(table.fitted.tolist(), table.held_out.tolist(), strict=True)
    ]
