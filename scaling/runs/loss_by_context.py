"""Loss by context, from one run whose targets see from 1 to N chunks.

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
"""Share of the steps after which the training loss counts."""


def octaves(latents: int) -> list[tuple[int, int]]:
    """Return the shortest and the longest context of each octave up to N, in chunks."""
    longest = [2**power for power in range((latents - 1).bit_length())] + [latents]
    return [(before + 1, last) for before, last in zip([0, *longest[:-1]], longest, strict=True)]


def trained_contexts(config: RunConfig) -> list[int]:
    """Return the trained contexts below the full one at which a run is scored, in samples."""
    if not _several(config):
        return []
    return [last * config.model.chunk for _, last in octaves(config.model.latents)[:-1]]


def means_by_context(loss: "Tensor", nats_BnP: "Tensor", config: RunConfig) -> np.ndarray:
    """Return the mean loss of a batch (nats), followed by that of each octave if it has several.

    Args:
        loss: mean loss, a scalar.
        nats_BnP: loss of each target, (batch, positions, phases).
    """
    if not _several(config):
        return np.array([loss.item()])
    latents = config.model.latents
    by_context_N = nats_BnP.unflatten(1, (-1, latents)).double().mean((0, 1, 3)).cpu().numpy()
    parts = [by_context_N[first - 1 : last].mean() for first, last in octaves(latents)]
    return np.array([loss.item(), *parts])


def training_losses(config: RunConfig, history: RunHistory) -> list[ContextLoss]:
    """Return the training loss of each octave over the last quarter of a run's steps."""
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
    """Return whether the targets of a window see from 1 to N chunks."""
    return config.targets.mode in ("chunks", "samples")


def _error(values: np.ndarray) -> float | None:
    """Return the standard error of the mean of independent values (n,)."""
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None
