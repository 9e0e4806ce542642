"""What is asked of a table of runs, checked before anything is read."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scaling.config.load import ConfigError
from scaling.fitting.loss_table import LOSS
from scaling.fitting.objective import Kind, Space


@dataclass(frozen=True)
class FitRequest:
    """What the command line asks of a table; ``terms`` and ``quadratics`` are ``NAME=COLUMN``."""

    table: Path
    loss: str
    terms: list[str]
    quadratics: list[str]
    form: str
    irreducible: bool
    objective: Kind
    space: Space
    delta: float
    where: str | None
    group: str | None
    holdout: str | None
    bootstrap: int
    seed: int
    compare: bool
    isoflop: str | None
    cost: str | None
    at: list[float]

    def named(self) -> tuple[dict[str, str], dict[str, str]]:
        """Columns of the terms and of the parabolas by name, with every problem said at once."""
        terms, quadratics = _named(self.terms, "--term"), _named(self.quadratics, "--quadratic")
        _check(self, terms, quadratics)
        return terms, quadratics


def _named(texts: list[str], option: str) -> dict[str, str]:
    """``NAME=COLUMN`` options by name."""
    named: dict[str, str] = {}
    for text in texts:
        name, sign, value = (part.strip() for part in text.partition("="))
        if not (name and sign and value):
            raise ConfigError([f"{option} {text!r}: write NAME=COLUMN, such as {option} N=params"])
        if "." in name:
            raise ConfigError(
                [f"{option} {text!r}: a name holds no dot, such as {option} N=params"]
            )
        if name in named:
            raise ConfigError([f"{option} names {name!r} twice: give each column its own name"])
        named[name] = value
    return named


def _check(asked: FitRequest, terms: dict[str, str], quadratics: dict[str, str]) -> None:
    problems = []
    if both := terms.keys() & quadratics.keys():
        problems.append(f"{min(both)!r} is a --term and a --quadratic: choose one")
    if {LOSS, "E"} & {*terms, *quadratics}:
        problems.append(f"'E' and {LOSS!r} name what is fitted: call the column otherwise")
    if not 0 < asked.delta < np.inf:
        problems.append(f"--delta is {asked.delta}: write a number above 0, such as 1e-3")
    if asked.bootstrap < 0 or asked.bootstrap == 1:
        problems.append(f"--bootstrap is {asked.bootstrap}: write 0 for none, or 2 or more")
    if asked.seed < 0:
        problems.append(f"--seed is {asked.seed}: write 0 or more")
    if asked.at and not (asked.cost or asked.isoflop):
        problems.append("--at needs --cost or --isoflop: it names the budgets to look at")
    if not all(0 < budget < np.inf for budget in asked.at):
        problems.append(f"--at is {asked.at}: budgets are positive numbers, such as 1e21")
    if not terms:
        problems.append("no term: name at least one, as --term N=COLUMN")
    if problems:
        raise ConfigError(problems)
