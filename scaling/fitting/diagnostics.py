"""Diagnostics of a fit: conclusions that its points do not support, by code and sentence.

Codes are stable; docs/fitting.md lists them with their thresholds. The data, the best fit and its
isoFLOP profiles give some at once. The others need further fits of the same points: without one
configuration, or by another objective.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from scaling.fitting.fit import (
    MIN_STARTS_AGREEING,
    MORE_CONFIGURATIONS,
    NUM_STARTS,
    Fit,
    fit,
    refit,
)
from scaling.fitting.forms import Additive
from scaling.fitting.isoflop import MIN_SIZES, IsoFlop, Profile
from scaling.fitting.objective import Objective
from scaling.fitting.points import Points
from scaling.fitting.slope import Numbers, replicate_noise
from scaling.fitting.uncertainty import Uncertainty, covariance, wald

PLAUSIBLE_EXPONENTS = (0.02, 1.5)
NARROW = 10.0  # a column that spans less than this factor
RIDGE = 0.9  # correlation of the logarithms of two columns
LEAST_FALL = 3.0  # of a term over the data, in standard deviations of one row
ZERO_SHARE = 1e-3  # below this share of the lowest loss, E counts as zero
DEAD_SHARE = 1e-6  # below this share of the loss, a term has no effect
ROUNDING_SHARE = 1 - 1e-9

MIN_BUDGETS = 3
OFF_CENTRE = 0.25  # of the sizes' range: further than this from its middle
DRIFT = 3.0  # factor by which the lowest point moves in the sizes' range over the budgets
AGREEMENT = 0.02  # of exponents without an interval

MAX_LEFT_OUT = 100  # configurations left out in turn: those with the largest one-step influence
NEAR_OPTIMUM = 0.01  # of the objective: another optimum within it is a rival
MANY_ERRORS = 1.0
DISAGREEMENT = 1.5  # of bootstrap and Wald errors
ROUNDING = 1e-4  # smaller relative changes are ignored, whatever the errors
OTHER_DELTA = 1e-3  # of the unit: the Huber loss that is compared with least squares


@dataclass(frozen=True)
class Diagnostic:
    """One reason to doubt a fit: a stable ``code`` and a sentence."""

    code: str
    text: str


def column_phrase(name: str) -> str:
    """Return a column for a sentence: ``the context``, but ``N``."""
    return f"the {name}" if name.islower() and len(name) > 1 else name


def capitalised(text: str) -> str:
    """Return the text with a capital first letter."""
    return text[0].upper() + text[1:]


def row_noise(fit: Fit) -> float:
    """Return the standard deviation of one row, from replicates or else from residuals."""
    residual = fit.predicted - fit.points.loss
    cells = list(map(tuple, fit.points.x.tolist()))
    replicates = replicate_noise(fit.points.loss, cells)
    return replicates[0] if replicates else float(np.sqrt(residual @ residual / fit.freedom))


def data_diagnostics(points: Points, form: Additive) -> Iterator[Diagnostic]:
    """Yield what the design cannot support, whatever the losses are."""
    needed = form.num_free + MORE_CONFIGURATIONS
    if points.num_configurations < needed:
        yield Diagnostic(
            "few_configurations",
            f"The fit needs {needed} configurations; there are {points.num_configurations}.",
        )
    for name, values in zip(points.names, points.x.T, strict=True):
        ratio = float(values.max() / values.min())
        if ratio < NARROW * ROUNDING_SHARE:
            phrase = capitalised(column_phrase(name))
            yield Diagnostic(
                "narrow_range", f"{phrase} spans a factor of {ratio:.3g}, less than one decade."
            )
    for first, second in combinations(range(len(points.names)), 2):
        pair = points.position[:, first], points.position[:, second]
        correlation = float(np.corrcoef(*pair)[0, 1])
        if abs(correlation) > RIDGE:
            one, other = (column_phrase(points.names[index]) for index in (first, second))
            yield Diagnostic(
                "design_ridge",
                f"{capitalised(one)} and {other} change together (correlation of their logarithms "
                f"{correlation:.3f}), so the fit cannot separate their effects.",
            )


def fit_diagnostics(
    fit: Fit, known: Uncertainty, noise: float, loss_text: Callable[[float], str] = "{:.4g}".format
) -> Iterator[Diagnostic]:
    """Yield what the best fit and its intervals show.

    ``noise`` is that of one row; ``loss_text`` writes a loss in the unit of the table.
    """
    yield from _falls(fit, noise, loss_text)
    least = min(fit.named_parameters["E"], *(known.intervals["E"] or ()), np.inf)
    if fit.form.irreducible and least < ZERO_SHARE * float(fit.points.loss.min()):
        yield Diagnostic("irreducible_at_zero", "The irreducible loss may be zero.")
    yield from _exponents(fit, known)
    yield from _parabolas(fit, known)
    if fit.starts_agreeing < MIN_STARTS_AGREEING:
        yield Diagnostic(
            "no_agreement",
            f"Only {fit.starts_agreeing} of {NUM_STARTS} starts reached the best optimum.",
        )
    elif not fit.converged:
        yield Diagnostic("not_converged", "The best fit reached its limit of iterations.")


def _falls(fit: Fit, noise: float, loss_text: Callable[[float], str]) -> Iterator[Diagnostic]:
    falls = np.ptp(fit.added(), axis=0)
    for name, fall in zip(fit.form.terms, falls.tolist(), strict=True):
        if fall < DEAD_SHARE * float(fit.points.loss.mean()):
            yield Diagnostic("no_fall", f"The loss does not fall as {column_phrase(name)} grows.")
        elif fall < LEAST_FALL * noise:
            yield Diagnostic(
                "small_fall",
                f"As {column_phrase(name)} grows, the loss falls by {loss_text(fall)} in all, less "
                f"than three times the noise of one run, {loss_text(noise)}.",
            )


def _exponents(fit: Fit, known: Uncertainty) -> Iterator[Diagnostic]:
    low, high = PLAUSIBLE_EXPONENTS
    for name in fit.form.terms:
        value = fit.named_parameters[f"{name}.exponent"]
        interval = known.intervals[f"{name}.exponent"]
        if min(value, *(interval or ()), np.inf) < low or max(value, *(interval or ()), 0) > high:
            ends = f" (95% interval {interval[0]:.3g} to {interval[1]:.3g})" if interval else ""
            yield Diagnostic(
                "exponent_implausible",
                f"The exponent of {column_phrase(name)}, {value:.3g}{ends}, is outside the "
                f"plausible range of {low} to {high}.",
            )


def _parabolas(fit: Fit, known: Uncertainty) -> Iterator[Diagnostic]:
    for index, name in enumerate(fit.form.quadratics, len(fit.form.terms)):
        curvature = fit.named_parameters[f"{name}.curvature"]
        interval = known.intervals[f"{name}.curvature"]
        if min(curvature, *(interval or ()), np.inf) <= 0:
            yield Diagnostic(
                "not_convex",
                f"The loss may have no lowest point in {column_phrase(name)}: the curvature is "
                f"{curvature:.3g}.",
            )
            continue
        best, column = fit.named_parameters[f"{name}.optimum"], fit.points.x[:, index]
        if not column.min() < best < column.max():
            yield Diagnostic(
                "not_bracketed",
                f"The best {name}, {best:.4g}, lies outside the data ({column.min():.4g} to "
                f"{column.max():.4g}).",
            )


def isoflop_diagnostics(isoflop: IsoFlop) -> Iterator[Diagnostic]:
    """Yield the reasons against reading the lowest points of the profiles."""
    if len(isoflop.budgets) < MIN_BUDGETS:
        yield Diagnostic(
            "isoflop_few_budgets",
            f"The growth of the best sizes needs {MIN_BUDGETS} budgets; there are "
            f"{len(isoflop.budgets)}.",
        )
    for name in isoflop.powers:
        profiles = [profile for profile in isoflop.profiles if profile.name == name]
        yield from _sizes(name, profiles)
        yield from _shapes(name, profiles)
        yield from _positions(name, profiles)
        yield from _approaches(isoflop, name)


def _sizes(name: str, profiles: list[Profile]) -> Iterator[Diagnostic]:
    fewest = min(profile.sizes for profile in profiles)
    lacking = [method for method, least in MIN_SIZES.items() if fewest < least]
    if lacking:
        yield Diagnostic(
            "isoflop_few_sizes",
            f"One budget has {fewest} sizes of {name}; a {lacking[-1]} needs "
            f"{MIN_SIZES[lacking[-1]]}.",
        )


def _shapes(name: str, profiles: list[Profile]) -> Iterator[Diagnostic]:
    for method, least in MIN_SIZES.items():
        enough = [profile for profile in profiles if profile.sizes >= least]
        flat = [p.budget for p in enough if p.best[method] is None]
        outside = [p.budget for p in enough if p.best[method] and not p.bracketed(method)]
        curve = f"{method} over {column_phrase(name)}"
        if flat:
            yield Diagnostic(
                "isoflop_not_convex",
                f"The {curve} has no lowest point at a budget of {_list(flat)}.",
            )
        if outside:
            yield Diagnostic(
                "isoflop_not_bracketed",
                f"The lowest point of the {curve} lies outside the trained sizes at a budget of "
                f"{_list(outside)}.",
            )


def _positions(name: str, profiles: list[Profile]) -> Iterator[Diagnostic]:
    """Yield where the lowest points lie badly among the trained sizes."""
    # The cubic counts if it has a lowest point, else the parabola.
    optima = [(p, p.best["cubic"] or p.best["parabola"]) for p in profiles]
    ratios = [(profile, best / profile.centre) for profile, best in optima if best is not None]
    off = [
        p.budget for p, ratio in ratios if abs(np.log(ratio)) > OFF_CENTRE * np.log(p.high / p.low)
    ]
    if off:
        yield Diagnostic(
            "isoflop_off_centre",
            f"The best {name} lies in an outer quarter of the sizes at a budget of {_list(off)}: "
            "one side determines the polynomials.",
        )
    if ratios:
        drift = max(ratio for _, ratio in ratios) / min(ratio for _, ratio in ratios)
        if drift > DRIFT:
            yield Diagnostic(
                "isoflop_drifting_centre",
                f"Over the budgets the best {name} drifts by a factor of {drift:.3g} against the "
                "middle of the sizes, which biases its exponent.",
            )


def _approaches(isoflop: IsoFlop, name: str) -> Iterator[Diagnostic]:
    powers = isoflop.powers[name]
    method = "cubic" if "cubic" in powers else "parabola"
    if method not in powers or "joint" not in powers:
        return
    low, high = powers["joint"].interval or (0.0, 0.0)
    apart = abs(powers[method].exponent - powers["joint"].exponent)
    if apart > max((high - low) / 2, AGREEMENT):
        yield Diagnostic(
            "approaches_disagree",
            f"The best {name} grows with the budget to the power of {powers[method].exponent:.3f} "
            f"by the {method} and {powers['joint'].exponent:.3f} by the joint fit.",
        )


def _list(budgets: list[float]) -> str:
    return ", ".join(f"{budget:.3g}" for budget in budgets)


def refit_diagnostics(best: Fit, known: Uncertainty) -> Iterator[Diagnostic]:
    """Yield what further fits of the same points show."""
    yield from _rivals(best, known)
    yield from _influential(best, known)
    yield from _other_objective(best, known)
    yield from _other_errors(best, known)


def reported_parameters(fit: Fit) -> list[str]:
    """Return the parameters that readers interpret: E and the exponents, not the coefficients."""
    return ["E", *(f"{name}.exponent" for name in fit.form.terms)]


def parameter_label(name: str) -> str:
    """Return the phrase for a parameter in a sentence."""
    term, dot, _ = name.rpartition(".exponent")
    return f"the exponent of {column_phrase(term)}" if dot else name


def half_width(known: Uncertainty, name: str, value: float) -> float:
    """Return half of a parameter's interval, at least rounding; infinite without an interval."""
    low, high = known.intervals[name] or (0.0, np.inf)
    return max((high - low) / 2, ROUNDING * abs(value))


def _rivals(best: Fit, known: Uncertainty) -> Iterator[Diagnostic]:
    near = best.optima.values <= best.value * (1 + NEAR_OPTIMUM) + best.problem.rounding_error
    rivals = best.optima.parameters[near & best.optima.converged]
    others = best.form.named_parameters(rivals, best.points.centres)
    for name in reported_parameters(best):
        value = best.named_parameters[name]
        apart = np.abs(others[name] - value)
        if len(apart) and apart.max() > half_width(known, name, value):
            yield Diagnostic(
                "several_optima",
                f"Other optima within 1% of the best objective move {parameter_label(name)} from "
                f"{value:.4g} as far as {others[name][apart.argmax()]:.4g}.",
            )
            return


def _influential(best: Fit, known: Uncertainty) -> Iterator[Diagnostic]:
    if best.points.num_configurations <= best.form.num_free:
        return
    dropped = _most_influential(best)
    kept = (best.points.member != dropped[:, None]).astype(float)
    refitted = refit(best.problem, kept, best.parameters[None])
    values = best.form.named_parameters(refitted, best.points.centres)
    for name in reported_parameters(best)[1:]:
        value, error = best.named_parameters[name], known.standard_errors[name]
        moved = np.abs(values[name] - value)
        most = int(moved.argmax())
        if moved[most] > max(MANY_ERRORS * (error or np.inf), ROUNDING * abs(value)):
            row = best.points.x[best.points.member == dropped[most]][0]
            pairs = zip(best.points.names, row, strict=True)
            where = ", ".join(f"{column} {size:.4g}" for column, size in pairs)
            yield Diagnostic(
                "influential_run",
                f"Without the configuration of {where}, {parameter_label(name)} moves from "
                f"{value:.4g} to {values[name][most]:.4g}, by "
                f"{moved[most] / (error or np.inf):.2g} standard errors.",
            )


def _most_influential(best: Fit) -> Numbers:
    """Return the numbers of the configurations with the largest one-step influence."""
    residual, gradient = best.problem.residuals(best.parameters[None])
    pulls = best.objective.pull(residual[0])[:, None] * gradient[0]
    sums = np.zeros((best.points.num_configurations, pulls.shape[1]))
    np.add.at(sums, best.points.member, pulls)
    spread = covariance(best)
    scale = np.sqrt(np.maximum(np.diag(spread), np.finfo(float).tiny))
    moved = np.abs(sums @ spread / scale).max(axis=1)
    return np.argsort(-moved)[:MAX_LEFT_OUT]


def _other_objective(best: Fit, known: Uncertainty) -> Iterator[Diagnostic]:
    space, unit = best.objective.space, best.objective.unit(best.points.loss)
    objective, label = Objective("mse", space), "least squares"
    if best.objective.kind == "mse":
        objective, label = Objective("huber", space, OTHER_DELTA * unit), "the Huber loss"
    other = fit(best.points, best.form, objective, num_redraws=0)
    for name in reported_parameters(best):
        value, moved = best.named_parameters[name], other.named_parameters[name]
        if abs(moved - value) > half_width(known, name, value):
            yield Diagnostic(
                "objective_sensitive",
                f"With {label}, {parameter_label(name)} is {moved:.4g} instead of {value:.4g}: "
                "they differ by more than half of its 95% interval.",
            )


def _other_errors(best: Fit, known: Uncertainty) -> Iterator[Diagnostic]:
    if known.method != "bootstrap":
        return
    by_curvature = wald(best).standard_errors
    for name in reported_parameters(best):
        redrawn, other = known.standard_errors[name], by_curvature[name]
        negligible = ROUNDING * abs(best.named_parameters[name])
        if not redrawn or not other or max(redrawn, other) < negligible:
            continue
        if max(redrawn / other, other / redrawn) > DISAGREEMENT:
            yield Diagnostic(
                "intervals_disagree",
                f"The standard error of {parameter_label(name)} is {redrawn:.3g} by redrawn "
                f"configurations and {other:.3g} by the curvature at the optimum: rows have "
                "unequal noise, depend on each other, or are too few.",
            )
