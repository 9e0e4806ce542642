"""Use that a model makes of its context: its loss with older chunks replaced.

A target is scored again with all chunks older than the newest T samples replaced: by silence, by
the same chunks in another order, or by chunks of another recording. A latent depends on one chunk
alone. Chunks are therefore encoded once, and latents are replaced.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from datasets import shards
from datasets.manifest import Corpus
from datasets.windows import Windows, hash_targets, order_windows
from model.codes import codes_tensor
from model.network import LatentTransformer, Sequences
from model.targets import Targets
from scaling.evaluation.clustered_errors import assign_clusters, half_interval, mean_and_error
from scaling.evaluation.evaluate import Progress
from scaling.evaluation.protocols import ORDER_SEED, check_own_corpus, subset
from scaling.evaluation.scores import (
    KEPT_SHARE,
    KINDS,
    AttentionMass,
    ContextUse,
    Kind,
    Loss,
    ReplacedContext,
)
from scaling.runs.loss_by_context import octaves
from scaling.runs.trained_model import TrainedModel, TrainedModelError

BATCH = 8


@dataclass(frozen=True)
class EncodedTargets:
    """Targets (S,) with their own codes and encoded contexts, sorted by recording and offset."""

    recordings: np.ndarray
    offsets: np.ndarray
    codes_S1: Tensor
    sequences: Sequences


@torch.no_grad()
def probe(
    run: TrainedModel, corpus: Corpus, split: str, positions: int, seed: int, progress: Progress
) -> ContextUse:
    """Probe a run on ``positions`` random targets of a split, rounded up to whole windows.

    ``seed`` seeds the shuffled orders and the choice of donors.

    Raises:
        EvaluationError: The corpus is not the run's.
        TrainedModelError: The run is a baseline, or its context has a single chunk.
    """
    network, model = run.network, run.config.model
    if not isinstance(network, LatentTransformer) or model.latents < 2:
        raise TrainedModelError(
            f"{run.folder} has no chunks older than its newest one to replace: probe a latent "
            "Transformer whose context has two or more chunks"
        )
    check_own_corpus(run, corpus)
    windows = subset(corpus, split, model.context, model.context)
    number = min(-(-positions // windows.targets), len(windows))
    indexes = order_windows(np.arange(number), len(windows), ORDER_SEED)
    targets = encode_targets(network, corpus, windows, indexes)
    names = [windows.recordings[index].name for index in targets.recordings]
    cluster, _ = assign_clusters(np.array(names), targets.offsets // corpus.rate)
    donors, donor_origin = choose_donors(targets, model.context, seed)
    full = score_latents(network, targets, targets.sequences.latents_SND)
    replaced = list(_replace(network, targets, full, cluster, donors, seed, progress))
    by_another = [cost for cost in replaced if cost.kind == "another"]
    return ContextUse(
        run=run.record.id,
        split=split,
        rate=corpus.rate,
        context=model.context,
        chunk=model.chunk,
        targets=len(full),
        targets_hash=hash_targets(windows, indexes),
        loss=Loss.of(*mean_and_error(full, cluster)),
        gain=by_another[0].excess,
        gain_half_interval=by_another[0].half_interval,
        effective=effective_context(by_another, model.context),
        donors=donor_origin,
        replaced=replaced,
        attention=_attention(network, targets),
    )


def _replace(
    network: LatentTransformer,
    targets: EncodedTargets,
    full: np.ndarray,
    cluster: np.ndarray,
    donors: np.ndarray,
    seed: int,
    progress: Progress,
) -> Iterator[ReplacedContext]:
    """Yield the cost of every replacement above ``full`` (S,), the nats of the full context."""
    a = network.architecture
    kept = [last for _, last in octaves(a.latents)[:-1]]
    steps = [(kind, newest) for kind in KINDS for newest in kept]
    for done, (kind, newest) in enumerate(steps):
        progress(done, len(steps))
        older = replacement_latents(network, targets, kind, a.latents - newest, donors, seed)
        latents = torch.cat([older, targets.sequences.latents_SND[:, -newest:]], 1)
        excess, error = mean_and_error(score_latents(network, targets, latents) - full, cluster)
        yield ReplacedContext(
            kind=kind,
            kept=newest * a.chunk,
            excess=Loss.of(excess, error),
            half_interval=half_interval(error, len(np.unique(cluster))),
        )
    progress(len(steps), len(steps))


def encode_targets(
    network: LatentTransformer, corpus: Corpus, windows: Windows, indexes: np.ndarray
) -> EncodedTargets:
    """Encode the full context of each target of the windows at ``indexes``."""
    owner, offsets = windows.offsets(indexes)
    recordings = np.broadcast_to(owner[:, None], offsets.shape).ravel()
    order = np.lexsort((offsets.ravel(), recordings))
    recordings, offsets = recordings[order], offsets.ravel()[order]
    locations = [windows.recordings[index].location for index in recordings]
    device = next(network.parameters()).device
    context, targets = windows.context, Targets("last", network.architecture.chunk)
    codes, parts = [], []
    for begin in range(0, len(offsets), BATCH):
        batch = slice(begin, begin + BATCH)
        rows = [
            shards.read(corpus.folder, location, int(offset) - context, context + 1)
            for location, offset in zip(locations[batch], offsets[batch], strict=True)
        ]
        window_BT = codes_tensor(np.stack(rows)).to(device)
        codes.append(window_BT[:, -1:].long())
        parts.append(network.sequences(window_BT, targets))
    joined = [torch.cat(same) for same in zip(*(part.tensors() for part in parts), strict=True)]
    return EncodedTargets(recordings, offsets, torch.cat(codes), parts[0].group(joined))


def score_latents(
    network: LatentTransformer, targets: EncodedTargets, latents_SND: Tensor
) -> np.ndarray:
    """Return the nats (S,) of all targets with these latents as their contexts."""
    mode = Targets("last", network.architecture.chunk)
    sequences = targets.sequences._replace(latents_SND=latents_SND)
    batches = zip(
        *(tensor.split(BATCH) for tensor in (targets.codes_S1, *sequences.tensors())), strict=True
    )
    nats = [network.sequence_nats(sequences.group(part), codes, mode) for codes, *part in batches]
    return torch.cat(nats).flatten().double().cpu().numpy()


def replacement_latents(
    network: LatentTransformer,
    targets: EncodedTargets,
    kind: Kind,
    number: int,
    donors: np.ndarray,
    seed: int,
) -> Tensor:
    """Return the latents (S, number, D) that replace each target's ``number`` oldest ones."""
    latents_SND = targets.sequences.latents_SND
    if kind == "another":
        return latents_SND[torch.from_numpy(donors), :number]
    if kind == "silence":
        a = network.architecture
        chunk_1C = torch.full((1, 1, a.chunk), a.levels // 2, device=latents_SND.device)
        silent_11D: Tensor = network.encoder(chunk_1C)
        return silent_11D.expand(len(latents_SND), number, -1)
    generator = np.random.default_rng(seed)
    orders = np.stack([generator.permutation(number) for _ in range(len(latents_SND))])
    orders_SN = torch.from_numpy(orders).to(latents_SND.device)
    return latents_SND[:, :number].take_along_dim(orders_SN[..., None], 1)


def choose_donors(targets: EncodedTargets, context: int, seed: int) -> tuple[np.ndarray, str]:
    """Choose for each target another one (S,) as the donor of older chunks; name their origin.

    A donor is of another recording, or a context away if there is only one.
    """
    recordings, offsets = targets.recordings, targets.offsets
    generator = np.random.default_rng(seed)
    donors = []
    several = len(np.unique(recordings)) > 1
    for recording, offset in zip(recordings, offsets, strict=True):
        distance = np.abs(offsets - offset)
        eligible = recordings != recording if several else distance >= context
        if not eligible.any():
            eligible = distance == distance.max()
        donors.append(generator.choice(np.flatnonzero(eligible)))
    origin = "another recording" if several else "another place of the only recording"
    return np.array(donors), origin


def effective_context(by_another: Sequence[ReplacedContext], context: int) -> int:
    """Return the fewest samples that keep the share of the gain; see :class:`ContextUse`."""
    gain = by_another[0].excess.nats
    if gain <= by_another[0].half_interval:
        return by_another[0].kept
    limit = (1 - KEPT_SHARE) * gain
    return next((cost.kept for cost in by_another if cost.excess.nats <= limit), context)


def _attention(network: LatentTransformer, targets: EncodedTargets) -> list[AttentionMass]:
    """Return the share of the newest latent's attention on the newest 1, 2, 4, ... chunks."""
    parts = [
        [weights.double().mean(1) for weights in network.transformer.newest_attention_weights(part)]
        for part in targets.sequences.latents_SND.split(BATCH)
    ]
    # By layer the mean weight (N,) on each latent, the newest first.
    by_layer = [
        torch.cat(layer).mean(0).flip(0).cpu().numpy() for layer in zip(*parts, strict=True)
    ]
    chunk = network.architecture.chunk
    return [
        AttentionMass(
            newest=last * chunk, by_layer=[float(weights[:last].sum()) for weights in by_layer]
        )
        for _, last in octaves(network.architecture.latents)
    ]
