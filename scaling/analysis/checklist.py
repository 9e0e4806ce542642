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


@dataclass(frozen=True)
class Check:
    """One way to mislead, with the verdict and the observation."""

    name: str
    verdict: Verdict
    text: str


def checklist(
    records: Sequence[RunRecord], law: TableFit | None, noise: float | None, lost: int
) -> list[Check]:
    """Run all checks: of the runs, of their scores and of the fit.

    ``noise`` is the scatter between seeds (nats), ``lost`` the number of unfinished runs.
    """
    return [
        *_of_runs(records, lost),
        *_of_scores(records, noise),
        *(_of_law(law) if law else [_no_law()]),
    ]


def _check(name: str, good: bool, text: str) -> Check:
    return Check(name, "pass" if good else "warn", text)


def _of_runs(records: Sequence[RunRecord], lost: int) -> list[Check]:
    sizes = sorted({run.targets.per_step for run in records})
    passes = max(run.targets.passes for run in records)
    tuned = RATE in varied(records)
    warned = [run.id for run in records if run.warnings]
    return [
        _check(
            "Every run is accounted for",
            not lost,
            f"{count_noun(len(records), 'finished run')}"
            + (
                f"; {count_noun(lost, 'other')} did not finish and stand under the runs."
                if lost
                else "."
            )
            + " Each finished run counts: no best of several was taken.",
        ),
        _check(
            "Runs ended undisturbed",
            not warned,
            f"Warned on the way: {', '.join(warned)}." if warned else "None of them warned.",
        ),
        _check(
            "Targets an optimizer step are the same",
            len(sizes) == 1,
            f"{', '.join(f'{size:,}' for size in sizes)} targets a step.",
        ),
        _check(
            "Data is not repeated",
            passes <= REPEATED,
            f"Targets were seen up to {passes:.3g} times; beyond {REPEATED:g} repetition bends "
            "the law.",
        ),
        _check(
            "Schedules fit each run's length",
            True,
            "The learning rate falls at a share of each run's own steps; losses are final ones.",
        ),
        _check(
            "The learning rate is tuned at each size",
            tuned,
            "It was varied."
            if tuned
            else "One learning rate served all sizes: larger ones may "
            "stand above what they can reach.",
        ),
    ]


def _of_scores(records: Sequence[RunRecord], noise: float | None) -> list[Check]:
    error = sorted(run.validation.standard_error for run in records)[len(records) // 2]
    seeds = "No configuration was run twice: how far runs scatter is not known."
    fine = "The scatter between seeds, which it should be held against, is not known."
    if noise is not None:
        seeds = f"Seeds scatter by {in_both_units(noise)}."
        fine = (
            f"Its standard error, {in_both_units(error)}, should stay below a "
            f"fifth of the scatter between seeds, {bits(noise):.4f} bits. Targets are shared, so "
            "differences between runs are known better than that."
        )
    return [
        Check(
            "One unit and one list of targets",
            "pass",
            f"{records[0].validation.targets:,} targets of the {records[0].validation.split} "
            "split, the same for every run; others, and records in other units, are refused.",
        ),
        _check("Seeds were repeated", noise is not None, seeds),
        _check(
            "The validation is fine enough", noise is not None and error <= STRICT * noise, fine
        ),
        Check(
            "Operations are counted, not 6 N D",
            "pass",
            "By the model's own formula, forward and backward, with attention and convolutions.",
        ),
        Check(
            "Which parameters count is said",
            "pass",
            "All that are trained, the chunk encoder's among them; codes have no embedding table.",
        ),
    ]


def _no_law() -> Check:
    return Check(
        "A law of the whole study", "warn", "There is none; the curves of single axes stand alone."
    )


def _of_law(law: TableFit) -> list[Check]:
    made, content = law.fit, law.content()
    goodness, starts = content["goodness"], content["starts"]
    worst = max(abs(made.predicted - made.points.loss))
    bad = unreadable(law.warnings)
    held = law.held_out
    inside = held.inside if held else None
    asked = law.asked
    return [
        _check(
            "The form is stated, and E is free",
            asked.irreducible,
            f"{made.form.formula}; {count_noun(made.form.num_free, 'parameter')} for "
            f"{count_noun(made.points.num_configurations, 'configuration')}.",
        ),
        _check(
            "The fit came to rest",
            made.converged,
            f"{asked.objective} on the {asked.space} loss, delta {asked.delta:g}, plain sum; "
            f"{starts['agreeing']} of {starts['number']} starts at the optimum.",
        ),
        _check(
            "The points determine the law",
            not bad,
            " ".join(finding.text for finding in bad) or "Nothing speaks against reading it.",
        ),
        _check(
            "Intervals are those of configurations",
            law.known.method == "bootstrap",
            f"{law.known.method or 'none'}: {len(made.redraws)} redraws of configurations, seed "
            f"{asked.seed}; Wald's with Student t beside.",
        ),
        _check(
            "The fit is as near as the noise lets it",
            worst <= FAR_OFF * goodness["noise"],
            f"Root mean square of the log residuals {goodness['rmse_log']:.5f}, largest relative "
            f"error {goodness['max_abs_relative_error']:.3%}; one run scatters by "
            f"{in_both_units(goodness['noise'])}.",
        ),
        _check(
            "The most expensive runs were held out",
            held is not None and (inside or 0) >= INSIDE * len(held.seen),
            "Too few runs to hold any out."
            if held is None
            else f"{inside} of {len(held.seen)} lie inside the interval of a new run.",
        ),
    ]
