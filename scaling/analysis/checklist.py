"""Checklist of the known ways in which scaling studies mislead: each check passes or warns."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from scaling.analysis.provenance import count_noun
from scaling.analysis.series import RATE, varied
from scaling.analysis.study_law import unreadable
from scaling.fitting.table_fit import TableFit
from scaling.runs.record import RunRecord, bits, in_both_units

Verdict = Literal["pass", "warn"]
STRICT = 0.2  # largest validation error, as a share of the scatter between seeds
REPEATED = 4.0  # passes over the data beyond which repetition bends the law
FAR_OFF = 4.0  # times the noise of one run
INSIDE = 0.8  # of the held-out runs
NO_LAW = "There is none, only the curves of single axes."


@dataclass(frozen=True)
class Check:
    """A way to mislead, with the verdict and the observation."""

    name: str
    verdict: Verdict
    text: str


def checklist(
    records: Sequence[RunRecord], law: TableFit | None, noise: float | None, lost: int
) -> list[Check]:
    """Run all checks; ``noise`` is that between seeds (nats), ``lost`` counts unfinished runs."""
    return [
        *_check_runs(records, lost),
        *_check_scores(records, noise),
        *(_check_law(law) if law else [_check("A law of the whole study", False, NO_LAW)]),
    ]


def _check(name: str, good: bool, text: str) -> Check:
    return Check(name, "pass" if good else "warn", text)


def _check_runs(records: Sequence[RunRecord], lost: int) -> list[Check]:
    sizes = sorted({run.targets.per_step for run in records})
    passes = max(run.targets.passes for run in records)
    tuned = RATE in varied(records)
    warned = [run.id for run in records if run.warnings]
    others = f"; {count_noun(lost, 'other')} did not finish and are listed below T4" if lost else ""
    return [
        _check(
            "Every run is accounted for",
            not lost,
            f"{count_noun(len(records), 'finished run')}{others}. All finished runs are used: no "
            "best run was selected.",
        ),
        _check(
            "Runs ended without warnings",
            not warned,
            f"Runs with warnings: {', '.join(warned)}." if warned else "No run has a warning.",
        ),
        _check(
            "All runs have the same targets per step",
            len(sizes) == 1,
            f"{', '.join(f'{size:,}' for size in sizes)} targets per optimizer step.",
        ),
        _check(
            "Data is repeated little or not at all",
            passes <= REPEATED,
            f"Targets were seen up to {passes:.3g} times on average; beyond {REPEATED:g} passes, "
            "repetition bends the law.",
        ),
        _check(
            "Learning-rate schedules match the lengths of the runs",
            True,
            "Each schedule ends with its own run, and the final losses are compared.",
        ),
        _check(
            "The learning rate is tuned at each size",
            tuned,
            "It was varied."
            if tuned
            else "All sizes share one learning rate, so large models may miss their best loss.",
        ),
    ]


def _check_scores(records: Sequence[RunRecord], noise: float | None) -> list[Check]:
    error = sorted(run.validation.standard_error for run in records)[len(records) // 2]
    seeds = "No configuration was run twice, so the scatter between seeds is unknown."
    fine = "Its limit, a fifth of the scatter between seeds, is unknown."
    if noise is not None:
        seeds = f"Seeds scatter by {in_both_units(noise)}."
        fine = (
            f"Its standard error, {in_both_units(error)}, should stay below a "
            f"fifth of the scatter between seeds, {bits(noise):.4f} bits. All runs share their "
            "targets, so differences between runs have smaller errors."
        )
    return [
        _check(
            "One unit and one list of targets",
            True,
            f"{records[0].validation.targets:,} targets of the {records[0].validation.split} "
            "split, the same for every run. Records with other targets or units are refused.",
        ),
        _check("A configuration was run with several seeds", noise is not None, seeds),
        _check(
            "The validation has enough targets", noise is not None and error <= STRICT * noise, fine
        ),
        _check(
            "Operations are exact, not 6 N D",
            True,
            "By the formula of the model, forward and backward, with attention and convolutions.",
        ),
        _check(
            "The number of parameters is defined",
            True,
            "All trained parameters count, with the chunk encoder; there is no embedding table.",
        ),
    ]


def _check_law(law: TableFit) -> list[Check]:
    made, content, request, held = law.fit, law.content(), law.request, law.held_out
    goodness, starts = content["goodness"], content["starts"]
    worst = max(abs(made.predicted - made.points.loss))
    bad = unreadable(law.warnings)
    inside = held.inside if held else None
    return [
        _check(
            "The form is given, and E is a free parameter",
            request.irreducible,
            f"{made.form.formula}; {count_noun(made.form.num_free, 'parameter')} for "
            f"{count_noun(made.points.num_configurations, 'configuration')}.",
        ),
        _check(
            "The fit converged",
            made.converged,
            f"{request.objective} on the {request.space} loss, delta {request.delta:g}, summed; "
            f"{starts['agreeing']} of {starts['number']} starts reached the optimum.",
        ),
        _check(
            "The points determine the law",
            not bad,
            " ".join(diagnostic.text for diagnostic in bad)
            or "No diagnostic forbids the use of the law.",
        ),
        _check(
            "Intervals come from redrawn configurations",
            law.uncertainty.method == "bootstrap",
            f"{law.uncertainty.method or 'none'}: {len(made.redraws)} redraws of configurations, "
            f"seed {request.seed}. T1 also has Wald intervals with Student t.",
        ),
        _check(
            "Residuals are within the noise",
            worst <= FAR_OFF * goodness["noise"],
            f"Root mean square of the log residuals {goodness['rmse_log']:.5f}, largest relative "
            f"error {goodness['max_abs_relative_error']:.3%}; the noise of one run is "
            f"{in_both_units(goodness['noise'])}.",
        ),
        _check(
            "The most expensive runs were held out",
            held is not None and (inside or 0) >= INSIDE * len(held.seen),
            "Too few runs to hold any out."
            if held is None
            else f"{inside} of {len(held.seen)} lie inside the 95% interval of a new run.",
        ),
    ]
