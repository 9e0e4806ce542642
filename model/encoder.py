"""The chunk encoder: C samples in, one latent out; or the latents of the chunks at every offset."""

import torch
from torch import Tensor, nn

from model.architecture import Architecture
from model.convolutions import Convolutions


def amplitude(codes: Tensor, levels: int, dtype: torch.dtype) -> Tensor:
    """Codes (any shape, integers 0..levels-1) as numbers in [-1, 1], in the codes' own scale."""
    centre = (levels - 1) / 2
    return (codes.to(dtype) - centre) / centre


class ChunkEncoder(nn.Module):
    """Strided convolutions over one chunk, flattened and projected to the width."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.levels = architecture.levels
        self.stack = Convolutions(
            (1, *architecture.filters),
            architecture.kernel,
            architecture.strides,
            architecture.chunk,
            architecture.width,
            architecture.encoder_dropout,
        )

    def features(self, codes: Tensor) -> Tensor:
        """What the convolutions see of codes (any shape): their amplitudes."""
        return amplitude(codes, self.levels, self.stack.projection.weight.dtype)

    def forward(self, chunks_BC: Tensor) -> Tensor:
        """Latents (..., D) of chunks of codes (..., C)."""
        runs_B1C = self.features(chunks_BC).reshape(-1, 1, chunks_BC.shape[-1])
        latents: Tensor = self.stack(runs_B1C)
        return latents.reshape(*chunks_BC.shape[:-1], -1)

    def dense(self, codes_BT: Tensor) -> Tensor:
        """Latents (B, T - C + 1, D) of the chunks at every offset of codes (B, T)."""
        return self.stack.dense(self.features(codes_BT)[:, None])
