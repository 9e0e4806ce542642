"""Targets of a window: which samples are predicted, and from how much context.

``last``      targets a spacing apart, each predicted from the L samples before it (the paper).
``chunks``    each latent predicts the sample after its chunk, from 1 to N chunks of context.
``samples``   the same at P consecutive offsets (phases) of each chunk, up to every sample.
``sequence``  every sample of a window, from silence and the samples before it (baselines).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Tensor

    from model.architecture import Shape

Mode = Literal["last", "chunks", "samples", "sequence"]


@dataclass(frozen=True)
class Targets:
    """The targets of a window: n positions ``spacing`` samples apart, ``phases`` targets at each.

    In ``chunks`` and ``samples`` the spacing is the chunk, and n is a multiple of N: the first of
    each N targets has a context of one chunk, the last of N. In ``last`` mode ``context`` may
    differ from the model's, as a multiple of the chunk. In ``sequence`` mode the spacing is 1.
    """

    mode: Mode
    spacing: int
    phases: int = 1
    context: int | None = None

    def history(self, architecture: "Shape") -> int:
        """Return the samples of a window before its first target."""
        if self.mode == "last":
            return self.context or architecture.context
        return 0 if self.mode == "sequence" else architecture.chunk

    def samples(self, positions: int, architecture: "Shape") -> int:
        """Return the samples (T) of a window with this many positions."""
        return self.history(architecture) + (positions - 1) * self.spacing + self.phases

    def positions(self, samples: int, architecture: "Shape") -> int:
        """Return the positions (n) in a window of this many samples; ValueError if not whole."""
        history, chunk = self.history(architecture), architecture.chunk
        count, rest = divmod(samples - history - self.phases, self.spacing)
        whole = architecture.latents if self.mode in ("chunks", "samples") else 1
        misfit = rest or self.spacing % chunk or history % chunk or (count + 1) % whole
        if misfit or count < 0:
            raise ValueError(
                f"a window of {samples} samples does not fit {self.mode} targets {self.spacing} "
                f"apart: it must be {history} + (n - 1) spacing + {self.phases} samples, with a "
                f"spacing that is a multiple of the chunk, {chunk}, and n a multiple of {whole}"
            )
        return count + 1

    def is_read_in_strips(self, seen: int, architecture: "Shape") -> bool:
        """Return whether runs of ``seen`` samples before the targets are read position by position.

        If so, each position reads a strip of ``seen`` samples and its phases. Strips overlap, but
        only the phases become latents. Otherwise all offsets of the window are read at once, a
        chunk of samples and of latents a position. The cheaper way is taken.
        """
        return seen + 2 * self.phases <= 2 * architecture.chunk

    def check_padding(self, lowest: int, highest: int, architecture: "Shape") -> None:
        """Raise ValueError if windows may not begin with ``lowest`` to ``highest`` padding."""
        if self.mode != "last":
            raise ValueError(
                f"windows of {self.mode} targets cannot be padded: the context of their first "
                "targets is one chunk. Write windows without padding, or use last targets"
            )
        # With this many real samples, the recent-sample path reads no padding and needs no mask.
        least = max(architecture.chunk, architecture.recent)
        most = self.history(architecture) - least
        if lowest < 0 or highest > most:
            raise ValueError(
                f"windows begin with {lowest} to {highest} samples of padding: 0 to {most} are "
                f"allowed. The first target needs {least} real samples before it, the longer of a "
                "chunk and the recent samples"
            )

    def codes(self, window_BT: "Tensor", architecture: "Shape") -> "Tensor":
        """Return the targets (B, n, P) of windows of codes (B, T), as int64."""
        rest = window_BT[:, self.history(architecture) :]
        return rest.unfold(1, self.phases, self.spacing).long()
