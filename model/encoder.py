"""The chunk encoder: C samples in, one latent out."""

import torch
from torch import Tensor, nn

from model.architecture import Architecture


def amplitude(codes: Tensor, levels: int, dtype: torch.dtype) -> Tensor:
    """Codes (any shape, integers 0..levels-1) as numbers in [-1, 1], in the codes' own scale."""
    centre = (levels - 1) / 2
    return (codes.to(dtype) - centre) / centre


class ChunkEncoder(nn.Module):
    """Strided convolutions over one chunk, flattened and projected to the width.

    No padding: what a stride leaves over falls at the oldest end of the chunk, so that the newest
    sample, the one that tells most about the next, is always seen.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.levels = architecture.levels
        incoming = (1, *architecture.filters[:-1])
        self.convolutions = nn.ModuleList(
            nn.Conv1d(before, after, architecture.kernel, stride)
            for before, after, stride in zip(
                incoming, architecture.filters, architecture.strides, strict=True
            )
        )
        self.dropout = nn.Dropout(architecture.encoder_dropout)
        flat = architecture.filters[-1] * architecture.encoder_lengths[-1]
        self.projection = nn.Linear(flat, architecture.width)

    def forward(self, chunks_BC: Tensor) -> Tensor:
        """Latents (..., D) of chunks of codes (..., C)."""
        leading = chunks_BC.shape[:-1]
        samples = amplitude(chunks_BC, self.levels, self.projection.weight.dtype)
        x_BFT = samples.reshape(-1, 1, chunks_BC.shape[-1])
        for convolution in self.convolutions:
            assert isinstance(convolution, nn.Conv1d)
            left_over = (x_BFT.shape[-1] - convolution.kernel_size[0]) % convolution.stride[0]
            x_BFT = self.dropout(torch.relu(convolution(x_BFT[..., left_over:])))
        latent_BD: Tensor = self.projection(x_BFT.flatten(1))
        return latent_BD.reshape(*leading, -1)
