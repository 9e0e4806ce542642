"""A linear predictor of the next code, with a discretised logistic distribution around it.

As in LPCNet (Valin and Skoglund 2019, arXiv 1810.11846), the network has to learn only what a
linear predictor cannot.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class LinearPrediction:
    """The predictor ``intercept + sum_k coefficients[k] * code[t - 1 - k]``; ``scale`` in codes."""

    coefficients: Sequence[float]
    intercept: float
    scale: float


def discretised_logistic(centre: Tensor, scale: Tensor, levels: int) -> Tensor:
    """Return log probabilities (..., Q) of a rounded logistic, in codes; see :func:`log_mass`."""
    codes = torch.arange(levels, device=centre.device, dtype=centre.dtype)
    upper, inner, lower = _tails_and_inside(codes - centre[..., None], scale[..., None])
    return torch.cat([upper[..., :1], inner[..., 1:-1], lower[..., -1:]], -1)


def log_mass(codes: Tensor, centre: Tensor, scale: Tensor, levels: int) -> Tensor:
    """Return log probabilities (...) of codes (...) under a logistic rounded to the codes 0..Q-1.

    ``centre`` and ``scale`` (...) are in codes. With ``a = (q + 1/2 - centre) / scale`` and ``b =
    (q - 1/2 - centre) / scale`` the result is ``log(sigmoid(a) - sigmoid(b))``, computed as
    ``logsigmoid(a) + logsigmoid(-b) + log(-expm1(-1 / scale))`` to avoid cancellation. The lowest
    and the highest code get their tails (Salimans et al. 2017, arXiv 1701.05517, section 2.1).
    """
    upper, inner, lower = _tails_and_inside(codes - centre, scale)
    return torch.where(codes == 0, upper, torch.where(codes == levels - 1, lower, inner))


def _tails_and_inside(distance: Tensor, scale: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return log probabilities of a code by its distance: if lowest, if between, if highest."""
    upper = functional.logsigmoid((distance + 0.5) / scale)
    lower = functional.logsigmoid((0.5 - distance) / scale)
    return upper, upper + lower + torch.log(-torch.expm1(-1 / scale)), lower


class LinearPredictor(nn.Module):
    """A linear predictor that starts at a least-squares fit and is trained further.

    The trained parameters are small corrections, scaled so that an optimizer step moves the
    prediction by a fraction of a code. The fit itself stays in buffers.
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
        """Start from a fit with ``order`` coefficients, the newest sample's first."""
        self.fitted_coefficients.copy_(torch.tensor(prediction.coefficients))
        self.fitted_intercept.fill_(prediction.intercept)
        self.fitted_scale.fill_(prediction.scale)

    def forward(self, codes_BR: Tensor) -> tuple[Tensor, Tensor]:
        """Return the predicted codes (B, R - order + 1) after each run of ``order`` codes (B, R).

        The last one is for the sample after ``codes_BR``. Also return :attr:`scale`.
        """
        # Centred codes keep the products small, so that float32 loses no precision in the sum.
        middle = (self.levels - 1) / 2
        fitted = self.fitted_coefficients
        taps = (fitted + self.correction_scale * self.coefficients).flip(0)[None, None]
        centred = functional.conv1d((codes_BR.to(taps.dtype) - middle)[:, None], taps)[:, 0]
        predicted = centred + middle * fitted.sum() + self.fitted_intercept + self.intercept
        return predicted, self.scale

    @property
    def scale(self) -> Tensor:
        """Scale (1,) of the logistic residual, in codes."""
        return self.fitted_scale * torch.exp(self.log_scale)
