"""Finished runs scored by both protocols, as tasks of the cluster.

The tasks import this module, so it knows nothing of training: that would take longer to import than
a small model takes to score.
"""

from collections.abc import Sequence

import ray
import torch

from datasets.manifest import Corpus
from scaling.comparison.table import PROTOCOLS
from scaling.config.comparison_config import ScoringConfig
from scaling.config.run_config import RunConfig
from scaling.evaluation.evaluate import Progress, evaluate
from scaling.evaluation.scores import Evaluation, Protocol, file_name
from scaling.runs.trained_model import TrainedModel


def score(
    scoring: ScoringConfig, runs: Sequence[RunConfig], progress: Progress
) -> list[dict[Protocol, Evaluation]]:
    """The evaluation of every run by both protocols, as many at once as the cluster has room for.

    All are scored on the targets that have the longest context of any before them. ``progress`` is
    called with evaluations done and to do.
    """
    history = max(run.model.context for run in runs)
    asked = {}
    for run in runs:
        for protocol in PROTOCOLS:
            path = run.folder / _name(scoring, protocol, history, run)
            if not path.exists():
                resources = {
                    "num_cpus": run.cluster.cpus_per_worker,
                    "num_gpus": int(run.cluster.gpu),
                }
                asked[path] = _evaluated.options(**resources).remote(
                    run, scoring.split, protocol, scoring.positions, history
                )
    waiting = list(asked.values())
    while waiting:
        progress(len(asked) - len(waiting), len(asked))
        done, waiting = ray.wait(waiting)
        ray.get(done)
    return [
        {p: Evaluation.read(run.folder / _name(scoring, p, history, run)) for p in PROTOCOLS}
        for run in runs
    ]


def _name(scoring: ScoringConfig, protocol: Protocol, history: int, run: RunConfig) -> str:
    positions = str(scoring.positions)
    if protocol == "from-silence":
        positions, history = "all", 0
    return file_name(scoring.split, protocol, positions, history, run.model.context)


@ray.remote
def _evaluated(
    run: RunConfig, split: str, protocol: Protocol, positions: int, history: int
) -> None:
    torch.set_num_threads(run.cluster.cpus_per_worker)
    trained = TrainedModel.load(run.folder)
    corpus = Corpus.load(run.corpus)
    found = evaluate(trained, corpus, split, lambda done, total: None, protocol, positions, history)
    found.write(run.folder)
