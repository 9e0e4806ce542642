"""The models: windows of codes in, logits of their targets out.

Legend of the shape suffixes used in this package:

====  =====================================================
B     windows in a batch
T     samples in a window, ``L + (n - 1) S + 1``
L     context, the samples that a target is predicted from
C     chunk, the samples that one latent stands for
S     spacing of a window's targets (a multiple of C)
N     latents in a context, ``L / C``
n     targets in a window
D     width
H     heads
K     head size
Q     levels of the quantiser
J     components of a mixture
O     numbers in which a head says what the next code may be
R     recent samples
F     filters of a convolution
====  =====================================================

Importing the package imports nothing: :mod:`model.architecture` and :mod:`model.accounting` are
plain Python, so that a plan can be made without torch.
"""

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from model.inference.exported import Exported


def load(folder: str | Path) -> "Exported":
    """The model that ``python -m scaling export`` wrote: :func:`model.inference.exported.load`."""
    found: Exported = importlib.import_module("model.inference.exported").load(folder)
    return found
