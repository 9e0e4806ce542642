"""The loss against the context, from one run whose targets see from 1 to N chunks.

Contexts are grouped in octaves of chunks: 1, 2, 3 to 4, 5 to 8, and so on to N.
"""

from typing import TYPE_CHECKING

import numpy as np

from scaling.config.run_config import RunConfig
from scaling.runs.log import RunHistory
from scaling.runs.record import ContextLoss

if TYPE_CHECKING:
    from torch import Tensor

SETTLED = 0.75
"""The share of the steps after which a training loss counts."""


def octaves(latents: int) -> list[tuple[int, int]]:
    """The shortest and the longest context, in chunks, of each octave up to N."""
    longest = [2**power for power in range((latents - 1).bit_length())] + [latents]
    return [(before + 1, last) for before, last in zip([0, *longest[:-1]], longest, strict=True)]


def trained_contexts(config: RunConfig) -> list[int]:
    """The contexts (samples) below its own at which a run is scored: those that it trained."""
    if not _several(config):
        return []
    return [last * config.model.chunk for _, last in octaves(config.model.latents)[:-1]]


def means_by_context(loss: "Tensor", nats_BnP: "Tensor", config: RunConfig) -> np.ndarray:
    """The mean loss of a batch, and behind it that of each octave where there are several."""
    if not _several(config):
        return np.array([loss.item()])
    latents = config.model.latents
    by_context_N = nats_BnP.unflatten(1, (-1, latents)).double().mean((0, 1, 3)).cpu().numpy()
    parts = [by_context_N[first - 1 : last].mean() for first, last in octaves(latents)]
    return np.array([loss.item(), *parts])


def training_losses(config: RunConfig, history: RunHistory) -> list[ContextLoss]:
    """The training loss of each octave over the last quarter of a run's steps."""
    if not _several(config):
        return []
    settled = history.steps[int(SETTLED * len(history.steps)) :]
    losses = np.array([line["nats_by_context"] for line in settled])
    chunk = config.model.chunk
    return [
        ContextLoss(
            shortest=first * chunk,
            longest=last * chunk,
            nats=float(own.mean()),
            standard_error=_error(own),
            excess=float((own - losses[:, -1]).mean()),
            excess_standard_error=_error(own - losses[:, -1]),
        )
        for (first, last), own in zip(octaves(config.model.latents), losses.T, strict=True)
    ]


def _several(config: RunConfig) -> bool:
    """Whether a window's targets see from 1 to N chunks."""
    return config.targets.mode in ("chunks", "samples")


def _error(values: np.ndarray) -> float | None:
    """Standard error of the mean of independent values (n,)."""
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None
