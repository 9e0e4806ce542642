"""Distributions of the next code, in O parameters: their nats, logits and draws.

``categorical``       a logit for each code (the paper): O = Q.
``logistic_mixture``  J logistic distributions with weights, rounded to codes: O = 3 J.
``mean_square``       one value, learned from its squared error, and a scale: O = 2.

The mixture follows Salimans et al. 2017 (arXiv 1701.05517, section 2.1). All are distributions over
the same Q codes, so that their nats are comparable.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.architecture import Architecture
from model.linear import discretised_logistic, log_mass
from model.recent import RecentOutput
from model.sampling import Sampling, draw

SMALLEST_SCALE = 0.05
"""Smallest scale of a logistic, in codes: one code has all its mass; smaller scales overflow."""

SCALE_GAIN = 10.0
"""Factor of the mean square's log-scale parameter: the scale may have to fall a hundredfold."""

LOGISTIC_DEVIATION = math.pi / math.sqrt(3)
"""Standard deviation of a logistic distribution of scale 1."""

LOG_TURN = math.log(2 * math.pi)


def code_nats(logits_Q: Tensor, codes: Tensor) -> Tensor:
    """Return the negative log-likelihood (...), in nats, of codes (...) under logits (..., Q)."""
    flat = functional.cross_entropy(logits_Q.flatten(0, -2), codes.flatten(), reduction="none")
    return flat.view(codes.shape)


class Distribution(nn.Module):
    """Distribution that is drawn from through its logits."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.levels = architecture.levels

    def logits(self, distribution_O: Tensor) -> Tensor:
        """Return the logits (..., Q): the codes' log probabilities, up to a constant."""
        return distribution_O

    def draw(self, distribution_BO: Tensor, uniform_B: Tensor, sampling: Sampling) -> Tensor:
        """Draw codes (B,): see :func:`model.sampling.draw`."""
        return draw(self.logits(distribution_BO), uniform_B, sampling)


class Categorical(Distribution):
    """A logit for each code; with a recent-sample path, around the linear prediction's logistic."""

    def forward(self, output_O: Tensor, recent: RecentOutput | None) -> Tensor:
        """Return logits (..., Q) of the head's output (..., Q), or (..., Q + 2) with ``recent``."""
        if recent is None:
            return output_O
        shift, stretch = output_O[..., self.levels], output_O[..., self.levels + 1]
        stretched = recent.scale * torch.exp(stretch)
        centre = recent.predicted + stretched * shift
        return output_O[..., : self.levels] + discretised_logistic(centre, stretched, self.levels)

    def nats(self, distribution_Q: Tensor, codes: Tensor) -> Tensor:
        """Return the nats (...) of codes (...)."""
        return code_nats(distribution_Q, codes)


class LogisticMixture(Distribution):
    """J logistic distributions with softmax weights, in 3 J parameters.

    The parameters (..., 3 J) are the weights' logits, the centres in codes, and the logarithms of
    the scales in codes. If the head's output is zero, the centres are spread evenly over the codes.
    With a linear prediction, all centres are at the prediction, and the scales are spread around
    its scale. Without a spread, all components would get the same gradient and remain equal.
    """

    spread_J: Tensor

    def __init__(self, architecture: Architecture) -> None:
        super().__init__(architecture)
        self.components = architecture.components
        spread_J = torch.linspace(-1, 1, self.components + 2)[1:-1]
        self.register_buffer("spread_J", spread_J, persistent=False)

    def forward(self, output_O: Tensor, recent: RecentOutput | None) -> Tensor:
        """Return the parameters (..., 3 J) from the head's output (..., 3 J)."""
        weights_J, shifts_J, stretches_J = output_O.split(self.components, -1)
        if recent is None:
            middle = (self.levels - 1) / 2
            centres_J = middle + self.levels / 2 * (shifts_J + self.spread_J)
            log_scales_J = stretches_J + math.log(self.levels / (4 * self.components))
        else:
            log_scales_J = stretches_J + self.spread_J + torch.log(recent.scale)
            centres_J = recent.predicted[..., None] + shifts_J * torch.exp(log_scales_J)
        log_scales_J = log_scales_J.clamp(min=math.log(SMALLEST_SCALE))
        return torch.cat([weights_J, centres_J, log_scales_J], -1)

    def nats(self, distribution_O: Tensor, codes: Tensor) -> Tensor:
        """Return the nats (...) of codes (...)."""
        weights_J, centres_J, log_scales_J = distribution_O.split(self.components, -1)
        masses_J = log_mass(codes[..., None], centres_J, torch.exp(log_scales_J), self.levels)
        return -torch.logsumexp(functional.log_softmax(weights_J, -1) + masses_J, -1)

    def logits(self, distribution_O: Tensor) -> Tensor:
        """Return the logits (..., Q): the codes' log probabilities."""
        weights_J, centres_J, log_scales_J = distribution_O.split(self.components, -1)
        masses_JQ = discretised_logistic(centres_J, torch.exp(log_scales_J), self.levels)
        return torch.logsumexp(functional.log_softmax(weights_J, -1)[..., None] + masses_JQ, -2)

    def draw(self, distribution_BO: Tensor, uniform_B: Tensor, sampling: Sampling) -> Tensor:
        """Draw codes (B,).

        With the default sampling, bisection finds the first code whose cumulative probability
        exceeds ``uniform_B``, without computing the probabilities of all codes.
        """
        if sampling != Sampling():
            return super().draw(distribution_BO, uniform_B, sampling)
        weights_BJ, centres_BJ, log_scales_BJ = distribution_BO.double().split(self.components, -1)
        shares_BJ, scales_BJ = weights_BJ.softmax(-1), torch.exp(log_scales_BJ)
        low_B = torch.zeros_like(uniform_B, dtype=torch.int64)
        high_B = low_B + self.levels - 1
        for _ in range((self.levels - 1).bit_length()):
            code_B = (low_B + high_B) // 2
            edges_BJ = (code_B[:, None] + 0.5 - centres_BJ) / scales_BJ
            exceeds_B = (shares_BJ * torch.sigmoid(edges_BJ)).sum(-1) > uniform_B
            high_B = torch.where(exceeds_B, code_B, high_B)
            low_B = torch.where(exceeds_B, low_B, code_B + 1)
        return high_B


class MeanSquare(Distribution):
    """A normal distribution with one value for each target and one scale for all: squared error.

    The parameters (..., 2) are the value and the logarithm of the scale, in codes. With error ``e``
    and scale ``s``, a code has ``e^2 / (2 s^2) + ln s + ln(2 pi) / 2`` nats: the value is learned
    from its squared error, and the best scale is the root of the mean square. The scale is above 1
    code: above that, the probabilities of the codes sum to 1 within 1e-8 (Poisson's summation
    formula).
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__(architecture)
        if not architecture.recent:
            self.log_scale = nn.Parameter(torch.zeros(1))

    def forward(self, output_O: Tensor, recent: RecentOutput | None) -> Tensor:
        """Return the value and the log scale (..., 2) from the head's output (..., 1)."""
        shift = output_O[..., 0]
        if recent is None:
            value = (self.levels - 1) / 2 + self.levels / 2 * shift
        else:
            value = recent.predicted + LOGISTIC_DEVIATION * recent.scale * shift
        log_scale = self._log_scale(recent and recent.scale)
        return torch.stack([value, log_scale.expand_as(value)], -1)

    def root_mean_square(self, nats: float, recent_scale: Tensor | None) -> float:
        """Return the root mean square error, in codes, of targets with this mean of nats.

        All targets share the scale, so that one follows from the other. ``recent_scale`` is the
        linear prediction's scale, if any.
        """
        log_scale = float(self._log_scale(recent_scale).detach())
        return math.exp(log_scale) * math.sqrt(max(0.0, 2 * (nats - log_scale) - LOG_TURN))

    def _log_scale(self, recent_scale: Tensor | None) -> Tensor:
        """Return the logarithm (1,) of the scale, in codes."""
        if recent_scale is None:
            scale = self.levels / 8 * torch.exp(SCALE_GAIN * self.log_scale)
        else:
            scale = LOGISTIC_DEVIATION * recent_scale
        return torch.log1p(scale**2) / 2

    def nats(self, distribution_O: Tensor, codes: Tensor) -> Tensor:
        """Return the nats (...) of codes (...)."""
        return -self._log_density(distribution_O, codes)

    def logits(self, distribution_O: Tensor) -> Tensor:
        """Return the logits (..., Q): the codes' log probabilities."""
        codes_Q = torch.arange(self.levels, device=distribution_O.device)
        return self._log_density(distribution_O[..., None, :], codes_Q)

    def _log_density(self, distribution_O: Tensor, codes: Tensor) -> Tensor:
        value, log_scale = distribution_O.unbind(-1)
        errors = (codes - value) * torch.exp(-log_scale)
        return -(errors**2) / 2 - log_scale - LOG_TURN / 2


LIKELIHOODS: dict[str, type[Categorical | LogisticMixture | MeanSquare]] = {
    "categorical": Categorical,
    "logistic_mixture": LogisticMixture,
    "mean_square": MeanSquare,
}
