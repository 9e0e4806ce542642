"""Best sizes for a budget among sizes that can be built, priced by the model's own formula.

The formula counts whole chunks, kernels and latents, so the cost has steps and no useful slope.
Therefore each size of a grid is priced exactly and gets the targets that the budget leaves.
A parabola through the neighbours of the lowest fitted loss refines the grid point.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.accounting import parameters, training_operations_per_target
from model.architecture import Architecture
from scaling.analysis.series import CHUNK, CONTEXT, WIDTH, setting
from scaling.config.run_config import RunConfig
from scaling.fitting.fit import Fit
from scaling.fitting.frontier import Frontier, all_budgets
from scaling.fitting.slope import FitError, Floats
from scaling.runs.record import RunRecord

TARGETS, PARAMETERS = "targets_seen", "parameters"
BEYOND = (0.5, 30.0)  # of the smallest and the largest size among the runs
BEYOND_CHUNK = (0.5, 2.0)  # narrower: the chunk has a best value
LEVELS = {1: 200, 2: 60, 3: 24}  # of each column, by the number of columns
FEWER_LEVELS = 10


@dataclass(frozen=True)
class Sizes:
    """A grid of sizes with the cost of one target at each.

    ``config`` and ``targets`` are those of the reference run. ``columns`` maps the names of the fit
    to its columns. ``x`` has shape (*levels, columns), NaN for the targets; ``per_target``
    (operations) has shape (*levels,).
    """

    config: RunConfig
    columns: dict[str, str]
    x: Floats
    per_target: Floats
    targets: float

    @classmethod
    def of(
        cls, columns: Mapping[str, str], records: Sequence[RunRecord], reference: RunRecord
    ) -> "Sizes":
        """Build the grid for the columns of a fit around the sizes of these records.

        ``reference`` gives all other settings; the column ``parameters`` varies with the width.
        ValueError if it cannot be priced.
        """
        config = RunConfig.model_validate(reference.config)
        if not isinstance(config.model, Architecture):
            raise ValueError(f"the best run is a {config.model.kind}, which no formula prices")
        varied = [column for column in columns.values() if column != TARGETS]
        keys = [WIDTH if column == PARAMETERS else column for column in varied]
        levels = LEVELS.get(len(keys), FEWER_LEVELS)
        grids = [_levels(key, [float(setting(r, key)) for r in records], levels) for key in keys]
        shape = tuple(len(grid) for grid in grids)
        settings = (dict(zip(keys, sizes, strict=True)) for sizes in product(*grids))
        cells = [price_sizes(config, each) | {TARGETS: np.nan} for each in settings]
        x = np.array([[cell[column] for column in columns.values()] for cell in cells], float)
        x = x.reshape(*shape, len(columns))
        per_target = np.array([cell["cost"] for cell in cells]).reshape(shape)
        return cls(config, dict(columns), x, per_target, float(reference.targets.seen))

    @property
    def names(self) -> list[str]:
        """Names of the fit's columns, in the order of ``x``."""
        return list(self.columns)

    def at(self, budget: float) -> tuple[Floats, NDArray[np.bool_]]:
        """Return the grid's rows at a budget (operations), and whether each is affordable."""
        columns = list(self.columns.values())
        if TARGETS not in columns:
            return self.x, self.per_target * self.targets <= budget
        x, trained = self.x.copy(), budget / self.per_target
        x[..., columns.index(TARGETS)] = trained
        return x, trained >= 1


def best_sizes(fit: Fit, sizes: Sizes, costs: Floats, further: tuple[float, ...]) -> Frontier:
    """Return the frontier of a fit over a grid, at budgets inside ``costs`` and at further ones.

    ``costs`` (operations) has shape (rows,). Raises :class:`FitError` if a budget affords no run.
    """
    requested = all_budgets(costs, further)
    order = [sizes.names.index(name) for name in fit.points.names]
    parameters_of = np.vstack([fit.parameters[None], fit.redraws])
    found = np.stack(
        [_lowest(fit, sizes, budget, parameters_of)[:, order] for budget in requested], axis=1
    )
    return Frontier.of(fit, costs, requested, found, np.log(found))


def _lowest(fit: Fit, sizes: Sizes, budget: float, parameters_of: Floats) -> Floats:
    """Return the sizes of lowest loss for each set of parameters, shape (sets, columns)."""
    x, possible = sizes.at(budget)
    if not possible.any():
        raise FitError(
            f"a budget of {budget:.3g} operations is too small for a run of any size in the grid"
        )
    shape, columns = possible.shape, x.shape[-1]
    order = [sizes.names.index(name) for name in fit.points.names]
    rows = np.where(possible[..., None], x, 1.0).reshape(-1, columns)
    log_x = np.log(x)
    found = np.empty((len(parameters_of), columns))
    for index, one in enumerate(parameters_of):
        losses = np.where(possible, fit.curves(rows[:, order], one[None])[0].reshape(shape), np.inf)
        at = np.unravel_index(int(np.argmin(losses)), shape)
        position = log_x[at].copy()
        for axis in range(len(shape)):
            position += _parabola_step(losses, log_x, at, axis)
        found[index] = np.exp(position)
    return found


def _parabola_step(losses: Floats, log_x: Floats, at: tuple[np.intp, ...], axis: int) -> Floats:
    """Return the step from a cell to the lowest point of the parabola along one axis, in logs."""
    nothing = np.zeros(log_x.shape[-1])
    if not 0 < at[axis] < losses.shape[axis] - 1:
        return nothing
    near = [tuple(np.add(at, step * np.eye(losses.ndim, dtype=int)[axis])) for step in (-1, 1)]
    (before, after), here = (losses[one] for one in near), losses[at]
    bend = before - 2 * here + after
    if not np.isfinite(bend) or bend <= 0:
        return nothing
    share: float = float(before - after) / (2 * float(bend))
    step: Floats = (log_x[near[1]] - log_x[near[0]]) / 2
    return share * step


def _levels(key: str, seen: Sequence[float], levels: int) -> list[int]:
    """Return settings from below the smallest of the runs to far above the largest."""
    below, above = BEYOND_CHUNK if key == CHUNK else BEYOND
    ends = below * min(seen), above * max(seen)
    return sorted({max(1, round(size)) for size in np.geomspace(*ends, levels)})


def price_sizes(config: RunConfig, settings: Mapping[str, int]) -> dict[str, float]:
    """Return settings by key, in whole chunks, with ``parameters`` and the ``cost`` of a target."""
    shape = config.model
    assert isinstance(shape, Architecture)
    chunk = settings.get(CHUNK, shape.chunk)
    context = chunk * max(1, round(settings.get(CONTEXT, shape.context) / chunk))
    named: dict[str, Any] = {key.rpartition(".")[2]: value for key, value in settings.items()}
    shape = replace(shape, **{**named, "context": context})
    made = config.model_copy(update={"model": shape})
    positions = made.positions
    if made.windows.targets in ("chunks", "samples"):
        # A window has whole contexts: the number nearest to the configured one.
        positions = shape.latents * max(1, round(positions / shape.latents))
    return {
        **settings,
        CONTEXT: context,
        PARAMETERS: sum(parameters(shape).values()),
        "cost": training_operations_per_target(shape, made.targets, positions)[0],
    }
