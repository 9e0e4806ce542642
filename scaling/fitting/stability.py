"""What of a fit changes when it is made again: without one configuration, by another objective."""

from collections.abc import Iterator

import numpy as np

from scaling.fitting.bootstrap import refit
from scaling.fitting.diagnostics import Diagnostic, column_phrase
from scaling.fitting.fit import Fit, fit, fit_problem
from scaling.fitting.objective import Objective
from scaling.fitting.slope import Numbers
from scaling.fitting.uncertainty import Uncertainty, covariance, wald

MOST_LEFT_OUT = 100  # configurations left out in turn: those with the largest one-step influence
NEAR_OPTIMUM = 0.01  # of the objective: another optimum within it is a rival
MANY_ERRORS = 1.0
DISAGREEMENT = 1.5  # of bootstrap and Wald errors
ROUNDING = 1e-4  # relative changes below this are no finding, whatever the errors say
OTHER_DELTA = 1e-3  # of the unit: the Huber loss that least squares are held against


def refit_diagnostics(made: Fit, known: Uncertainty) -> Iterator[Diagnostic]:
    """Everything that only other fits of the same points show."""
    yield from _rivals(made, known)
    yield from _influential(made, known)
    yield from _other_objective(made, known)
    yield from _other_errors(made, known)


def reported_parameters(made: Fit) -> list[str]:
    """Names of the parameters that are read: E and the exponents, not the coefficients."""
    return ["E", *(f"{name}.exponent" for name in made.form.terms)]


def parameter_label(name: str) -> str:
    """What a sentence calls a parameter."""
    term, dot, _ = name.rpartition(".exponent")
    return f"the exponent of {column_phrase(term)}" if dot else name


def half_width(known: Uncertainty, name: str, value: float) -> float:
    """Half of a parameter's interval, and at least rounding; without an interval, no bound."""
    low, high = known.intervals[name] or (0.0, np.inf)
    return max((high - low) / 2, ROUNDING * abs(value))


def _rivals(made: Fit, known: Uncertainty) -> Iterator[Diagnostic]:
    nothing = fit_problem(made.points, made.form, made.objective).nothing
    near = made.optima.values <= made.value * (1 + NEAR_OPTIMUM) + nothing
    others = made.form.named_parameters(
        made.optima.parameters[near & made.optima.converged], made.points.centres
    )
    for name in reported_parameters(made):
        value = made.named_parameters[name]
        apart = np.abs(others[name] - value)
        if len(apart) and apart.max() > half_width(known, name, value):
            yield Diagnostic(
                "several_optima",
                f"Other optima within 1% of the best objective have {parameter_label(name)} as far as "
                f"{others[name][apart.argmax()]:.4g}, where the best has {value:.4g}.",
            )
            return


def _influential(made: Fit, known: Uncertainty) -> Iterator[Diagnostic]:
    if made.points.num_configurations <= made.form.num_free:
        return
    left = _most_influential(made)
    problem = fit_problem(made.points, made.form, made.objective)
    kept = (made.points.member != left[:, None]).astype(float)
    refitted = refit(problem, kept, made.parameters[None])
    values = made.form.named_parameters(refitted, made.points.centres)
    for name in reported_parameters(made)[1:]:
        value, error = made.named_parameters[name], known.standard_errors[name]
        moved = np.abs(values[name] - value)
        most = int(moved.argmax())
        limit = max(MANY_ERRORS * (error or np.inf), ROUNDING * abs(value))
        if moved[most] > limit:
            row = made.points.x[made.points.member == left[most]][0]
            where = ", ".join(
                f"{column} {size:.4g}" for column, size in zip(made.points.names, row, strict=True)
            )
            yield Diagnostic(
                "influential_run",
                f"Without the configuration of {where}, {parameter_label(name)} moves from {value:.4g} to "
                f"{values[name][most]:.4g}, by {moved[most] / (error or np.inf):.2g} standard "
                "errors.",
            )


def _most_influential(made: Fit) -> Numbers:
    """Numbers of the configurations that one step towards leaving out moves most."""
    problem = fit_problem(made.points, made.form, made.objective)
    residual, gradient = problem.residuals(made.parameters[None])
    pulls = made.objective.pull(residual[0])[:, None] * gradient[0]
    sums = np.zeros((made.points.num_configurations, pulls.shape[1]))
    np.add.at(sums, made.points.member, pulls)
    spread = covariance(made)
    scale = np.sqrt(np.maximum(np.diag(spread), np.finfo(float).tiny))
    moved = np.abs(sums @ spread / scale).max(axis=1)
    return np.argsort(-moved)[:MOST_LEFT_OUT]


def _other_objective(made: Fit, known: Uncertainty) -> Iterator[Diagnostic]:
    space, unit = made.objective.space, made.objective.unit(made.points.loss)
    other, name_of_other = Objective("mse", space), "least squares"
    if made.objective.kind == "mse":
        other, name_of_other = Objective("huber", space, OTHER_DELTA * unit), "the Huber loss"
    again = fit(made.points, made.form, other, num_redraws=0)
    for name in reported_parameters(made):
        value, moved = made.named_parameters[name], again.named_parameters[name]
        if abs(moved - value) > half_width(known, name, value):
            yield Diagnostic(
                "objective_sensitive",
                f"By {name_of_other} {parameter_label(name)} is {moved:.4g} and not {value:.4g}: that is "
                "further than half of its 95% interval.",
            )


def _other_errors(made: Fit, known: Uncertainty) -> Iterator[Diagnostic]:
    if known.method != "bootstrap":
        return
    check = wald(made)
    for name in reported_parameters(made):
        mine, other = known.standard_errors[name], check.standard_errors[name]
        if not mine or not other or max(mine, other) < ROUNDING * abs(made.named_parameters[name]):
            continue
        ratio = max(mine / other, other / mine)
        if ratio > DISAGREEMENT:
            yield Diagnostic(
                "intervals_disagree",
                f"The standard error of {parameter_label(name)} is {mine:.3g} by redrawn configurations and "
                f"{other:.3g} by the curvature at the optimum: rows scatter unevenly, hang "
                "together, or are too few.",
            )
