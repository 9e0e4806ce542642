"""Objectives of a fit: the loss of each residual, its derivatives and its weights.

The Huber loss on log L is that of Hoffmann et al. 2022 (arXiv 2203.15556, appendix D.3). The
asymmetric loss, the absolute error with over-prediction counted ten times, is the default of the
package ``chinchilla`` (github.com/kyo-takano/chinchilla).
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from scaling.fitting.slope import Floats

Kind = Literal["huber", "mse", "asymmetric"]
Space = Literal["log", "raw"]
OVERPREDICTION = 10.0
SHARP = 1e-9  # half-width of the rounded tip of the absolute error, as a share of the unit
WIDEST = 0.1  # of the unit: the first starts meet a least-squares problem
STEP = 3.0  # between the widths through which a fit narrows to its own


@dataclass(frozen=True)
class Objective:
    """The penalty of residuals, of the loss or of its logarithm; a fit minimises its plain sum.

    ``delta`` is the half-width of the quadratic part of ``huber``.
    """

    kind: Kind = "huber"
    space: Space = "log"
    delta: float = 1e-3

    def unit(self, loss: Floats) -> float:
        """Return the scale of residuals: 1 for logarithms, else the median loss."""
        return 1.0 if self.space == "log" else float(np.median(loss))

    def residual(self, predicted: Floats, loss: Floats) -> Floats:
        """Return predicted minus observed; shapes broadcast."""
        if self.space == "raw":
            return predicted - loss
        return np.log(np.maximum(predicted, np.finfo(float).tiny)) - np.log(loss)

    def gradient(self, predicted: Floats, jacobian: Floats) -> Floats:
        """Return the derivative of the residual, from that of the loss (last axis: parameters)."""
        return jacobian if self.space == "raw" else jacobian / predicted[..., None]

    def widths(self, loss: Floats, residual: Floats | None = None) -> list[float]:
        """Return the half-widths to fit at in turn, from wide to this objective's own.

        A narrow objective is nearly an absolute error, whose reweighted squares stick near their
        start. So the optimum at each width starts the next. ``residual`` (rows,) is that of an
        earlier fit, which allows a narrower first width.
        """
        if self.kind == "mse":
            return [np.inf]
        unit = self.unit(loss)
        last = self.delta if self.kind == "huber" else SHARP * unit
        width = WIDEST * unit if residual is None else float(np.median(np.abs(residual)))
        widths = []
        while width > last:
            widths.append(width)
            width /= STEP
        return [*widths, last]

    def losses(self, residual: Floats, width: float | None = None) -> Floats:
        """Return the loss of each residual, by default at this objective's own width."""
        if self.kind == "mse":
            return np.square(residual)
        size = np.abs(residual)
        if self.kind == "asymmetric":
            if width is not None:
                size = np.where(size < width, size**2 / (2 * width), size - width / 2)
            return size * np.where(residual > 0, OVERPREDICTION, 1.0)
        delta = self.delta if width is None else width
        return np.where(size < delta, size**2 / 2, delta * (size - delta / 2))

    def weights(self, residual: Floats, width: float) -> Floats:
        """Return loss' / residual, the weights of reweighted least squares."""
        if self.kind == "mse":
            return np.full_like(residual, 2.0)
        size = np.maximum(np.abs(residual), np.finfo(float).tiny)
        if self.kind == "asymmetric":
            side = np.where(residual > 0, OVERPREDICTION, 1.0)
            return side / np.maximum(size, width)
        return np.minimum(1.0, width / size)

    def pull(self, residual: Floats) -> Floats:
        """Return the derivative of the loss by the residual."""
        if self.kind == "asymmetric":
            return np.where(residual > 0, OVERPREDICTION, -1.0)
        return residual * self.weights(residual, self.delta)

    def curvature(self, residual: Floats, num_free: int) -> float:
        """Return the mean second derivative of the loss over the residuals (rows,) of a fit.

        A narrow objective is curved only at the few residuals within its width. So their density is
        estimated in a wider window (Silverman 1986, Density Estimation, equation 3.28). The fit of
        ``num_free`` parameters alone makes as many residuals nearly zero: they are left out.
        """
        if self.kind == "mse":
            return 2.0
        size = np.sort(np.abs(residual))[min(num_free, len(residual) - 1) :]
        window = 1.06 * 1.4826 * float(np.median(size)) * float(len(size)) ** -0.2
        if self.kind == "huber":
            window = max(window, self.delta)
        window = max(window, float(np.finfo(float).eps))
        ends = self.pull(np.array([-window, window]))
        inside = max(float(np.mean(size <= window)), 1 / len(size))
        return float(inside * float(ends[1] - ends[0]) / (2 * window))
