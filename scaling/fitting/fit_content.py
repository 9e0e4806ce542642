"""What is said about a fit, as plain JSON values; the names are a contract (docs/fitting.md)."""

from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaling.fitting.diagnostics import row_noise
from scaling.fitting.fit import NUM_STARTS, Fit
from scaling.fitting.frontier import Frontier
from scaling.fitting.isoflop import IsoFlop
from scaling.fitting.prediction import Prediction
from scaling.fitting.uncertainty import Uncertainty, wald


def fit_content(made: Fit, known: Uncertainty, best: Frontier | None) -> dict[str, Any]:
    """The fit's own numbers; with a frontier, its compute exponents stand among the intervals."""
    natural = made.named_parameters
    parts = {
        name: {
            key.removeprefix(f"{name}."): value
            for key, value in natural.items()
            if key.startswith(f"{name}.")
        }
        for name in made.points.names
    }
    for name, amplitude in zip(
        made.form.terms, made.form.amplitudes(made.parameters[None])[0], strict=True
    ):
        parts[name]["at_centre"] = amplitude
    for name, centre in zip(made.points.names, made.points.centres, strict=True):
        parts[name]["centre"] = centre
    intervals, errors = dict(known.intervals), dict(known.standard_errors)
    if best:
        for name in made.points.names:
            intervals[f"{name}.compute_exponent"] = best.intervals[name]
            errors[f"{name}.compute_exponent"] = best.standard_errors[name]
    return {
        "E": natural["E"],
        "terms": parts,
        "objective": made.value,
        "n": len(made.points.loss),
        "intervals": intervals,
        "standard_errors": errors,
    }


def fit_details(made: Fit, known: Uncertainty) -> dict[str, Any]:
    """What the contract's names leave out: goodness, starts, the other intervals."""
    check = wald(made)
    return {
        "form": made.form.name,
        "formula": made.form.formula,
        "parameters": made.named_parameters,
        "configurations": made.points.num_configurations,
        "mean_objective": made.value / len(made.points.loss),
        "goodness": _goodness(made),
        "starts": {"number": NUM_STARTS, "agreeing": made.starts_agreeing},
        "interval_method": known.method,
        "redraws": len(made.redraws),
        "wald": {"standard_errors": check.standard_errors, "intervals": check.intervals},
        "correlations": _correlations(made),
    }


def _goodness(made: Fit) -> dict[str, float]:
    """How near the curve is to its own rows, whatever the objective was."""
    loss, predicted = made.points.loss, made.predicted
    relative, missed = predicted / loss - 1, float(np.sum((predicted - loss) ** 2))
    varied = float(np.sum((loss - loss.mean()) ** 2))
    return {
        "r_squared": 1 - missed / varied if varied else np.nan,
        "rmse": float(np.sqrt(missed / len(loss))),
        "rmse_log": float(np.sqrt(np.mean(np.log(predicted / loss) ** 2))),
        "mean_abs_relative_error": float(np.mean(np.abs(relative))),
        "max_abs_relative_error": float(np.max(np.abs(relative))),
        "noise": row_noise(made),
    }


def _correlations(made: Fit) -> dict[str, float | None]:
    """Of each term's log coefficient with its exponent over the redraws."""
    values = made.form.named_parameters(made.redraws, made.points.centres)
    found: dict[str, float | None] = {}
    for name in made.form.terms:
        coefficient, exponent = values[f"{name}.coefficient"], values[f"{name}.exponent"]
        alive = coefficient > 0
        enough = alive.sum() > 2 and np.ptp(exponent[alive]) > 0
        found[name] = (
            float(np.corrcoef(np.log(coefficient[alive]), exponent[alive])[0, 1])
            if enough
            else None
        )
    return found


def holdout_content(held: Prediction, rows: NDArray[np.bool_]) -> dict[str, Any]:
    """Held-out rows with their predictions; ``rows`` is true for their lines of the table."""
    errors = np.abs(held.relative_errors)
    return {
        "mean_abs_relative_error": float(errors.mean()),
        "max_abs_relative_error": float(errors.max()),
        "rows": len(errors),
        "inside": held.inside,
        "predictions": [
            {
                "line": int(line) + 2,
                "loss": held.seen[index],
                "predicted": held.predicted[index],
                "relative_error": held.relative_errors[index],
                "interval": [held.low[index], held.high[index]],
                "reach": held.reach[index],
            }
            for index, line in enumerate(np.flatnonzero(rows))
        ],
    }


def isoflop_content(found: IsoFlop, at: list[float]) -> dict[str, Any]:
    """Profiles, exponents by each method, and what they come to at other budgets."""
    return {
        "profiles": [asdict(profile) for profile in found.profiles],
        "exponents": {
            name: {
                **{method: power.exponent for method, power in powers.items()},
                "joint_interval": powers["joint"].interval if "joint" in powers else None,
            }
            for name, powers in found.powers.items()
        },
        "at": [
            {
                "budget": budget,
                **{
                    name: {method: power.at(budget) for method, power in powers.items()}
                    for name, powers in found.powers.items()
                },
            }
            for budget in at
        ],
    }


def frontier_content(found: Frontier) -> dict[str, Any]:
    """Best sizes at each budget, and the exponents of their growth."""
    return {
        "exponents": found.exponents,
        "standard_errors": found.standard_errors,
        "intervals": found.intervals,
        "best": [asdict(point) for point in found.best],
    }


def to_json_values(value: Any) -> Any:
    """JSON's own kinds; what is no finite number is null."""
    if isinstance(value, dict):
        return {key: to_json_values(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [to_json_values(part) for part in value]
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return value
