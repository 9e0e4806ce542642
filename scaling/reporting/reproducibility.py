"""Reproducibility of each run: its restarts, its data, and the command that trains it again.

The record has the steps that restarts lost. The run's log shows whether a step counts twice: it
must have each step of the record once and end in the record's order of data.
"""

import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from scaling.analysis.provenance import count_noun
from scaling.runs.log import RunHistory
from scaling.runs.record import RunRecord
from scaling.runs.study import CONFIG_NAME

AGAIN = "cluster.storage=again"
"""Another folder for the same run, because a run that has ended is not trained again."""
SHORT = 60  # characters of a reason in a table


@dataclass(frozen=True)
class RunReproducibility:
    """Reproducibility of one run.

    ``reasons`` counts its restarts by reason; ``steps_again`` were lost and repeated.
    ``targets_twice`` are counted twice in its log, None without a log. ``log_problem`` names a
    mismatch of log and record. ``repeated`` is the share of its targets that it had seen before.
    ``weights_of`` is the step of its weights: the last, or with ``validation.patience`` the best.
    ``command`` trains it again; None if its folder lacks the configuration.
    """

    run: str
    restarts: int
    reasons: dict[str, int]
    steps_again: int
    targets_twice: int | None
    log_problem: str | None
    order_digest: str
    repeated: float
    weights_of: int
    goodput: float
    operations_per_second: float
    command: str | None


def reproducibility_content(found: Sequence[RunReproducibility]) -> dict[str, Any]:
    """Return all runs as plain JSON values, with a sentence on all of them."""
    return {"sentence": _sentence(found), "runs": [asdict(one) for one in found]}


def run_reproducibility(folder: Path, run: RunRecord) -> RunReproducibility:
    """Read the log in the folder of a run, and compare it with the record."""
    steps = RunHistory.read(folder).steps
    numbers = {line["step"] for line in steps}
    config = folder / CONFIG_NAME
    command = ["python", "-m", "scaling", "train", str(config), AGAIN]
    return RunReproducibility(
        run=run.id,
        restarts=len(run.restarts),
        reasons=dict(Counter(_short(restart.why) for restart in run.restarts)),
        steps_again=sum(restart.lost_steps for restart in run.restarts),
        targets_twice=(len(steps) - len(numbers)) * run.targets.per_step if steps else None,
        log_problem=_log_problem(steps, numbers, run),
        order_digest=run.targets.order_digest,
        repeated=1 - 1 / run.targets.passes,
        weights_of=run.targets.steps if run.validation.step is None else run.validation.step,
        goodput=run.throughput.goodput,
        operations_per_second=run.operations.per_target * run.throughput.targets_per_second,
        command=shlex.join(command) if config.exists() else None,
    )


def _log_problem(steps: list[dict[str, Any]], numbers: set[int], run: RunRecord) -> str | None:
    """Return how the log differs from the record; None if it agrees."""
    if not steps:
        return "no log"
    if missing := set(range(1, run.targets.steps + 1)) - numbers:
        return f"{len(missing):,} steps are missing from the log"
    if steps[-1]["order_digest"] != run.targets.order_digest:
        return "the log ends with another order of data than the record"
    return None


def _short(why: str | None) -> str:
    text = why or "unknown reason"
    return text if len(text) <= SHORT else f"{text[: SHORT - 3].rstrip()}..."


def _sentence(found: Sequence[RunReproducibility]) -> str:
    """Sum up restarts, repeated steps and targets counted twice over all runs."""
    restarts, again = sum(one.restarts for one in found), sum(one.steps_again for one in found)
    whole = [one for one in found if one.log_problem is None]
    twice = sum(one.targets_twice or 0 for one in found)
    repeated = sum(one.repeated > 0 for one in found)
    orders = len({one.order_digest for one in found})
    return (
        f"{count_noun(restarts, 'restart')}; {count_noun(again, 'step')} lost and repeated; "
        f"{count_noun(twice, 'target')} counted twice by the logs. Logs with every step of their "
        f"record: {len(whole):,} of {len(found):,}. Runs trained on repeated data: {repeated:,}; "
        f"different orders of data: {orders:,}."
    )
