"""The loss on the frozen held-out targets, and the plain reference on them."""

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
    """Nats of every held-out target: the run's and the linear reference's, and their clusters.

    All arrays are (targets,); what shares a ``assign_clusters`` is correlated, and ``clustered_by`` says
    what clusters are.
    ``by_context`` are the run's nats where it sees fewer samples, by their number.
    ``targets_hash`` identifies the list of (recording, offset).
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
    """Score all held-out targets; every rank must call it, and every rank gets all scores.

    They are scored from the model's own context, and from each of ``contexts`` (samples) besides.
    """
    engine.eval()
    context, spacing = config.model.context, config.validation.spacing
    seen = [context, *contexts]
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
            for length in seen
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
    # Where the workers do not divide the windows, the last step scores windows beyond the list.
    every = sorted((row for part in gathered for row in part), key=lambda row: int(row[0]))
    every = [row for row in every if row[0] < config.validation.windows]
    indexes = np.array([row[1] for row in every])
    held_out = held_out_windows(config, corpus)
    recording, offsets = held_out.offsets(indexes)
    owner = np.broadcast_to(recording[:, None], offsets.shape).ravel()
    member, clustered_by = assign_clusters(owner, offsets.ravel() // corpus.rate)
    run_KT = np.concatenate([row[2] for row in every], 1).astype(np.float64)
    return Scores(
        run=run_KT[0],
        by_context=dict(zip(seen, run_KT, strict=True)),
        linear=np.concatenate([row[3] for row in every]),
        cluster=member,
        clustered_by=clustered_by,
        targets_hash=hash_targets(held_out, indexes),
    )
