"""The linear-predictive start: a discretised logistic around a linear prediction of the next code.

LPCNet (Valin and Skoglund 2019, arXiv 1810.11846) leans on linear prediction in the same way: the
network need only learn what the linear predictor does not know.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class LinearPrediction:
    """A fitted predictor of codes: ``intercept + sum_k coefficients[k] * code[t - 1 - k]``.

    ``scale`` is that of the logistic residual, in codes.
    """

    coefficients: Sequence[float]
    intercept: float
    scale: float


def discretised_logistic(centre: Tensor, scale: Tensor, levels: int) -> Tensor:
    """Log probabilities (..., Q) of a logistic distribution rounded to the codes 0..Q-1.

    ``centre`` and ``scale`` (...) are in codes; see :func:`log_mass`.
    """
    codes = torch.arange(levels, device=centre.device, dtype=centre.dtype)
    upper, inner, lower = _tails_and_inside(codes - centre[..., None], scale[..., None])
    return torch.cat([upper[..., :1], inner[..., 1:-1], lower[..., -1:]], -1)


def log_mass(codes: Tensor, centre: Tensor, scale: Tensor, levels: int) -> Tensor:
    """Log probabilities (...) of codes (...) under a logistic distribution rounded to 0..Q-1.

    ``centre`` and ``scale`` (...) are in codes. With ``a = (q + 1/2 - centre) / scale`` and
    ``b = (q - 1/2 - centre) / scale``: ``log(sigmoid(a) - sigmoid(b))``, written as
    ``logsigmoid(a) + logsigmoid(-b) + log(-expm1(-1 / scale))`` so that nothing cancels; the lowest
    and the highest code take their tails. (Salimans et al. 2017, arXiv 1701.05517, section 2.1.)
    """
    upper, inner, lower = _tails_and_inside(codes - centre, scale)
    return torch.where(codes == 0, upper, torch.where(codes == levels - 1, lower, inner))


def _tails_and_inside(distance: Tensor, scale: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Log probabilities of a code at a distance: as the lowest, as one between, as the highest."""
    upper = functional.logsigmoid((distance + 0.5) / scale)
    lower = functional.logsigmoid((0.5 - distance) / scale)
    return upper, upper + lower + torch.log(-torch.expm1(-1 / scale)), lower


class LinearPredictor(nn.Module):
    """A linear predictor whose parameters start at a least-squares fit and are trained on.

    The trained parameters are small corrections, scaled so that an optimizer step moves the
    prediction by a fraction of a code; the fit itself stays in buffers.
    """

    correction_scale = 0.01
    fitted_coefficients: Tensor
    fitted_intercept: Tensor
    fitted_scale: Tensor

    def __init__(self, order: int, levels: int) -> None:
        super().__init__()
        self.order = order
        self.levels = levels
        self.register_buffer("fitted_coefficients", torch.zeros(order))
        self.register_buffer("fitted_intercept", torch.zeros(()))
        self.register_buffer("fitted_scale", torch.ones(()))
        self.coefficients = nn.Parameter(torch.zeros(order))
        self.intercept = nn.Parameter(torch.zeros(1))
        self.log_scale = nn.Parameter(torch.zeros(1))

    def load_fit(self, prediction: LinearPrediction) -> None:
        """Take the fit (``order`` coefficients, newest sample first) as the starting point."""
        self.fitted_coefficients.copy_(torch.tensor(prediction.coefficients))
        self.fitted_intercept.fill_(prediction.intercept)
        self.fitted_scale.fill_(prediction.scale)

    def forward(self, codes_BR: Tensor) -> tuple[Tensor, Tensor]:
        """Predicted codes (B, R - order + 1), one after each run of ``order`` codes, and the scale.

        The last prediction is of the sample that follows ``codes``, the others of the codes
        themselves. The scale (1,) is that of the logistic residual, in codes.
        """
        # Centred codes keep the products small, so that float32 loses nothing in the sum.
        middle = (self.levels - 1) / 2
        fitted = self.fitted_coefficients
        taps = (fitted + self.correction_scale * self.coefficients).flip(0)[None, None]
        centred = functional.conv1d((codes_BR.to(taps.dtype) - middle)[:, None], taps)[:, 0]
        predicted = centred + middle * fitted.sum() + self.fitted_intercept + self.intercept
        return predicted, self.scale

    @property
    def scale(self) -> Tensor:
        """The scale (1,) of the logistic residual, in codes."""
        return self.fitted_scale * torch.exp(self.log_scale)
