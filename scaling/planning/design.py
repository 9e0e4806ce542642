"""Sweeps from a budget: an equal-data or an isoFLOP grid, with seeds where they tell most.

The levers are the ends of the axes: the variance of a slope over a column x is
``s^2 sum of (x_i - mean)^2 / n_i`` over the squared sum of squares, with n_i seeds at x_i, so that
a second seed far from the middle is worth most. Extra seeds go one by one to the cell that lowers
the slopes' variances most. Designs hold the budget, so that more seeds mean shorter runs.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Literal

import numpy as np
from pydantic import ValidationError

from model import accounting
from scaling.config import check
from scaling.config.load import ConfigError, with_values
from scaling.config.run_config import RunConfig
from scaling.fitting.slope import Floats

Kind = Literal["equal-data", "isoflop"]
Price = Callable[[RunConfig], float]
BUDGET_RATIO = 3.0
"""Between the budgets of an isoFLOP grid."""
MANY_STEPS = 10**6
"""Steps over which a price is taken for a straight line."""
CONTEXT, HISTORY = "model.context", "windows.history"


@dataclass(frozen=True)
class Cell:
    """One configuration: its values by dotted keys, and how many seeds train it.

    ``price`` is what one of its runs takes of the budget, ``share`` the part of the whole that is
    set aside for it where budgets are compared.
    """

    values: dict[str, Any]
    config: RunConfig
    price: float
    share: float
    seeds: int = 1

    @property
    def targets(self) -> int:
        """Targets that a run is trained on."""
        return self.config.train.steps * self.config.targets_per_step


@dataclass(frozen=True)
class Design:
    """The cells of a sweep that fits a budget, in its unit (operations or dollars)."""

    kind: Kind
    axes: dict[str, list[Any]]
    budget: float
    cells: list[Cell]

    @property
    def price(self) -> float:
        """What all runs take."""
        return sum(cell.price * cell.seeds for cell in self.cells)

    def points(self) -> list[dict[str, Any]]:
        """Every run as a point of a sweep, the dearest first."""
        cells = sorted(self.cells, key=lambda cell: -cell.price)
        return [{**cell.values, "seed": seed} for cell in cells for seed in range(cell.seeds)]


def design(
    content: Mapping[str, Any],
    axes: dict[str, list[Any]],
    kind: Kind,
    budget: float,
    price: Price,
    *,
    seeds: int = 4,
    budgets: int = 4,
) -> Design:
    """The design over all combinations of the axes' values, from what a YAML file says.

    ``price`` is what a run takes of the budget. Equal-data runs see the same number of targets. For
    an isoFLOP grid the runs of each of ``budgets`` cost the same, three times those of the one
    before, whatever their size. ``seeds`` runs are added where they tell most. ConfigError where a
    combination cannot run, or the budget does not buy a step of each.
    """
    content = _with_history(content, axes)
    grid = [dict(zip(axes, values, strict=True)) for values in product(*axes.values())]
    levels = [BUDGET_RATIO**level for level in range(budgets)] if kind == "isoflop" else [1.0]
    shares = [level / (sum(levels) * len(grid)) for level in levels]
    cells = [_cell(content, values, share) for share in shares for values in grid]
    cells = _sized(cells, kind, budget, price)
    cells = _sized(_seeded(cells, axes, kind, seeds), kind, budget, price)
    return Design(kind, axes, budget, cells)


def operations(config: RunConfig) -> float:
    """The price of a run in training operations."""
    per_target, _ = accounting.training_operations_per_target(
        config.model, config.targets, config.positions
    )
    return per_target * config.train.steps * config.targets_per_step


def log_design_matrix(
    cells: Sequence[Cell], axes: Mapping[str, Sequence[Any]], kind: Kind
) -> Floats:
    """Where each cell stands on what is fitted, in logarithms: shape (cells, columns)."""
    columns = [
        [np.log(cell.values[axis]) for cell in cells]
        for axis, values in axes.items()
        if len(set(values)) > 1 and all(isinstance(value, int | float) for value in values)
    ]
    if kind == "isoflop":
        columns.append([np.log(cell.share) for cell in cells])
    return np.array(columns, float).T


def _with_history(content: Mapping[str, Any], axes: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    """The content with a history that lets all contexts be scored on the same targets."""
    known = content.get("windows", {}).get("history")
    if CONTEXT not in axes or known is not None:
        return dict(content)
    return with_values(content, {HISTORY: max(axes[CONTEXT])})


def _cell(content: Mapping[str, Any], values: dict[str, Any], share: float) -> Cell:
    named = ", ".join(f"{key}={value}" for key, value in values.items())
    try:
        config = RunConfig.model_validate(with_values(content, values))
    except ValidationError as error:
        wrong = [f"{named}: {detail['msg']}" for detail in error.errors()]
        raise ConfigError(wrong) from error
    if found := check.problems(config, None):
        raise ConfigError([f"{named}: {problem}" for problem in found])
    return Cell(values, config, 0.0, share)


def _sized(cells: Sequence[Cell], kind: Kind, budget: float, price: Price) -> list[Cell]:
    """The cells with as many steps as the budget buys."""
    fixed, each = np.array([_line(cell, price) for cell in cells]).T
    seeds = np.array([cell.seeds for cell in cells])
    per_step = np.array([cell.config.targets_per_step for cell in cells])
    if kind == "equal-data":
        targets = (budget - seeds @ fixed) / (seeds @ (each / per_step))
        steps = targets / per_step
    else:
        shares = np.array([cell.share for cell in cells])
        steps = (budget * shares / (seeds @ shares) - fixed) / each
    if min(steps) < 1:
        needed = float(seeds @ (fixed + each))
        raise ConfigError(
            [
                f"the budget {budget:g} does not buy a step of every run: give more than "
                f"{needed:.3g}, or fewer values of the axes"
            ]
        )
    # A price is of whole steps, validations among them, so that it is checked once more.
    found = [_priced(_of_steps(cell, int(n)), price) for cell, n in zip(cells, steps, strict=True)]
    over = sum(cell.price * cell.seeds for cell in found) / budget
    if over > 1:
        found = [
            _priced(_of_steps(cell, max(1, int(cell.config.train.steps / over))), price)
            for cell in found
        ]
    return found


def _line(cell: Cell, price: Price) -> tuple[float, float]:
    """What a run costs without a step, and each of many steps, with the validations between."""
    once, twice = (price(_of_steps(cell, steps).config) for steps in (MANY_STEPS, 2 * MANY_STEPS))
    each = (twice - once) / MANY_STEPS
    return max(0.0, once - MANY_STEPS * each), each


def _of_steps(cell: Cell, steps: int) -> Cell:
    train = cell.config.train.model_copy(update={"steps": steps})
    values = {**cell.values, "train.steps": steps}
    return replace(cell, config=cell.config.model_copy(update={"train": train}), values=values)


def _priced(cell: Cell, price: Price) -> Cell:
    return replace(cell, price=price(cell.config))


def _seeded(
    cells: list[Cell], axes: Mapping[str, Sequence[Any]], kind: Kind, number: int
) -> list[Cell]:
    """The cells with ``number`` more seeds, each where it lowers the slopes' variances most."""
    x = log_design_matrix(cells, axes, kind)
    away = (x - x.mean(axis=0)) ** 2
    weight = (away / away.sum(axis=0)).sum(axis=1)
    seeds = np.array([cell.seeds for cell in cells])
    prices = np.array([cell.price for cell in cells])
    for _ in range(number):
        gain = weight * (1 / seeds - 1 / (seeds + 1))
        best = np.flatnonzero(np.isclose(gain, gain.max()))
        seeds[best[np.argmin(prices[best])]] += 1
    return [replace(cell, seeds=int(n)) for cell, n in zip(cells, seeds, strict=True)]
