"""Loss surfaces with known parameters, as points, tables and command lines."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from scaling.cli.main import app
from scaling.fitting.fit import fit
from scaling.fitting.forms import Additive
from scaling.fitting.objective import Objective
from scaling.fitting.points import Points

TRUTH = {
    "E": 1.8172,
    "N.coefficient": 482.01,
    "N.exponent": 0.3478,
    "D.coefficient": 2085.43,
    "D.exponent": 0.3658,
}


def surface(n, d, truth=TRUTH):
    """Return E + A / N^a + B / D^b."""
    return (
        truth["E"]
        + truth["N.coefficient"] / n ** truth["N.exponent"]
        + truth["D.coefficient"] / d ** truth["D.exponent"]
    )


def grid(sizes=6, decades=3.0):
    """Return N and D of a square design, each (sizes^2,)."""
    n = np.geomspace(1e7, 10 ** (7 + decades), sizes)
    d = np.geomspace(1e9, 10 ** (9 + decades), sizes)
    return tuple(column.ravel() for column in np.meshgrid(n, d))


def noisy(loss, deviation, seed=0):
    """Return the losses with normal noise on their logarithm."""
    return loss * np.exp(deviation * np.random.default_rng(seed).normal(size=loss.shape))


def design(deviation=0.003, sizes=6, decades=3.0, seed=0):
    """Return N, D and noisy losses of a square design."""
    n, d = grid(sizes, decades)
    return n, d, noisy(surface(n, d), deviation, seed)


def made(columns, loss, form=None, objective=None, labels=None, **how):
    """Fit these columns, by default with the additive form and the Huber loss."""
    points = Points.of(columns, loss, labels)
    return fit(points, form or Additive(tuple(columns)), objective or Objective(), **how)


def square(loss=None, **how):
    """Fit the square design with these losses, by default its own."""
    n, d, usual = design()
    return made({"N": n, "D": d}, usual if loss is None else loss, **how)


def table(folder: Path, frame: dict | pd.DataFrame | None = None) -> Path:
    """Write a CSV into the folder, by default of the square design."""
    if frame is None:
        frame = dict(zip(("Model Size", "tokens", "loss"), design(), strict=True))
    path = folder / "runs.csv"
    pd.DataFrame(frame).to_csv(path, index=False)
    return path


def fitted(path: Path, *words: str) -> dict:
    """Run ``python -m scaling fit`` in this process and return what it writes."""
    out = path.with_suffix(".json")
    app(["fit", str(path), *words, "--json", str(out)], standalone_mode=False)
    return json.loads(out.read_text())


def codes(content: dict) -> set[str]:
    """Return the codes of the warnings of a written fit."""
    return {warning["code"] for warning in content["warnings"]}
