"""Forms of a loss surface: the loss as a function of its columns, with the gradient.

Covariates are logarithms about their centres. So the amplitude of a term is its part of the loss at
the centre of the data, which the rows determine far better than the coefficient at x = 1.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from scaling.fitting.slope import FitError, Floats

EXPONENTS = (1e-3, 4.0)
AMPLITUDE = 10.0  # of the highest loss
SHIFTS = (0.0, 1e4)  # in units of the centre
COUPLINGS = (0.05, 20.0)


@dataclass(frozen=True)
class Additive:
    """``E + sum of A / x^a``, the form of Hoffmann et al. 2022 (arXiv 2203.15556, equation 2).

    ``terms`` are power laws. ``quadratics`` are columns with a best value, such as a chunk length:
    the loss is a parabola in their logarithm. Without ``irreducible``, E is 0. The order of the
    parameters is E, amplitudes, exponents, those that a subclass adds, then slope and curvature of
    each parabola.
    """

    terms: tuple[str, ...]
    quadratics: tuple[str, ...] = ()
    irreducible: bool = True

    name: ClassVar[str] = "additive"
    formula: ClassVar[str] = "E + sum of A / x^a"
    per_term: ClassVar[int] = 2  # parameters of each term
    shared: ClassVar[int] = 0  # parameters of all terms together
    least_values: ClassVar[int] = 3  # of a term's column: fewer cannot determine E, A and a

    def __post_init__(self) -> None:
        if not self.terms:
            raise FitError("a form needs at least one term: add --term N=COLUMN")

    @property
    def num_powers(self) -> int:
        """Number of amplitudes, exponents and further parameters of the form."""
        return self.per_term * len(self.terms) + self.shared

    @property
    def num_parameters(self) -> int:
        """Number of all parameters, E included even if it is 0."""
        return 1 + self.num_powers + 2 * len(self.quadratics)

    @property
    def num_free(self) -> int:
        """Number of parameters that are fitted."""
        return self.num_parameters - (not self.irreducible)

    def values_needed(self, name: str) -> int:
        """Return the number of different values that a column needs."""
        return self.least_values if name in self.terms else Additive.least_values

    def curve(self, parameters: Floats, position: Floats) -> tuple[Floats, Floats]:
        """Return losses (fits, rows) and gradients (fits, rows, parameters).

        ``position`` (rows, columns) is the logarithm of the columns about their centres.
        """
        split, count = 1 + self.num_powers, len(self.terms)
        added, gradient = self._powers(parameters[:, 1:split], position[:, :count])
        bends = position[:, count:]
        basis = np.stack([bends, bends**2], axis=2).reshape(len(position), -1)
        loss = parameters[:, :1] + added + parameters[:, split:] @ basis.T
        ones = np.ones((*loss.shape, 1))
        parabolas = np.broadcast_to(basis, (*loss.shape, basis.shape[1]))
        return loss, np.concatenate([ones, gradient, parabolas], axis=2)

    def amplitudes(self, parameters: Floats) -> Floats:
        """Return the part of the loss of each term at the centre, shape (fits, terms)."""
        return parameters[:, 1 : 1 + len(self.terms)]

    def exponents(self, parameters: Floats) -> Floats:
        """Return the exponent of each term, shape (fits, terms)."""
        return parameters[:, 1 + len(self.terms) : 1 + 2 * len(self.terms)]

    def bounds(self, loss: Floats) -> tuple[Floats, Floats]:
        """Return the lower and upper bounds (parameters,) for losses of shape (rows,)."""
        count, bends = len(self.terms), 2 * len(self.quadratics)
        low, high = self._power_bounds(count)
        highest = float(loss.max())
        ceiling = highest if self.irreducible else 0.0
        # No term adds more than the whole loss at the centre: only trial steps go beyond.
        most = AMPLITUDE * highest
        return (
            np.array([0.0, *[0.0] * count, *low, *[-np.inf] * bends]),
            np.array([ceiling, *[most] * count, *high, *[np.inf] * bends]),
        )

    def starts(self, loss: Floats, number: int, generator: np.random.Generator) -> Floats:
        """Return random starts from the losses, shape (number, parameters).

        E is a share of the lowest loss. The rest is divided at random among the terms.
        """
        count = len(self.terms)
        floor = loss.min() * generator.uniform(0.05, 0.999, (number, 1)) * self.irreducible
        shares = generator.dirichlet(np.ones(count), number)
        powers = self._power_starts(number, generator)
        parabolas = np.zeros((number, 2 * len(self.quadratics)))
        return np.hstack([floor, (loss.mean() - floor) * shares, powers, parabolas])

    def named_parameters(self, parameters: Floats, centres: Floats) -> dict[str, Floats]:
        """Return the form's own parameters by name, each (fits,), in the units of the columns.

        With a parabola, E is the loss at its lowest point; without one, the optimum is NaN.
        """
        values = {"E": parameters[:, 0].copy()}
        values |= self._named_powers(parameters, np.log(centres[: len(self.terms)]))
        for index, name in enumerate(self.quadratics):
            slope, bend = parameters[:, 1 + self.num_powers + 2 * index :][:, :2].T
            convex = bend > 0
            safe = np.where(convex, bend, 1.0)
            values["E"] -= np.where(convex, slope**2 / (4 * safe), 0.0)
            best = centres[len(self.terms) + index] * np.exp(np.clip(-slope / (2 * safe), -99, 99))
            values[f"{name}.optimum"] = np.where(convex, best, np.nan)
            values[f"{name}.curvature"] = bend
        return values

    def _powers(self, parameters: Floats, position: Floats) -> tuple[Floats, Floats]:
        """Return the sum of the terms and its gradient by the ``num_powers`` parameters."""
        amplitude, exponent = np.split(parameters, 2, axis=1)
        factor = np.exp(-exponent[:, None, :] * position)
        added = amplitude[:, None, :] * factor
        return added.sum(axis=2), np.concatenate([factor, -added * position], axis=2)

    def _power_bounds(self, count: int) -> tuple[list[float], list[float]]:
        """Return the bounds of the exponents and of the form's further parameters."""
        return [EXPONENTS[0]] * count, [EXPONENTS[1]] * count

    def _power_starts(self, number: int, generator: np.random.Generator) -> Floats:
        """Return starts of the exponents and of the form's further parameters."""
        return _log_uniform((0.05, 1.5), (number, len(self.terms)), generator)

    def _named_powers(self, parameters: Floats, log_centres: Floats) -> dict[str, Floats]:
        amplitude, exponent = self.amplitudes(parameters), self.exponents(parameters)
        values = {}
        for index, name in enumerate(self.terms):
            rise = np.exp(exponent[:, index] * log_centres[index])
            values[f"{name}.coefficient"] = amplitude[:, index] * rise
            values[f"{name}.exponent"] = exponent[:, index]
        return values


class Shifted(Additive):
    """``E + sum of A / (x + s)^a`` with shifts s >= 0: a power law with a late start."""

    name = "shifted"
    formula = "E + sum of A / (x + s)^a"
    per_term = 3
    least_values = 4

    def _powers(self, parameters: Floats, position: Floats) -> tuple[Floats, Floats]:
        amplitude, exponent, shift = (part[:, None, :] for part in np.split(parameters, 3, axis=1))
        ratio = (np.exp(position) + shift) / (1 + shift)
        factor = ratio**-exponent
        added = amplitude * factor
        by_shift = -added * exponent * (1 / (np.exp(position) + shift) - 1 / (1 + shift))
        gradient = np.concatenate([factor, -added * np.log(ratio), by_shift], axis=2)
        return added.sum(axis=2), gradient

    def _power_bounds(self, count: int) -> tuple[list[float], list[float]]:
        low, high = super()._power_bounds(count)
        return [*low, *[SHIFTS[0]] * count], [*high, *[SHIFTS[1]] * count]

    def _power_starts(self, number: int, generator: np.random.Generator) -> Floats:
        shifts = _log_uniform((1e-3, 3.0), (number, len(self.terms)), generator)
        return np.hstack([super()._power_starts(number, generator), shifts])

    def _named_powers(self, parameters: Floats, log_centres: Floats) -> dict[str, Floats]:
        values = super()._named_powers(parameters, log_centres)
        count = len(self.terms)
        for index, name in enumerate(self.terms):
            shift = parameters[:, 1 + 2 * count + index]
            # The amplitude refers to (centre + shift)^-a, not to centre^-a.
            values[f"{name}.coefficient"] *= (1 + shift) ** values[f"{name}.exponent"]
            values[f"{name}.shift"] = shift * np.exp(log_centres[index])
        return values


class Coupled(Additive):
    """``E + (sum of A / x^a)^k``: terms that limit each other, ``E + A (N^-a + R D^-b)^k``.

    The form of Busbridge et al. 2025 (arXiv 2502.08606) for one model; k = 1 is additive. The
    amplitudes of the inner terms are scaled so that their sum is the reducible loss at the centre.
    """

    name = "coupled"
    formula = "E + (sum of A / x^a)^k"
    shared = 1

    def _powers(self, parameters: Floats, position: Floats) -> tuple[Floats, Floats]:
        inner, gradient = super()._powers(parameters[:, :-1], position)
        coupling, count = parameters[:, -1:], len(self.terms)
        tiny = np.finfo(float).tiny
        centre = np.maximum(parameters[:, :count].sum(axis=1, keepdims=True), tiny)
        ratio = np.maximum(inner / centre, tiny)
        added = centre * ratio**coupling
        rise = coupling * ratio ** (coupling - 1)
        gradient = rise[..., None] * gradient
        gradient[:, :, :count] += ((1 - coupling) * ratio**coupling)[..., None]
        return added, np.concatenate([gradient, (added * np.log(ratio))[..., None]], axis=2)

    def _power_bounds(self, count: int) -> tuple[list[float], list[float]]:
        low, high = super()._power_bounds(count)
        return [*low, COUPLINGS[0]], [*high, COUPLINGS[1]]

    def _power_starts(self, number: int, generator: np.random.Generator) -> Floats:
        coupling = _log_uniform((0.3, 2.0), (number, 1), generator)
        return np.hstack([super()._power_starts(number, generator), coupling])

    def _named_powers(self, parameters: Floats, log_centres: Floats) -> dict[str, Floats]:
        values = super()._named_powers(parameters, log_centres)
        coupling = parameters[:, 2 * len(self.terms) + 1]
        whole = np.maximum(self.amplitudes(parameters).sum(axis=1), np.finfo(float).tiny)
        for name in self.terms:
            values[f"{name}.coefficient"] *= whole ** (1 / coupling - 1)
        return values | {"coupling": coupling}


class Overtraining(Additive):
    """``E + (a M^h + b M^-h) C^-h`` with M = D/N and C = 6 N D.

    The form of Gadre et al. 2024 (arXiv 2403.08540): additive, with one exponent, 2 h, for both
    terms. The first term is that of the parameters N, the second that of the tokens D.
    """

    name = "overtraining"
    formula = "E + (a M^h + b M^-h) C^-h, M = D/N, C = 6 N D"
    per_term, shared = 1, 1
    least_values = 2  # the exponent is shared

    def __post_init__(self) -> None:
        if len(self.terms) != 2:
            raise FitError(
                f"the overtraining form has {len(self.terms)} terms: it takes two, parameters "
                "first: write --term N=COLUMN --term D=COLUMN"
            )

    def exponents(self, parameters: Floats) -> Floats:
        """Return the shared exponent of each term, shape (fits, 2)."""
        return np.repeat(parameters[:, 3:4], 2, axis=1)

    def _powers(self, parameters: Floats, position: Floats) -> tuple[Floats, Floats]:
        both = np.hstack([parameters, parameters[:, 2:]])
        added, gradient = super()._powers(both, position)
        shared = gradient[:, :, 2:].sum(axis=2, keepdims=True)
        return added, np.concatenate([gradient[:, :, :2], shared], axis=2)

    def _power_bounds(self, count: int) -> tuple[list[float], list[float]]:
        return super()._power_bounds(1)

    def _power_starts(self, number: int, generator: np.random.Generator) -> Floats:
        return super()._power_starts(number, generator)[:, :1]

    def _named_powers(self, parameters: Floats, log_centres: Floats) -> dict[str, Floats]:
        values = super()._named_powers(parameters, log_centres)
        eta = values[f"{self.terms[0]}.exponent"] / 2
        a, b = (values[f"{name}.coefficient"] * 6**eta for name in self.terms)
        return values | {"a": a, "b": b, "eta": eta}


FORMS: dict[str, type[Additive]] = {
    form.name: form for form in (Additive, Shifted, Coupled, Overtraining)
}


def _log_uniform(
    ends: tuple[float, float], shape: tuple[int, int], generator: np.random.Generator
) -> Floats:
    """Draw numbers between the ends, uniform in their logarithm."""
    return np.exp(generator.uniform(np.log(ends[0]), np.log(ends[1]), shape))
