"""Fit one surface many times at once: from many starts, to reweighted rows, or to many losses.

Each step solves a damped least-squares problem whose weights turn squares into the objective:
iteratively reweighted least squares with the damping of Marquardt (doi:10.1137/0111030), and
Newton's method near the optimum. Only steps that lower the objective are accepted, and only
relative decreases end a fit. So the scale of the objective cannot end it early.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from scaling.fitting.forms import Additive
from scaling.fitting.objective import Objective
from scaling.fitting.slope import Floats

Mask = NDArray[np.bool_]

PATIENCE = 6  # steps in a row without a decrease above the tolerance
ITERATIONS_BETWEEN = 30  # at each width before the last
LARGEST_BATCH = 100_000  # numbers in the gradient of a batch: more exceed the processor's caches
RELAXED, TIGHTENED = 1 / 5, 6.0
STIFFEST = 1e12
# Rows beyond the width have a slope but no curvature. Reweighting adds some, which is safe and
# slow: steps that help remove it, down to nearly Newton's method, and a step that does not restores
# it.
LIGHTER, HEAVIER, LIGHTEST = 0.5, 16.0, 1e-3


@dataclass(frozen=True)
class Problem:
    """A surface, the rows to fit and the bounds of its parameters.

    ``position`` has shape (rows, columns), ``loss`` (rows,) and the bounds (parameters,). If each
    fit has its own losses, ``loss`` and the bounds have a first axis of fits.
    """

    surface: Additive
    objective: Objective
    position: Floats
    loss: Floats
    lower: Floats
    upper: Floats

    def of(self, fits: Mask | slice) -> "Problem":
        """Return the problem of these fits alone."""
        if self.loss.ndim == 1:
            return self
        return replace(self, loss=self.loss[fits], lower=self.lower[fits], upper=self.upper[fits])

    def residuals(self, parameters: Floats) -> tuple[Floats, Floats]:
        """Return residuals (fits, rows) and their gradients (fits, rows, parameters)."""
        predicted, jacobian = self.surface.curve(parameters, self.position)
        residual = self.objective.residual(predicted, self.loss)
        return residual, self.objective.gradient(predicted, jacobian)

    @property
    def rounding_error(self) -> float:
        """The objective of a fit that is exact but for rounding."""
        rounding = 1e-9 * self.objective.unit(self.loss)
        return int(self.loss.shape[-1]) * float(self.objective.losses(np.array(rounding)))


@dataclass(frozen=True)
class Optima:
    """The end of each fit: parameters (fits, parameters) and plain sums of the objective (fits,).

    ``converged`` (fits,) is false for a fit that the limit of iterations ended.
    """

    parameters: Floats
    values: Floats
    converged: Mask

    def of(self, fits: slice) -> "Optima":
        """Return the optima of these fits alone."""
        return Optima(self.parameters[fits], self.values[fits], self.converged[fits])


def minimise(
    problem: Problem,
    weights: Floats,
    starts: Floats,
    *,
    widths: list[float],
    iterations: int,
    tolerance: float,
) -> Optima:
    """Fit once for each row of ``weights`` (fits, rows) and of ``starts`` (fits, parameters).

    ``widths`` are those of :meth:`Objective.widths`. At the last width a fit converges after
    :data:`PATIENCE` steps that lower the objective by a share of less than ``tolerance``.
    """
    size = max(1, LARGEST_BATCH // (weights.shape[1] * starts.shape[1]))
    optima = []
    # A trial step may overflow. Its objective is then NaN, and the step is rejected.
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        for some in (slice(at, at + size) for at in range(0, len(starts), size)):
            part, weight = problem.of(some), weights[some]
            parameters = np.clip(starts[some], part.lower, part.upper)
            for width in widths:
                limit = iterations if width == widths[-1] else ITERATIONS_BETWEEN
                parameters, converged = _descend(part, weight, parameters, width, limit, tolerance)
            losses = problem.objective.losses(part.residuals(parameters)[0])
            optima.append((parameters, np.sum(weight * losses, axis=1), converged))
    return Optima(*(np.concatenate(each) for each in zip(*optima, strict=True)))


def _descend(
    problem: Problem,
    weights: Floats,
    starts: Floats,
    width: float,
    iterations: int,
    tolerance: float,
) -> tuple[Floats, Mask]:
    """Take damped steps at one width; return the parameters, and which fits converged."""
    parameters, objective = starts.copy(), problem.objective
    damping, idle = np.full(len(starts), 1e-3), np.zeros(len(starts), int)
    tails = np.ones(len(starts))
    running = np.arange(len(starts))
    residual, gradient = problem.residuals(parameters)
    value = np.sum(weights * objective.losses(residual, width), axis=1)
    active = problem
    for _ in range(iterations):
        pulls = weights[running] * objective.weights(residual, width)
        bends = np.where(np.abs(residual) <= width, pulls, tails[running, None] * pulls)
        slope = np.matmul((pulls * residual)[:, None, :], gradient)[:, 0]
        matrix = np.matmul((bends[..., None] * gradient).transpose(0, 2, 1), gradient)
        step = _step(active, parameters[running], slope, matrix, damping[running])
        candidate = np.clip(parameters[running] + step, active.lower, active.upper)
        new_residual, new_gradient = active.residuals(candidate)
        new_value = np.sum(weights[running] * objective.losses(new_residual, width), axis=1)
        better = new_value < value[running]
        counts = better & (value[running] - new_value > tolerance * value[running])
        # Only a fully reweighted step that does not help shows that no step will.
        safe = tails[running] == 1.0
        idle[running] = np.where(counts, 0, idle[running] + safe)
        damping[running] *= np.where(better, RELAXED, np.where(safe, TIGHTENED, 1.0))
        tails[running] = np.clip(tails[running] * np.where(counts, LIGHTER, HEAVIER), LIGHTEST, 1.0)
        parameters[running[better]], value[running[better]] = candidate[better], new_value[better]
        residual[better], gradient[better] = new_residual[better], new_gradient[better]
        going = (idle[running] < PATIENCE) & (damping[running] < STIFFEST)
        running, residual, gradient = running[going], residual[going], gradient[going]
        active = active.of(going)
        if not len(running):
            break
    converged = np.ones(len(starts), bool)
    converged[running] = False
    return parameters, converged


def _step(
    problem: Problem, parameters: Floats, slope: Floats, matrix: Floats, damping: Floats
) -> Floats:
    """Return the damped step of each fit; parameters at a bound that they press on do not move."""
    stuck = ((parameters <= problem.lower) & (slope > 0)) | (
        (parameters >= problem.upper) & (slope < 0)
    )
    free = ~(stuck | (problem.lower == problem.upper))
    slope = np.where(free, slope, 0.0)
    matrix = np.where(free[:, :, None] & free[:, None, :], matrix, 0.0)
    diagonal = np.einsum("bpp->bp", matrix)
    largest = np.maximum(diagonal.max(axis=1, keepdims=True), np.finfo(float).tiny)
    extra = damping[:, None] * diagonal + 1e-14 * largest + largest * (diagonal <= 0)
    damped = matrix + extra[:, :, None] * np.eye(parameters.shape[1])
    return np.asarray(-np.linalg.solve(damped, slope[..., None])[..., 0], float)
