"""Sweeps for a budget: an equal-data or an isoFLOP grid, with seeds where they help most.

The slope of the loss over a column x is the contrast of the cells' means with the weights
``w_i = (x_i - mean) / sum of (x_i - mean)^2``. With n_i seeds in a cell, its variance is
:func:`scaling.fitting.slope.contrast_variances`, so a second seed at an end of an axis helps most.
Each extra seed goes to the cell that lowers the variances most, relative to those of single runs.
More seeds mean shorter runs: a design keeps its budget.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Literal

import numpy as np
from pydantic import ValidationError

from scaling.config import check
from scaling.config.load import ConfigError, with_values
from scaling.config.run_config import RunConfig
from scaling.fitting.slope import contrast_variances
from scaling.planning.data_throughput import operations_per_target

Kind = Literal["equal-data", "isoflop"]
Price = Callable[[RunConfig], float]
BUDGET_RATIO = 3.0  # between neighbouring budgets of an isoFLOP grid
MANY_STEPS = 10**6  # steps over which a price counts as linear
CONTEXT, HISTORY = "model.context", "windows.history"


@dataclass(frozen=True)
class Cell:
    """One configuration: its values by dotted keys, the price of one run, and its number of seeds.

    ``share`` is the part of an isoFLOP design's budget for one run.
    """

    values: dict[str, Any]
    config: RunConfig
    price: float
    share: float
    seeds: int = 1

    @property
    def targets(self) -> int:
        """Number of training targets of a run."""
        return self.config.train.steps * self.config.targets_per_step


@dataclass(frozen=True)
class Design:
    """The cells of a sweep that fits a budget of operations or dollars."""

    kind: Kind
    axes: dict[str, list[Any]]
    budget: float
    cells: list[Cell]

    @property
    def price(self) -> float:
        """Price of all runs."""
        return sum(cell.price * cell.seeds for cell in self.cells)

    def points(self) -> list[dict[str, Any]]:
        """Return every run as a point of a sweep, the most expensive first."""
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
    """Design a sweep over all combinations of the axes' values.

    Args:
        content: the configuration, as a YAML file has it.
        kind: equal-data runs see the same number of targets; isoFLOP runs of one budget have the
            same price, three times that of the budget before.
        budget: operations or dollars, the unit of ``price``.
        seeds: number of runs to add where they help most.

    Raises:
        ConfigError: a combination cannot run, or the budget is too small for a step of each run.
    """
    if CONTEXT in axes and content.get("windows", {}).get("history") is None:
        # This history gives all contexts the same targets.
        content = with_values(content, {HISTORY: max(axes[CONTEXT])})
    grid = [dict(zip(axes, values, strict=True)) for values in product(*axes.values())]
    levels = [BUDGET_RATIO**level for level in range(budgets)] if kind == "isoflop" else [1.0]
    shares = [level / (sum(levels) * len(grid)) for level in levels]
    cells = [_cell(content, values, share) for share in shares for values in grid]
    cells = _sized(cells, kind, budget, price)
    cells = _sized(_seeded(cells, axes, kind, seeds), kind, budget, price)
    return Design(kind, axes, budget, cells)


def operations(config: RunConfig) -> float:
    """Return the training operations of a run."""
    return operations_per_target(config) * config.train.steps * config.targets_per_step


def _cell(content: Mapping[str, Any], values: dict[str, Any], share: float) -> Cell:
    named = ", ".join(f"{key}={value}" for key, value in values.items())
    try:
        config = RunConfig.model_validate(with_values(content, values))
    except ValidationError as error:
        problems = [f"{named}: {detail['msg']}" for detail in error.errors()]
        raise ConfigError(problems) from error
    if problems := check.problems(config, None):
        raise ConfigError([f"{named}: {problem}" for problem in problems])
    return Cell(values, config, 0.0, share)


def _sized(cells: Sequence[Cell], kind: Kind, budget: float, price: Price) -> list[Cell]:
    """Return the cells with as many steps as the budget allows."""
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
            f"the budget {budget:g} is below one step of every run: give more than "
            f"{needed:.3g}, or fewer values of the axes"
        )
    # Rounding to whole steps and validations changes the price, so it is checked again.
    sized = [_with_steps(cell, int(n), price) for cell, n in zip(cells, steps, strict=True)]
    over = sum(cell.price * cell.seeds for cell in sized) / budget
    if over > 1:
        sized = [
            _with_steps(cell, max(1, int(cell.config.train.steps / over)), price) for cell in sized
        ]
    return sized


def _line(cell: Cell, price: Price) -> tuple[float, float]:
    """Return the fixed price of a run, and the price of each step with its share of validations."""
    once, twice = (_with_steps(cell, n * MANY_STEPS, price).price for n in (1, 2))
    each = (twice - once) / MANY_STEPS
    return max(0.0, once - MANY_STEPS * each), each


def _with_steps(cell: Cell, steps: int, price: Price) -> Cell:
    train = cell.config.train.model_copy(update={"steps": steps})
    config = cell.config.model_copy(update={"train": train})
    values = {**cell.values, "train.steps": steps}
    return replace(cell, values=values, config=config, price=price(config))


def _seeded(
    cells: list[Cell], axes: Mapping[str, Sequence[Any]], kind: Kind, number: int
) -> list[Cell]:
    """Return the cells with ``number`` more seeds, each where it lowers the variances most."""
    # Logarithms of the fitted columns, shape (cells, columns).
    columns = [
        np.log([cell.values[axis] for cell in cells])
        for axis, values in axes.items()
        if len(set(values)) > 1 and all(isinstance(value, int | float) for value in values)
    ]
    if kind == "isoflop":
        columns.append(np.log([cell.share for cell in cells]))
    x = np.array(columns, float).T
    weights = x - x.mean(axis=0)
    weights /= np.sqrt(np.square(weights).sum(axis=0))
    seeds = np.array([cell.seeds for cell in cells])
    prices = np.array([cell.price for cell in cells])
    for _ in range(number):
        gain = contrast_variances(weights, seeds) - contrast_variances(weights, seeds + 1)
        best = np.flatnonzero(np.isclose(gain, gain.max()))
        seeds[best[np.argmin(prices[best])]] += 1
    return [replace(cell, seeds=int(n)) for cell, n in zip(cells, seeds, strict=True)]
