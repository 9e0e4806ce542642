"""Power law with an irreducible term, fitted to the loss against one axis.

Few runs over a short range rarely determine three parameters. A fit therefore has diagnostics that
list what its points leave open; :mod:`scaling.fitting.slope` needs fewer points. Losses are in nats
a sample; sentences give bits as well.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from scaling.fitting.diagnostics import Diagnostic, data_diagnostics, fit_diagnostics, row_noise
from scaling.fitting.fit import Fit, fit
from scaling.fitting.forms import Additive
from scaling.fitting.objective import Objective
from scaling.fitting.points import Points
from scaling.fitting.slope import FitError, Floats, Interval, checked_points
from scaling.fitting.uncertainty import PERCENTILES, percentile_interval, uncertainty
from scaling.runs.record import bits, in_both_units


@dataclass(frozen=True)
class PowerLaw:
    """``L(x) = irreducible + reducible (x / centre)^-exponent``, in nats a sample.

    ``reducible`` is the term at the centre, which points determine far better than that at x = 1.
    The 95% percentile ``intervals`` are empty if configurations are too few for a bootstrap.
    """

    name: str
    irreducible: float
    reducible: float
    exponent: float
    centre: float
    intervals: dict[str, Interval]
    findings: tuple[Diagnostic, ...]
    fitted: Fit = field(repr=False, compare=False)

    @property
    def determined(self) -> bool:
        """Return whether no diagnostic forbids the use of the parameters."""
        return not self.findings

    @property
    def sentence(self) -> str:
        """The result of the fit, or why the points do not determine it."""
        if not self.determined:
            reasons = " ".join(finding.text for finding in self.findings)
            return f"The points do not determine a power law. {reasons}"
        (floor, ceiling), (low, high) = self.intervals["irreducible"], self.intervals["exponent"]
        return (
            f"As the {self.name} grows, the loss falls towards {in_both_units(self.irreducible)} "
            f"a sample (95% interval {bits(floor):.3f} to {bits(ceiling):.3f} bits) with exponent "
            f"{self.exponent:.3f} ({low:.3f} to {high:.3f})."
        )

    def at(self, x: ArrayLike) -> Floats:
        """Return the curve at x, in nats."""
        return self.fitted.at(_column(x))

    def band(self, x: ArrayLike) -> tuple[Floats, Floats] | None:
        """Return the 95% limits of the curve at x (nats); None without redraws."""
        if not len(self.fitted.redraws):
            return None
        curves = self.fitted.curves(_column(x), self.fitted.redraws)
        low, high = np.percentile(curves, PERCENTILES, axis=0)
        return low, high


def fit_power_law(
    x: ArrayLike,
    nats: ArrayLike,
    *,
    name: str = "x",
    noise: float | None = None,
    num_redraws: int = 200,
) -> PowerLaw:
    """Fit a power law to positive x and losses in nats a sample, both of shape (points,).

    Points of one x are redrawn together. ``noise`` is the standard deviation of one point (nats),
    by default that of the replicates or else of the residuals. FitError if there are fewer than
    three different x, or values not positive and finite.
    """
    x, nats = checked_points(x, nats)
    form = Additive((name,))
    if len(set(x)) < form.least_values:
        raise FitError(
            f"{len(set(x))} different values of the {name} cannot carry a power law: at least "
            f"{form.least_values} are needed to draw one, and more to trust it."
        )
    points = Points.of({name: x}, nats)
    fitted = fit(points, form, Objective(), num_redraws=num_redraws)
    irreducible, reducible, exponent = fitted.parameters.tolist()
    names = ("irreducible", "reducible", "exponent")
    drawn = {k: percentile_interval(v) for k, v in zip(names, fitted.redraws.T, strict=True)}
    noise = row_noise(fitted) if noise is None else noise
    findings = (
        *data_diagnostics(points, form),
        *fit_diagnostics(fitted, uncertainty(fitted), noise, in_both_units),
    )
    return PowerLaw(
        name=name,
        irreducible=irreducible,
        reducible=reducible,
        exponent=exponent,
        centre=float(points.centres[0]),
        intervals={key: interval for key, interval in drawn.items() if interval},
        findings=findings,
        fitted=fitted,
    )


def _column(x: ArrayLike) -> Floats:
    return np.asarray(x, float).reshape(-1, 1)
