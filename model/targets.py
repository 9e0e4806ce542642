"""What a window trains: which of its samples are targets, and how much of it each one sees.

``last``      targets a spacing apart, each predicted from the L samples before it (the paper).
``chunks``    every latent predicts the sample after its chunk, from 1 to N chunks of context.
``samples``   the same at P consecutive offsets (phases) of each chunk, up to every sample.
``sequence``  every sample of a window, from silence and those before it there (baselines).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Tensor

    from model.architecture import Shape

Mode = Literal["last", "chunks", "samples", "sequence"]


@dataclass(frozen=True)
class Targets:
    """The targets of a window: n positions ``spacing`` samples apart, ``phases`` at each.

    In ``chunks`` and ``samples`` the spacing is the chunk, and n is a multiple of N: each N of them
    see back to the first chunk of their own, and no further. In ``last`` mode ``context`` may be
    another one than the model's, a multiple of the chunk. In ``sequence`` mode the spacing is 1.
    """

    mode: Mode
    spacing: int
    phases: int = 1
    context: int | None = None

    def history(self, architecture: "Shape") -> int:
        """Samples of a window before its first target."""
        if self.mode == "last":
            return self.context or architecture.context
        return 0 if self.mode == "sequence" else architecture.chunk

    def samples(self, positions: int, architecture: "Shape") -> int:
        """Samples (T) of a window with so many positions."""
        return self.history(architecture) + (positions - 1) * self.spacing + self.phases

    def positions(self, samples: int, architecture: "Shape") -> int:
        """Positions (n) in a window of so many samples; ValueError where it does not hold them."""
        history, chunk = self.history(architecture), architecture.chunk
        count, rest = divmod(samples - history - self.phases, self.spacing)
        whole = architecture.latents if self.mode in ("chunks", "samples") else 1
        misfit = rest or self.spacing % chunk or history % chunk or (count + 1) % whole
        if misfit or count < 0:
            raise ValueError(
                f"a window of {samples} samples does not hold {self.mode} targets {self.spacing} "
                f"apart: it must be {history} + (n - 1) spacing + {self.phases} samples, with a "
                f"spacing that is a multiple of the chunk, {chunk}, and n a multiple of {whole}"
            )
        return count + 1

    def is_read_in_strips(self, seen: int, architecture: "Shape") -> bool:
        """Whether runs of ``seen`` samples before the targets are read position by position.

        Each position's strip of ``seen`` samples and its phases then overlaps the next one's, and
        only its phases become latents. All offsets of the window at once are a chunk of samples and
        of latents a position.
        """
        return seen + 2 * self.phases <= 2 * architecture.chunk

    def check_padding(self, lowest: int, highest: int, architecture: "Shape") -> None:
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

    def contexts(self, positions: int, architecture: "Shape") -> list[int]:
        """Samples (n,) that the targets at each position see."""
        if self.mode == "last":
            return [self.history(architecture)] * positions
        return [(k % architecture.latents + 1) * architecture.chunk for k in range(positions)]

    def codes(self, window_BT: "Tensor", architecture: "Shape") -> "Tensor":
        """The codes (B, n, P) that the targets of windows (B, T) are."""
        rest = window_BT[:, self.history(architecture) :]
        return rest.unfold(1, self.phases, self.spacing).long()
