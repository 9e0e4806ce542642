"""Scoring of finished runs by both protocols, as Ray tasks.

The tasks import this module, so it does not import training: that import takes longer than scoring
a small model.
"""

from collections.abc import Sequence
from pathlib import Path

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
    """Evaluate every run by both protocols, unless its evaluations exist.

    All runs are scored on the targets with the longest of their contexts before them.
    ``progress`` is called with the evaluations done and all new ones.
    """
    history = max(run.model.context for run in runs)
    tasks = []
    for run in runs:
        cluster = run.cluster
        task = _evaluate.options(num_cpus=cluster.cpus_per_worker, num_gpus=int(cluster.gpu))
        tasks += [
            task.remote(run, scoring.split, protocol, scoring.positions, history)
            for protocol in PROTOCOLS
            if not _path(scoring, protocol, history, run).exists()
        ]
    waiting = tasks
    while waiting:
        progress(len(tasks) - len(waiting), len(tasks))
        done, waiting = ray.wait(waiting)
        ray.get(done)
    return [
        {p: Evaluation.read(_path(scoring, p, history, run)) for p in PROTOCOLS} for run in runs
    ]


def _path(scoring: ScoringConfig, protocol: Protocol, history: int, run: RunConfig) -> Path:
    positions = str(scoring.positions)
    if protocol == "from-silence":
        positions, history = "all", 0
    return run.folder / file_name(scoring.split, protocol, positions, history, run.model.context)


@ray.remote
def _evaluate(run: RunConfig, split: str, protocol: Protocol, positions: int, history: int) -> None:
    torch.set_num_threads(run.cluster.cpus_per_worker)
    trained, corpus = TrainedModel.load(run.folder), Corpus.load(run.corpus)
    found = evaluate(trained, corpus, split, lambda done, total: None, protocol, positions, history)
    found.write(run.folder)
