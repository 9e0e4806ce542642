"""Tables of a designed sweep and of the power of a comparison, and the sweep as YAML."""

from collections.abc import Iterator, Mapping, Sequence
from math import inf
from typing import Any

import yaml
from rich.table import Table

from scaling.analysis.power_analysis import POWER, Noise, RequiredRuns
from scaling.common.terminal import table_of_pairs, terminal_table
from scaling.config.load import with_values
from scaling.fitting.forms import Additive
from scaling.planning.design import CONTEXT, HISTORY, Design
from scaling.planning.design_errors import DATA, SIZE, AssumedEffect, ExpectedError
from scaling.runs.record import bits


def design_tables(
    made: Design,
    errors: Sequence[ExpectedError],
    unit: str,
    noise: float,
    guesses: Mapping[str, AssumedEffect],
) -> Iterator[Table]:
    """Yield the cells of a design, and the expected results of its fits."""
    axes = list(made.axes)
    rows = [
        (
            *((axis, f"{cell.values[axis]:,}") for axis in axes),
            ("steps", f"{cell.config.train.steps:,}"),
            ("targets", f"{cell.targets:,}"),
            ("seeds", f"{cell.seeds}"),
            (f"{unit} per run", f"{cell.price:.4g}"),
        )
        for cell in made.cells
    ]
    yield table_of_pairs(
        f"{made.kind} design of {sum(cell.seeds for cell in made.cells)} runs: {made.price:.4g} of "
        f"{made.budget:.4g} {unit}",
        rows,
        text=0,
    )
    lawful = [axis for axis in axes if len(set(made.axes[axis])) >= Additive.least_values]
    names = [SIZE, DATA] if made.kind == "isoflop" else lawful
    assumed = "; ".join(
        f"{name} adds {guess.reducible:g} nats at its smallest, exponent {guess.exponent:g}"
        for name, guess in ((name, guesses.get(name, AssumedEffect())) for name in names)
    )
    table = terminal_table(
        f"expected results of its fits, if {assumed or 'no axis carries a law'}, and a run's noise "
        f"is {noise:g} nats ({bits(noise):.2g} bits)",
        ("quantity", "without noise", "standard error", "95 % of the fits"),
    )
    for one in errors:
        table.add_row(
            one.quantity,
            "" if one.truth is None else f"{one.truth:+.4f}",
            "" if one.standard_error is None else f"{one.standard_error:.4f}",
            "" if one.interval is None else f"{one.interval[0]:+.4f} to {one.interval[1]:+.4f}",
        )
    yield table


def sweep_text(made: Design, content: Mapping[str, Any], source: str) -> str:
    """Return the design as the YAML file of a sweep, which extends no other file."""
    if CONTEXT in made.axes and not content.get("windows", {}).get("history"):
        content = with_values(content, {HISTORY: max(made.axes[CONTEXT])})
    whole = {**content, "sweep": {"points": made.points()}}
    text: str = yaml.safe_dump(whole, sort_keys=False, default_flow_style=None, width=100)
    return f"# {made.kind} design from {source}, budget {made.budget:.4g}.\n{text}"


def power_table(difference: float, noise: Noise, found: Sequence[RequiredRuns]) -> Table:
    """Return the targets that each number of seeds requires."""
    known = "" if noise.freedom == inf else f" from {noise.freedom:g} degrees of freedom"
    rows = [
        (
            ("seeds each", f"{need.seeds}"),
            ("targets", "never enough" if need.targets is None else f"{need.targets:,}"),
            ("recordings", "" if need.recordings is None else f"{need.recordings:,}"),
            ("smallest difference with all targets", f"{need.detectable:.4f}"),
        )
        for need in found
    ]
    return table_of_pairs(
        f"to detect {difference:g} nats ({bits(difference):.2g} bits) with power {POWER:g} at the "
        f"5 % level: standard deviation {noise.seeds:.4g} nats between seeds{known}, "
        f"{noise.targets:.4g} of a target's difference, correlation {noise.correlation:g}",
        rows,
        text=0,
    )
