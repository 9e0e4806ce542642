"""What isoFLOP profiles cannot tell: lowest points outside the sizes, too few of them, drift."""

from collections.abc import Iterator

import numpy as np

from scaling.findings import Finding, the
from scaling.isoflop import LEAST_SIZES, IsoFlop, Profile

LEAST_BUDGETS = 3
OFF_CENTRE = 0.25  # of the sizes' range: further than this from its middle
DRIFT = 3.0  # factor by which the lowest point moves in the sizes' range over the budgets
AGREEMENT = 0.02  # of exponents, where there is no interval


def of_isoflop(found: IsoFlop) -> Iterator[Finding]:
    """Everything about the profiles that speaks against reading their lowest points."""
    if len(found.budgets) < LEAST_BUDGETS:
        yield Finding(
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


def _sizes(name: str, profiles: list[Profile]) -> Iterator[Finding]:
    fewest = min(profile.sizes for profile in profiles)
    lacking = [method for method, least in LEAST_SIZES.items() if fewest < least]
    if lacking:
        needed = LEAST_SIZES[lacking[-1]]
        yield Finding(
            "isoflop_few_sizes",
            f"Some budget has {fewest} sizes of {name}; a {lacking[-1]} takes {needed}.",
        )


def _shapes(name: str, profiles: list[Profile]) -> Iterator[Finding]:
    for method, least in LEAST_SIZES.items():
        enough = [profile for profile in profiles if profile.sizes >= least]
        flat = [profile.budget for profile in enough if profile.best[method] is None]
        outside = [
            profile.budget
            for profile in enough
            if profile.best[method] is not None and not profile.bracketed(method)
        ]
        if flat:
            yield Finding(
                "isoflop_not_convex",
                f"The {method} over {the(name)} has no lowest point at a budget of {_list(flat)}.",
            )
        if outside:
            yield Finding(
                "isoflop_not_bracketed",
                f"The lowest point of the {method} over {the(name)} lies outside the sizes that "
                f"were run at a budget of {_list(outside)}.",
            )


def _places(name: str, profiles: list[Profile]) -> Iterator[Finding]:
    """Where the lowest points lie among the sizes that were run."""
    placed = [(profile, _best(profile)) for profile in profiles]
    ratios = [(profile, best / profile.centre) for profile, best in placed if best is not None]
    off = [
        profile.budget
        for profile, ratio in ratios
        if abs(np.log(ratio)) > OFF_CENTRE * np.log(profile.high / profile.low)
    ]
    if off:
        yield Finding(
            "isoflop_off_centre",
            f"The best {name} lies in an outer quarter of the sizes at a budget of {_list(off)}: "
            "the polynomials lean on one side.",
        )
    if ratios:
        values = [ratio for _, ratio in ratios]
        drift = max(values) / min(values)
        if drift > DRIFT:
            yield Finding(
                "isoflop_drifting_centre",
                f"Over the budgets the best {name} drifts by a factor of {drift:.3g} against the "
                "middle of the sizes, which biases its exponent.",
            )


def _best(profile: Profile) -> float | None:
    """The lowest point by the best polynomial that there is."""
    cubic: float | None = profile.best["cubic"]
    return profile.best["parabola"] if cubic is None else cubic


def _agreement(found: IsoFlop, name: str) -> Iterator[Finding]:
    powers = found.powers[name]
    method = "cubic" if "cubic" in powers else "parabola"
    if method not in powers or "joint" not in powers:
        return
    low, high = powers["joint"].interval or (0.0, 2 * AGREEMENT)
    limit = max((high - low) / 2, AGREEMENT)
    apart = abs(powers[method].exponent - powers["joint"].exponent)
    if apart > limit:
        yield Finding(
            "approaches_disagree",
            f"The best {name} grows with the budget to the power of {powers[method].exponent:.3f} "
            f"by the {method} and {powers['joint'].exponent:.3f} by the joint fit.",
        )


def _list(budgets: list[float]) -> str:
    return ", ".join(f"{budget:.3g}" for budget in budgets)
