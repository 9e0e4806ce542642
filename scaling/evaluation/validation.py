"""Held-out loss of a model in training, and the linear reference on the same targets."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.distributed

from datasets.manifest import Corpus
from datasets.references import linear_nats
from datasets.windows import hash_targets
from model.targets import Targets
from scaling.config.run_config import RunConfig
from scaling.config.run_windows import held_out_windows
from scaling.evaluation.clustered_errors import assign_clusters


@dataclass(frozen=True)
class Scores:
    """Nats (targets,) of every held-out target, by the run and by the linear reference.

    ``by_context`` maps each context (samples) to the run's nats from it.
    """

    run: np.ndarray
    by_context: dict[int, np.ndarray]
    linear: np.ndarray
    cluster: np.ndarray
    clustered_by: str
    targets_hash: str


@torch.no_grad()
def score(
    engine: Any, batches: Any, corpus: Corpus, config: RunConfig, contexts: Sequence[int] = ()
) -> Scores:
    """Score all held-out targets from the model's context, and from each of ``contexts`` (samples).

    Every rank must call this, and receives all scores.
    """
    engine.eval()
    context, spacing = config.model.context, config.validation.spacing
    lengths = [context, *contexts]
    rows = []
    for batch in batches:
        codes = batch["codes"]
        padding = batch.get("padding")
        run_KBn = [
            engine(
                codes[:, context - length :],
                Targets("last", spacing, context=length),
                None if padding is None else (padding - (context - length)).clamp(min=0),
            )[1]
            for length in lengths
        ]
        runs = codes.unfold(1, corpus.linear.order + 1, 1)[
            :, context - corpus.linear.order :: spacing
        ]
        linear = linear_nats(runs.cpu().numpy(), corpus.linear, corpus.levels)
        for number, position in enumerate(batch["position"].tolist()):
            window = int(batch["window"][number])
            run_Kn = np.stack([nats[number].flatten().cpu().numpy() for nats in run_KBn])
            rows.append((position, window, run_Kn, linear[number]))
    engine.train()
    gathered: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(gathered, rows)
    # If the workers do not divide the windows evenly, the last step scores extra ones.
    rows = [row for part in gathered for row in part if row[0] < config.validation.windows]
    rows.sort(key=lambda row: int(row[0]))
    indexes = np.array([row[1] for row in rows])
    held_out = held_out_windows(config, corpus)
    recording, offsets = held_out.offsets(indexes)
    recordings = np.broadcast_to(recording[:, None], offsets.shape).ravel()
    cluster, clustered_by = assign_clusters(recordings, offsets.ravel() // corpus.rate)
    run_KT = np.concatenate([row[2] for row in rows], 1).astype(np.float64)
    return Scores(
        run=run_KT[0],
        by_context=dict(zip(lengths, run_KT, strict=True)),
        linear=np.concatenate([row[3] for row in rows]),
        cluster=cluster,
        clustered_by=clustered_by,
        targets_hash=hash_targets(held_out, indexes),
    )
