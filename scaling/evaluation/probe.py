"""How much of its context a model uses: what it loses where what is old says nothing.

A target is scored again with all chunks older than the newest T samples replaced: by silence, by
themselves in another order, or by those of another recording. A latent stands for one chunk alone,
so that chunks are encoded once, and latents are replaced.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from datasets import shards
from datasets.manifest import Corpus
from datasets.windows import Windows, hash_targets, order_windows
from model.codes import codes_tensor
from model.network import LatentTransformer, Sequences
from model.recent import RecentOutput
from model.targets import Targets
from scaling.evaluation.clustered_errors import assign_clusters, half_interval, mean_and_error
from scaling.evaluation.context_use import (
    KEPT_SHARE,
    KINDS,
    AttentionMass,
    ContextUse,
    Kind,
    ReplacedContext,
)
from scaling.evaluation.protocols import ORDER_SEED, subset
from scaling.evaluation.scores import EvaluationError, Loss
from scaling.runs.loss_by_context import octaves
from scaling.runs.trained_model import TrainedModel, TrainedModelError

Progress = Callable[[int, int], None]
READ_TOGETHER = 8


@dataclass(frozen=True)
class _Chosen:
    """Targets as sequences, one each, in the order of recordings and offsets."""

    recordings: np.ndarray
    offsets: np.ndarray
    codes_S1: Tensor
    sequences: Sequences


@torch.no_grad()
def probe(
    run: TrainedModel, corpus: Corpus, split: str, positions: int, seed: int, progress: Progress
) -> ContextUse:
    """Probe a run on ``positions`` random targets of a split, rounded up to whole windows.

    ``seed`` is that of the orders and of the donors. EvaluationError where the corpus is not the
    run's, TrainedError where the run is a baseline or its context has a single chunk.
    """
    network, model = run.network, run.config.model
    if not isinstance(network, LatentTransformer) or model.latents < 2:
        raise TrainedModelError(
            f"{run.folder} has no chunks older than its newest one to replace: probe a latent "
            "Transformer whose context has two or more"
        )
    if corpus.fingerprint != run.record.corpus.fingerprint:
        raise EvaluationError(
            f"{corpus.folder} is not the corpus that {run.folder} was trained on: its fingerprint "
            "differs. Prepare that one again"
        )
    windows = subset(corpus, split, model.context, model.context)
    number = min(-(-positions // windows.targets), len(windows))
    picked = order_windows(np.arange(number), len(windows), ORDER_SEED)
    chosen = _chosen(network, corpus, windows, picked)
    names = [windows.recordings[index].name for index in chosen.recordings]
    member, _ = assign_clusters(np.array(names), chosen.offsets // corpus.rate)
    donors, said = _donors(chosen, model.context, seed)
    full = _nats(network, chosen, chosen.sequences.latents_SND)
    replaced = list(_replaced(network, chosen, full, member, donors, seed, progress))
    others = [one for one in replaced if one.kind == "another"]
    return ContextUse(
        run=run.record.id,
        split=split,
        rate=corpus.rate,
        context=model.context,
        chunk=model.chunk,
        targets=len(full),
        targets_hash=hash_targets(windows, picked),
        loss=Loss.of(*mean_and_error(full, member)),
        gain=others[0].excess,
        gain_half_interval=others[0].half_interval,
        effective=_effective(others, model.context),
        donors=said,
        replaced=replaced,
        attention=_attention(network, chosen, octaves(model.latents)),
    )


def _replaced(
    network: LatentTransformer,
    chosen: _Chosen,
    full: np.ndarray,
    member: np.ndarray,
    donors: np.ndarray,
    seed: int,
    progress: Progress,
) -> Iterator[ReplacedContext]:
    """What every replacement costs above the nats (S,) of the whole context."""
    a = network.architecture
    kept = [last for _, last in octaves(a.latents)[:-1]]
    steps = [(kind, newest) for kind in KINDS for newest in kept]
    for done, (kind, newest) in enumerate(steps):
        progress(done, len(steps))
        older = _older(network, chosen, kind, a.latents - newest, donors, seed)
        latents = torch.cat([older, chosen.sequences.latents_SND[:, -newest:]], 1)
        excess, error = mean_and_error(_nats(network, chosen, latents) - full, member)
        yield ReplacedContext(
            kind=kind,
            kept=newest * a.chunk,
            excess=Loss.of(excess, error),
            half_interval=half_interval(error, len(np.unique(member))),
        )
    progress(len(steps), len(steps))


def _chosen(
    network: LatentTransformer, corpus: Corpus, windows: Windows, picked: np.ndarray
) -> _Chosen:
    """The targets of the picked windows, each with its own context encoded."""
    owner, offsets = windows.offsets(picked)
    recordings = np.broadcast_to(owner[:, None], offsets.shape).ravel()
    ranked = np.lexsort((offsets.ravel(), recordings))
    recordings, offsets = recordings[ranked], offsets.ravel()[ranked]
    device = next(network.parameters()).device
    context, targets = windows.context, Targets("last", network.architecture.chunk)
    codes, parts = [], []
    for begin in range(0, len(offsets), READ_TOGETHER):
        some = slice(begin, begin + READ_TOGETHER)
        window_BT = codes_tensor(
            np.stack(
                [
                    shards.read(
                        corpus.folder,
                        windows.recordings[index].location,
                        int(offset) - context,
                        context + 1,
                    )
                    for index, offset in zip(recordings[some], offsets[some], strict=True)
                ]
            )
        ).to(device)
        codes.append(window_BT[:, -1:].long())
        parts.append(network.sequences(window_BT, targets))
    recent = None
    if parts[0].recent is not None:
        recents = [part.recent for part in parts if part.recent is not None]
        recent = RecentOutput(
            torch.cat([one.summand for one in recents]),
            torch.cat([one.predicted for one in recents]),
            recents[0].scale,
        )
    latents = torch.cat([part.latents_SND for part in parts])
    return _Chosen(recordings, offsets, torch.cat(codes), Sequences(latents, recent))


def _nats(network: LatentTransformer, chosen: _Chosen, latents_SND: Tensor) -> np.ndarray:
    """The nats (S,) of all targets, where their contexts are these latents."""
    targets = Targets("last", network.architecture.chunk)
    sequences = chosen.sequences._replace(latents_SND=latents_SND)
    own = zip(
        *(one.split(READ_TOGETHER) for one in (chosen.codes_S1, *sequences.tensors())), strict=True
    )
    found = [network.sequence_nats(sequences.group(part), codes, targets) for codes, *part in own]
    return torch.cat(found).flatten().double().cpu().numpy()


def _older(
    network: LatentTransformer,
    chosen: _Chosen,
    kind: Kind,
    number: int,
    donors: np.ndarray,
    seed: int,
) -> Tensor:
    """What stands in (S, number, D) for the ``number`` oldest latents of every target."""
    latents_SND = chosen.sequences.latents_SND
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


def _donors(chosen: _Chosen, context: int, seed: int) -> tuple[np.ndarray, str]:
    """The target (S,) whose context stands in for each one's, and in words where it lies."""
    recordings, offsets = chosen.recordings, chosen.offsets
    generator = np.random.default_rng(seed)
    donors = []
    elsewhere = len(np.unique(recordings)) > 1
    for recording, offset in zip(recordings, offsets, strict=True):
        distance = np.abs(offsets - offset)
        apart = recordings != recording if elsewhere else distance >= context
        if not apart.any():
            apart = distance == distance.max()
        donors.append(generator.choice(np.flatnonzero(apart)))
    said = "another recording" if elsewhere else "another place of the only recording"
    return np.array(donors), said


def _effective(others: Sequence[ReplacedContext], context: int) -> int:
    """The fewest samples that keep the share of the gain; see :class:`ContextUse`."""
    gain = others[0].excess.nats
    if gain <= others[0].half_interval:
        return others[0].kept
    lost = (1 - KEPT_SHARE) * gain
    return next((one.kept for one in others if one.excess.nats <= lost), context)


def _attention(
    network: LatentTransformer, chosen: _Chosen, ages: Sequence[tuple[int, int]]
) -> list[AttentionMass]:
    """The share of attention on the newest 1, 2, 4, ... chunks."""
    by_layer = list(_age_weights(network, chosen))
    chunk = network.architecture.chunk
    return [
        AttentionMass(
            newest=last * chunk, by_layer=[float(weights[:last].sum()) for weights in by_layer]
        )
        for _, last in ages
    ]


def _age_weights(network: LatentTransformer, chosen: _Chosen) -> Iterator[np.ndarray]:
    """By layer: the mean weight (N,) of the newest latent's query on each, the newest first."""
    parts = [
        [weights.double().mean(1) for weights in network.transformer.newest_attention_weights(part)]
        for part in chosen.sequences.latents_SND.split(READ_TOGETHER)
    ]
    for layer in zip(*parts, strict=True):
        yield torch.cat(layer).mean(0).flip(0).cpu().numpy()
