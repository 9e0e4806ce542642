"""The next codes from their logits and from uniform numbers that depend on a seed alone."""

from dataclasses import dataclass

import torch
from torch import Tensor

BLOCK = 1_024


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How codes are drawn.

    temperature: divides the logits; 0 takes the likeliest code.
    top_k: only the k likeliest codes; all without it.
    top_p: only the likeliest codes that together have this probability (Holtzman et al. 2020,
        arXiv 1904.09751); all without it.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None

    def problems(self) -> list[str]:
        """Every sentence that says what cannot be; empty if it can."""
        found = []
        if not 0 <= self.temperature < float("inf"):
            found.append(
                f"temperature is {self.temperature}: write 0 (the likeliest code) or more, as 1.0"
            )
        if self.top_k is not None and self.top_k < 1:
            found.append(f"top-k is {self.top_k}: write 1 or more, or leave it out")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            found.append(f"top-p is {self.top_p}: write more than 0 and at most 1, as 0.95")
        return found


def draw(logits_BQ: Tensor, uniform_B: Tensor, sampling: Sampling) -> Tensor:
    """Codes (B,) by inversion: the first whose cumulative probability exceeds ``uniform``."""
    if sampling.temperature == 0:
        return logits_BQ.argmax(-1)
    # In float64, as the uniforms are: one just below 1 would be 1 in float32, beyond every code.
    logits_BQ = logits_BQ.double()
    logits_BQ = (logits_BQ - logits_BQ.amax(-1, keepdim=True)) / sampling.temperature
    if sampling.top_k is not None and sampling.top_k < logits_BQ.shape[1]:
        lowest = logits_BQ.topk(sampling.top_k).values[:, -1:]
        logits_BQ = logits_BQ.masked_fill(logits_BQ < lowest, -torch.inf)
    probability_BQ = logits_BQ.softmax(-1)
    if sampling.top_p is not None and sampling.top_p < 1:
        ordered, codes = probability_BQ.sort(dim=-1, descending=True, stable=True)
        # A code stays if those before it do not yet have the probability that is asked for.
        beyond = ordered.cumsum(-1) - ordered >= sampling.top_p
        probability_BQ = probability_BQ.masked_fill(
            torch.zeros_like(beyond).scatter(-1, codes, beyond), 0
        )
    cumulative_BQ = probability_BQ.cumsum(-1)
    threshold_B1 = uniform_B[:, None] * cumulative_BQ[:, -1:]
    return (cumulative_BQ <= threshold_B1).sum(-1)


class Uniforms:
    """Uniform numbers for B streams, each a function of (seed, stream, step) alone."""

    def __init__(self, seed: int, batch: int) -> None:
        self._generators = [
            torch.Generator().manual_seed(seed * 65_537 + stream) for stream in range(batch)
        ]
        self._block = torch.empty(0, batch)
        self._next = 0

    def step(self) -> Tensor:
        """The numbers (B,) of the next step, float64."""
        if self._next == len(self._block):
            columns = [
                torch.rand(BLOCK, generator=generator, dtype=torch.float64)
                for generator in self._generators
            ]
            self._block, self._next = torch.stack(columns, 1), 0
        self._next += 1
        return self._block[self._next - 1]
