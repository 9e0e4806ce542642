"""Models that read windows of codes and predict their targets.

Suffixes of tensor names give their shapes, one letter an axis:

====  =====================================================
B     windows (or streams) in a batch
T     samples in a window, ``L + (n - 1) S + 1``
L     context: samples before a target that the model reads
C     chunk: samples that the encoder turns into one latent
S     spacing of a window's targets, a multiple of C
N     latents in a context, ``L / C``
n     target positions in a window
P     phases: consecutive targets at each position
D     width
H     heads
K     head size
Q     levels of the quantiser
J     components of a mixture
O     parameters of a target's predicted distribution
R     recent samples
F     filters (channels) of a convolution
====  =====================================================

Importing the package loads no other module. :mod:`model.architecture`, :mod:`model.accounting`,
:mod:`model.activations` and :mod:`model.baselines.shapes` are plain Python: planning needs no
torch. The package imports neither ``datasets`` nor ``scaling``.
"""

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from model.inference.exported import ExportedModel


def load(folder: str | Path) -> "ExportedModel":
    """Load a model that ``python -m scaling export`` wrote into a folder, on the CPU.

    See :func:`model.inference.exported.load` for the errors that it raises.
    """
    exported: ExportedModel = importlib.import_module("model.inference.exported").load(folder)
    return exported
