"""What a window trains: which of its samples are targets, and how much of it each one sees.

``last``      targets a spacing apart, each predicted from the L samples before it (the paper).
``chunks``    every latent predicts the sample after its chunk, from 1 to N chunks of context.
``samples``   the same at P consecutive offsets (phases) of each chunk, up to every sample.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from model.architecture import Architecture

if TYPE_CHECKING:
    from torch import Tensor

Mode = Literal["last", "chunks", "samples"]


@dataclass(frozen=True)
class Targets:
    """The targets of a window: n positions ``spacing`` samples apart, ``phases`` at each.

    In ``chunks`` and ``samples`` the spacing is the chunk, and n is a multiple of N: each N of them
    see back to the first chunk of their own, and no further. In ``last`` mode ``context`` may be
    another one than the model's, a multiple of the chunk.
    """

    mode: Mode
    spacing: int
    phases: int = 1
    context: int | None = None

    def history(self, architecture: Architecture) -> int:
        """Samples of a window before its first target."""
        if self.mode == "last":
            return self.context or architecture.context
        return architecture.chunk

    def samples(self, positions: int, architecture: Architecture) -> int:
        """Samples (T) of a window with so many positions."""
        return self.history(architecture) + (positions - 1) * self.spacing + self.phases

    def positions(self, samples: int, architecture: Architecture) -> int:
        """Positions (n) in a window of so many samples; ValueError where it does not hold them."""
        history, chunk = self.history(architecture), architecture.chunk
        count, rest = divmod(samples - history - self.phases, self.spacing)
        whole = 1 if self.mode == "last" else architecture.latents
        misfit = rest or self.spacing % chunk or history % chunk or (count + 1) % whole
        if misfit or count < 0:
            raise ValueError(
                f"a window of {samples} samples does not hold {self.mode} targets {self.spacing} "
                f"apart: it must be {history} + (n - 1) spacing + {self.phases} samples, with a "
                f"spacing that is a multiple of the chunk, {chunk}, and n a multiple of {whole}"
            )
        return count + 1

    def check_padding(self, lowest: int, highest: int, architecture: Architecture) -> None:
        """ValueError where windows may not begin with ``lowest`` to ``highest`` filler samples."""
        if self.mode != "last":
            raise ValueError(
                f"windows of {self.mode} targets cannot be padded: their first targets see one "
                "chunk; let each window begin in its recording, or take last targets"
            )
        # So what the recent path reads is real, of the first target as of all, and needs no mask.
        least = max(architecture.chunk, architecture.recent)
        most = self.history(architecture) - least
        if lowest < 0 or highest > most:
            raise ValueError(
                f"windows begin with {lowest} to {highest} samples of padding: 0 to {most} are "
                f"allowed, so that the first target has {least} real samples before it, the longer "
                "of a chunk and the recent samples"
            )

    def contexts(self, positions: int, architecture: Architecture) -> list[int]:
        """Samples (n,) that the targets at each position see."""
        if self.mode == "last":
            return [self.history(architecture)] * positions
        return [(k % architecture.latents + 1) * architecture.chunk for k in range(positions)]

    def codes(self, window_BT: "Tensor", architecture: Architecture) -> "Tensor":
        """The codes (B, n, P) that the targets of windows (B, T) are."""
        rest = window_BT[:, self.history(architecture) :]
        return rest.unfold(1, self.phases, self.spacing).long()
