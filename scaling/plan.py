"""What a run or a sweep would do, before anything starts: no torch, no Ray."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from datasets.manifest import Corpus, ManifestError
from model import accounting
from scaling import check
from scaling.config import RunConfig
from scaling.targets import training_windows


@dataclass(frozen=True)
class PlannedRun:
    """One run: its cost by formula, and what its corpus offers (None where it is not prepared).

    ``operations_per_target`` and ``naive_operations_per_target`` are forward and backward
    floating-point operations with all that targets share, and with a window of the full context for
    each of them.
    ``epoch`` is how many targets the training split offers, each once.
    """

    id: str
    axes: dict[str, Any]
    parameters: dict[str, int]
    targets: int
    operations_per_target: float
    naive_operations_per_target: float
    operations: float
    window_bytes: int
    epoch: int | None


@dataclass(frozen=True)
class Plan:
    """The planned runs, what stops them, and what a reader should know."""

    runs: list[PlannedRun]
    problems: list[str]
    notes: list[str]

    def as_json(self) -> dict[str, Any]:
        """The plan as plain JSON types."""
        return asdict(self)


def make(runs: Sequence[tuple[dict[str, Any], RunConfig]]) -> Plan:
    """The plan of these runs, each with its axes."""
    problems: list[str] = []
    notes: list[str] = []
    planned = []
    corpora: dict[str, Corpus | None] = {}
    for axes, config in runs:
        folder = str(config.corpus)
        if folder not in corpora:
            corpora[folder] = _load(config, notes)
        corpus = corpora[folder]
        found = check.problems(config, corpus)
        problems += found
        if not found:
            planned.append(_plan(axes, config, corpus, notes))
    problems += check.history_problems([config for _, config in runs])
    return Plan(planned, list(dict.fromkeys(problems)), list(dict.fromkeys(notes)))


def _load(config: RunConfig, notes: list[str]) -> Corpus | None:
    try:
        return Corpus.load(config.corpus)
    except ManifestError as error:
        notes.append(f"{error} Until then nothing that depends on the corpus is checked.")
        return None


def _plan(
    axes: dict[str, Any], config: RunConfig, corpus: Corpus | None, notes: list[str]
) -> PlannedRun:
    targets = config.train.steps * config.targets_per_step
    per_target, naive = accounting.training_operations_per_target(
        config.model, config.targets, config.positions
    )
    epoch = training_windows(config, corpus).targets_in_epoch if corpus else None
    if epoch and targets > epoch:
        notes.append(
            f"run {config.id} trains on {targets} targets, and its corpus offers {epoch}: it sees "
            f"each {targets / epoch:.1f} times"
        )
    return PlannedRun(
        id=config.id,
        axes=axes,
        parameters=accounting.parameters(config.model),
        targets=targets,
        operations_per_target=per_target,
        naive_operations_per_target=naive,
        operations=per_target * targets,
        window_bytes=config.targets.samples(config.positions, config.model),
        epoch=epoch,
    )
