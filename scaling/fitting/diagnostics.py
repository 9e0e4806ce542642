"""What the points of a fit cannot tell, each as a code that stays and a sentence.

The codes and their thresholds are listed in docs/fitting.md. Here is what the data and the best
fit themselves show; :mod:`scaling.fitting.stability` has what shows only when the fit is made
again.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from scaling.fitting.fit import MIN_STARTS_AGREEING, MORE_CONFIGURATIONS, NUM_STARTS, Fit
from scaling.fitting.forms import Additive
from scaling.fitting.isoflop import LEAST_SIZES, IsoFlop, Profile
from scaling.fitting.points import Points
from scaling.fitting.slope import replicate_noise
from scaling.fitting.uncertainty import Uncertainty

PLAUSIBLE_EXPONENTS = (0.02, 1.5)
NARROW = 10.0  # a column that spans less than this factor
RIDGE = 0.9  # correlation of the logarithms of two columns
LEAST_FALL = 3.0  # of a term over the data, in standard deviations of one row
ZERO_SHARE = 1e-3  # below this share of the lowest loss, E counts as zero
DEAD_SHARE = 1e-6  # below this share of the loss, a term is not there
ROUNDING = 1 - 1e-9


@dataclass(frozen=True)
class Diagnostic:
    """One thing that the points cannot tell: a stable ``code`` and a sentence."""

    code: str
    text: str


Written = Callable[[float], str]


def plain_loss(loss: float) -> str:
    """A loss in a sentence, in the unit of the table."""
    return f"{loss:.4g}"


def column_phrase(name: str) -> str:
    """A column in a sentence: ``the context``, but ``N``."""
    return f"the {name}" if name.islower() and len(name) > 1 else name


def capitalised(text: str) -> str:
    """With a capital at its beginning."""
    return text[0].upper() + text[1:]


def row_noise(fit: Fit) -> float:
    """Standard deviation of one row about its mean loss: of replicates, or else of residuals."""
    residual = fit.predicted - fit.points.loss
    cells = list(map(tuple, fit.points.x.tolist()))
    replicates = replicate_noise(fit.points.loss, cells)
    freedom = max(len(residual) - fit.form.num_free, 1)
    return replicates[0] if replicates else float(np.sqrt(residual @ residual / freedom))


def data_diagnostics(points: Points, form: Additive) -> Iterator[Diagnostic]:
    """What the design cannot carry, whatever the losses are."""
    needed = form.num_free + MORE_CONFIGURATIONS
    if points.num_configurations < needed:
        yield Diagnostic(
            "few_configurations",
            f"It takes {needed} configurations; there are {points.num_configurations}.",
        )
    for name, values in zip(points.names, points.x.T, strict=True):
        ratio = float(values.max() / values.min())
        if ratio < NARROW * ROUNDING:
            yield Diagnostic(
                "narrow_range",
                capitalised(
                    f"{column_phrase(name)} spans a factor of {ratio:.3g}, less than one decade."
                ),
            )
    for first, second in combinations(range(len(points.names)), 2):
        pair = points.position[:, first], points.position[:, second]
        correlation = float(np.corrcoef(*pair)[0, 1])
        if abs(correlation) > RIDGE:
            yield Diagnostic(
                "design_ridge",
                capitalised(
                    f"{column_phrase(points.names[first])} and {column_phrase(points.names[second])} change together "
                    f"(correlation of their logarithms {correlation:.3f}), so that the effect of "
                    "one can pass for that of the other."
                ),
            )


def fit_diagnostics(
    fit: Fit, known: Uncertainty, noise: float, written: Written = plain_loss
) -> Iterator[Diagnostic]:
    """What the best fit and its intervals show; ``noise`` is that of one row."""
    yield from _falls(fit, noise, written)
    yield from _irreducible(fit, known)
    yield from _exponents(fit, known)
    yield from _parabolas(fit, known)
    if fit.starts_agreeing < MIN_STARTS_AGREEING:
        yield Diagnostic(
            "no_agreement",
            f"Only {fit.starts_agreeing} of {NUM_STARTS} starts came to the best optimum.",
        )
    elif not fit.converged:
        yield Diagnostic("not_converged", "The best fit had not come to rest when it was ended.")


def _falls(fit: Fit, noise: float, written: Written) -> Iterator[Diagnostic]:
    falls = np.ptp(fit.added(), axis=0)
    for name, fall in zip(fit.form.terms, falls.tolist(), strict=True):
        if fall < DEAD_SHARE * float(fit.points.loss.mean()):
            yield Diagnostic("no_fall", f"The loss does not fall as {column_phrase(name)} grows.")
        elif fall < LEAST_FALL * noise:
            yield Diagnostic(
                "small_fall",
                f"As {column_phrase(name)} grows, the loss falls by {written(fall)} in all, less than three "
                f"times the {written(noise)} by which one run scatters.",
            )


def _irreducible(fit: Fit, known: Uncertainty) -> Iterator[Diagnostic]:
    least = min(fit.named_parameters["E"], *(known.intervals["E"] or ()), np.inf)
    if fit.form.irreducible and least < ZERO_SHARE * float(fit.points.loss.min()):
        yield Diagnostic("irreducible_at_zero", "The irreducible loss cannot be told from zero.")


def _exponents(fit: Fit, known: Uncertainty) -> Iterator[Diagnostic]:
    low, high = PLAUSIBLE_EXPONENTS
    for name in fit.form.terms:
        value, interval = (
            fit.named_parameters[f"{name}.exponent"],
            known.intervals[f"{name}.exponent"],
        )
        if min(value, *(interval or ()), np.inf) < low or max(value, *(interval or ()), 0) > high:
            reach = f"{value:.3g}"
            if interval:
                reach += f" (95% interval {interval[0]:.3g} to {interval[1]:.3g})"
            yield Diagnostic(
                "exponent_implausible",
                f"The exponent of {column_phrase(name)}, {reach}, leaves the plausible range of {low} to "
                f"{high}.",
            )


def _parabolas(fit: Fit, known: Uncertainty) -> Iterator[Diagnostic]:
    for index, name in enumerate(fit.form.quadratics, len(fit.form.terms)):
        bend, interval = (
            fit.named_parameters[f"{name}.curvature"],
            known.intervals[f"{name}.curvature"],
        )
        if min(bend, *(interval or ()), np.inf) <= 0:
            yield Diagnostic(
                "not_convex",
                f"The loss has no lowest point in {column_phrase(name)} that can be told from none: the bend "
                f"is {bend:.3g}.",
            )
            continue
        best, column = fit.named_parameters[f"{name}.optimum"], fit.points.x[:, index]
        if not column.min() < best < column.max():
            yield Diagnostic(
                "not_bracketed",
                f"The best {name}, {best:.4g}, lies outside the data ({column.min():.4g} to "
                f"{column.max():.4g}).",
            )


LEAST_BUDGETS = 3
OFF_CENTRE = 0.25  # of the sizes' range: further than this from its middle
DRIFT = 3.0  # factor by which the lowest point moves in the sizes' range over the budgets
AGREEMENT = 0.02  # of exponents, where there is no interval


def isoflop_diagnostics(found: IsoFlop) -> Iterator[Diagnostic]:
    """Everything about the profiles that speaks against reading their lowest points."""
    if len(found.budgets) < LEAST_BUDGETS:
        yield Diagnostic(
            "isoflop_few_budgets",
            f"Best sizes need {LEAST_BUDGETS} budgets to grow over, and {len(found.budgets)} "
            "are there.",
        )
    for name in found.powers:
        profiles = [profile for profile in found.profiles if profile.name == name]
        yield from _sizes(name, profiles)
        yield from _shapes(name, profiles)
        yield from _places(name, profiles)
        yield from _agreement(found, name)


def _sizes(name: str, profiles: list[Profile]) -> Iterator[Diagnostic]:
    fewest = min(profile.sizes for profile in profiles)
    lacking = [method for method, least in LEAST_SIZES.items() if fewest < least]
    if lacking:
        needed = LEAST_SIZES[lacking[-1]]
        yield Diagnostic(
            "isoflop_few_sizes",
            f"Some budget has {fewest} sizes of {name}; a {lacking[-1]} takes {needed}.",
        )


def _shapes(name: str, profiles: list[Profile]) -> Iterator[Diagnostic]:
    for method, least in LEAST_SIZES.items():
        enough = [profile for profile in profiles if profile.sizes >= least]
        flat = [profile.budget for profile in enough if profile.best[method] is None]
        outside = [
            profile.budget
            for profile in enough
            if profile.best[method] is not None and not profile.bracketed(method)
        ]
        if flat:
            yield Diagnostic(
                "isoflop_not_convex",
                f"The {method} over {column_phrase(name)} has no lowest point at a budget of {_list(flat)}.",
            )
        if outside:
            yield Diagnostic(
                "isoflop_not_bracketed",
                f"The lowest point of the {method} over {column_phrase(name)} lies outside the sizes that "
                f"were run at a budget of {_list(outside)}.",
            )


def _places(name: str, profiles: list[Profile]) -> Iterator[Diagnostic]:
    """Where the lowest points lie among the sizes that were run."""
    placed = [(profile, _best(profile)) for profile in profiles]
    ratios = [(profile, best / profile.centre) for profile, best in placed if best is not None]
    off = [
        profile.budget
        for profile, ratio in ratios
        if abs(np.log(ratio)) > OFF_CENTRE * np.log(profile.high / profile.low)
    ]
    if off:
        yield Diagnostic(
            "isoflop_off_centre",
            f"The best {name} lies in an outer quarter of the sizes at a budget of {_list(off)}: "
            "the polynomials lean on one side.",
        )
    if ratios:
        values = [ratio for _, ratio in ratios]
        drift = max(values) / min(values)
        if drift > DRIFT:
            yield Diagnostic(
                "isoflop_drifting_centre",
                f"Over the budgets the best {name} drifts by a factor of {drift:.3g} against the "
                "middle of the sizes, which biases its exponent.",
            )


def _best(profile: Profile) -> float | None:
    """The lowest point by the best polynomial that there is."""
    cubic: float | None = profile.best["cubic"]
    return profile.best["parabola"] if cubic is None else cubic


def _agreement(found: IsoFlop, name: str) -> Iterator[Diagnostic]:
    powers = found.powers[name]
    method = "cubic" if "cubic" in powers else "parabola"
    if method not in powers or "joint" not in powers:
        return
    low, high = powers["joint"].interval or (0.0, 2 * AGREEMENT)
    limit = max((high - low) / 2, AGREEMENT)
    apart = abs(powers[method].exponent - powers["joint"].exponent)
    if apart > limit:
        yield Diagnostic(
            "approaches_disagree",
            f"The best {name} grows with the budget to the power of {powers[method].exponent:.3f} "
            f"by the {method} and {powers['joint'].exponent:.3f} by the joint fit.",
        )


def _list(budgets: list[float]) -> str:
    return ", ".join(f"{budget:.3g}" for budget in budgets)
