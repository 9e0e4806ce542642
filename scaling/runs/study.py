"""State of a study and of its runs, read from its folder alone."""

import json
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from datasets import manifest
from datasets.files import write_whole
from datasets.manifest import Corpus
from datasets.storage import Folder
from scaling.config.run_config import RunConfig
from scaling.runs import record
from scaling.runs.log import FAILURE_NAME, LOG_NAME, PRUNED_NAME, RunHistory, read_failure

STUDY_NAME = "study.json"
CONFIG_NAME = "config.yaml"
"""File in a run's folder with every value of its configuration, which `train` can read."""
TUNE_NAME = "tune"
SILENT_SECONDS = 120
"""Time without a new line after which an unfinished run counts as stopped."""

State = Literal[
    "waiting", "running", "paused", "stopped", "failed", "diverged", "pruned", "finished"
]
"""State of a run; a paused one waits at a rung for others of its cell."""


class StudyError(ValueError):
    """A folder that is not a study, or not the study that the configuration describes."""


@dataclass(frozen=True)
class RunState:
    """One run of a study, with means of its newest steps; ``problem`` if it failed or was pruned.

    ``nats`` is the loss of the newest validation, before the first one that of the newest steps.
    """

    id: str
    axes: dict[str, Any]
    state: State
    step: int
    steps: int
    nats: float | None
    targets_per_second: float | None
    data_wait_share: float | None
    step_seconds: float | None
    problem: str | None

    @property
    def seconds_left(self) -> float | None:
        """Remaining seconds of training at the present speed; None before the speed is known."""
        return None if self.step_seconds is None else self.step_seconds * (self.steps - self.step)


def register(folder: Path, runs: Sequence[tuple[dict[str, Any], RunConfig]]) -> None:
    """Add runs, each with its axes, to the study's file of runs."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / STUDY_NAME
    known = json.loads(path.read_text())["runs"] if path.exists() else {}
    for axes, config in runs:
        known[config.id] = {
            "axes": axes,
            "steps": config.train.steps,
            "seconds": config.train.seconds,
            "targets_per_step": config.targets_per_step,
        }
    write_whole(path, json.dumps({"runs": known}, indent=1) + "\n")


def finished_record(config: RunConfig) -> record.RunRecord | None:
    """The run's record where it has ended; StudyError where it was trained on another corpus."""
    path = config.folder / record.FILE_NAME
    if not path.exists():
        return None
    found = record.RunRecord.read(path)
    fingerprint = _corpus_fingerprint(config.corpus)
    if found.corpus.fingerprint != fingerprint:
        raise StudyError(
            f"{config.folder} was trained on a corpus with fingerprint "
            f"{found.corpus.fingerprint[:12]}, and {config.corpus} now has {fingerprint[:12]}: "
            "give the study another name (study=...), or remove the run's folder"
        )
    return found


def _corpus_fingerprint(corpus: str) -> str:
    """Return the fingerprint of a corpus, and hash its manifest again only if that changed."""
    folder = Folder.of(corpus)
    system, name = folder.filesystem_path(manifest.FILE_NAME)
    info = system.get_file_info(name)
    return _hashed_fingerprint(folder, info.mtime_ns, info.size)


@lru_cache(maxsize=16)
def _hashed_fingerprint(folder: Folder, modified: int | None, size: int | None) -> str:
    """Return the fingerprint of the manifest with this time (nanoseconds) and size (bytes)."""
    return Corpus.load(folder).fingerprint


def read_states(folder: Path, without: Collection[str] = ()) -> list[RunState]:
    """Return the states of all runs in the order of the sweep; StudyError without a study.

    The logs of the runs ``without`` are not read, and their states not returned.
    """
    path = folder / STUDY_NAME
    if not path.exists():
        raise StudyError(
            f"{folder} has no {STUDY_NAME}, so it is not a study: run `python -m scaling sweep "
            "--config ...` first, or name the folder of a study, such as runs/demo"
        )
    runs = json.loads(path.read_text())["runs"]
    return [_state(folder / id, id, entry) for id, entry in runs.items() if id not in without]


def _state(folder: Path, id: str, entry: dict[str, Any]) -> RunState:
    history = RunHistory.read(folder)
    newest = history.steps[-10:]
    step = newest[-1]["step"] if newest else 0
    seconds = sum(line["seconds"] for line in newest[1:]) or None
    per_step = seconds / len(newest[1:]) if seconds else None
    state = _find_state(folder, history)
    losses = history.validations[-1:] or newest
    return RunState(
        id=id,
        axes=entry["axes"],
        state=state,
        step=step,
        steps=_expected_steps(entry, step, per_step, state),
        nats=sum(line["nats"] for line in losses) / len(losses) if losses else None,
        targets_per_second=entry["targets_per_step"] / per_step if per_step else None,
        data_wait_share=(
            sum(line["data_wait_seconds"] for line in newest[1:]) / seconds if seconds else None
        ),
        step_seconds=per_step,
        problem=_reason(folder, state),
    )


def _expected_steps(entry: dict[str, Any], step: int, per_step: float | None, state: State) -> int:
    """Return the steps of a run, or those that its time limit allows at its speed."""
    steps: int = entry["steps"]
    if entry["seconds"] is None:
        return steps
    if state == "finished":
        return step
    return min(steps, max(step, round(entry["seconds"] / per_step))) if per_step else steps


def _reason(folder: Path, state: State) -> str | None:
    if state == "pruned":
        return str(json.loads((folder / PRUNED_NAME).read_text())["why"])
    return read_failure(folder) if state in ("failed", "diverged") else None


def _find_state(folder: Path, history: RunHistory) -> State:
    if (folder / record.FILE_NAME).exists():
        return "finished"
    failure = folder / FAILURE_NAME
    if failure.exists():
        return "diverged" if json.loads(failure.read_text()).get("diverged") else "failed"
    if (folder / PRUNED_NAME).exists():
        return "pruned"
    if history.rungs and history.rungs[-1]["step"] == history.steps[-1]["step"]:
        return "paused"
    log = folder / LOG_NAME
    if not log.exists():
        return "waiting"
    silent = time.time() - log.stat().st_mtime
    return "stopped" if silent > SILENT_SECONDS else "running"
