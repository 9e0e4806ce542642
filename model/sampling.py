"""Draw the next codes from their logits and from uniform numbers that depend only on a seed."""

from dataclasses import dataclass

import torch
from torch import Tensor

BLOCK = 1_024


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """Settings of how codes are drawn; each applies to the codes that those above it keep.

    temperature: divides the logits; 0 takes the likeliest code.
    top_k: keep the k likeliest codes; None keeps all.
    top_p: keep the likeliest codes that together have this probability (Holtzman et al. 2020, arXiv
        1904.09751); None keeps all.
    min_p: keep codes with at least this share of the likeliest one's probability (Nguyen et al.
        2024, arXiv 2407.01082); None keeps all.
    typical_p: keep the codes whose surprise is nearest to the expected surprise, and that together
        have this probability (Meister et al. 2022, arXiv 2202.00666); None keeps all.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    typical_p: float | None = None

    def problems(self) -> list[str]:
        """Return one sentence for each setting that is out of range."""
        sentences = []
        if not 0 <= self.temperature < float("inf"):
            sentences.append(
                f"temperature is {self.temperature}: write 0 (the likeliest code) or more, "
                "such as 1.0"
            )
        if self.top_k is not None and self.top_k < 1:
            sentences.append(f"top-k is {self.top_k}: write 1 or more, or leave it out")
        sentences += [
            f"{name} is {value}: write more than 0 and at most 1, such as 0.95"
            for name, value in (("top-p", self.top_p), ("typical-p", self.typical_p))
            if value is not None and not 0 < value <= 1
        ]
        if self.min_p is not None and not 0 <= self.min_p <= 1:
            sentences.append(f"min-p is {self.min_p}: write 0 to 1, such as 0.05")
        return sentences


def draw(logits_BQ: Tensor, uniform_B: Tensor, sampling: Sampling) -> Tensor:
    """Draw codes (B,): the first whose cumulative probability exceeds ``uniform_B`` in [0, 1)."""
    if sampling.temperature == 0:
        return logits_BQ.argmax(-1)
    # In float64 like the uniforms: one just below 1 would round to 1 in float32, beyond every code.
    logits_BQ = logits_BQ.double()
    logits_BQ = (logits_BQ - logits_BQ.amax(-1, keepdim=True)) / sampling.temperature
    if sampling.top_k is not None and sampling.top_k < logits_BQ.shape[1]:
        lowest = logits_BQ.topk(sampling.top_k).values[:, -1:]
        logits_BQ = logits_BQ.masked_fill(logits_BQ < lowest, -torch.inf)
    probability_BQ = logits_BQ.softmax(-1)
    if sampling.top_p is not None and sampling.top_p < 1:
        probability_BQ = _first(probability_BQ, -probability_BQ, sampling.top_p)
    if sampling.min_p is not None:
        likeliest_B1 = probability_BQ.amax(-1, keepdim=True)
        probability_BQ = probability_BQ.masked_fill(
            probability_BQ < sampling.min_p * likeliest_B1, 0
        )
    if sampling.typical_p is not None and sampling.typical_p < 1:
        probability_BQ = probability_BQ / probability_BQ.sum(-1, keepdim=True)
        surprise_BQ = -probability_BQ.log()
        expected_B1 = torch.special.entr(probability_BQ).sum(-1, keepdim=True)
        strangeness_BQ = (surprise_BQ - expected_B1).abs()
        probability_BQ = _first(probability_BQ, strangeness_BQ, sampling.typical_p)
    cumulative_BQ = probability_BQ.cumsum(-1)
    threshold_B1 = uniform_B[:, None] * cumulative_BQ[:, -1:]
    return (cumulative_BQ <= threshold_B1).sum(-1)


def _first(probability_BQ: Tensor, rank_BQ: Tensor, share: float) -> Tensor:
    """Return the probabilities of the codes of lowest rank that together have the share, else 0."""
    codes_BQ = rank_BQ.argsort(dim=-1, stable=True)
    ordered_BQ = probability_BQ.gather(-1, codes_BQ)
    # Keep a code if those before it have less than the share.
    beyond_BQ = ordered_BQ.cumsum(-1) - ordered_BQ >= share
    return probability_BQ.masked_fill(
        torch.zeros_like(beyond_BQ).scatter(-1, codes_BQ, beyond_BQ), 0
    )


class Uniforms:
    """Uniform numbers for B streams, each a function of (seed, stream, step) alone."""

    def __init__(self, seed: int, batch: int) -> None:
        self._generators = [
            torch.Generator().manual_seed(seed * 65_537 + stream) for stream in range(batch)
        ]
        self._block = torch.empty(0, batch)
        self._next = 0

    def step(self) -> Tensor:
        """Return the numbers (B,) of the next step, float64."""
        if self._next == len(self._block):
            columns = [
                torch.rand(BLOCK, generator=generator, dtype=torch.float64)
                for generator in self._generators
            ]
            self._block, self._next = torch.stack(columns, 1), 0
        self._next += 1
        return self._block[self._next - 1]
