"""Gain of a doubled context: known laws are recovered, unreadable laws give no gain."""

import numpy as np
import pytest

from scaling.analysis.context_or_size import longest_doublings, per_doubling
from scaling.analysis.series import CONTEXT
from scaling.fitting.slope import fit_slope
from scaling.reporting.content import report_content
from scaling.reporting.study import analyse_study
from scaling.runs.record import bits
from tests.helpers.records import falling, study

CONTEXTS = [8_000 * 2**power for power in range(8)]


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("falling")
    return analyse_study(study(falling, CONTEXTS, noise=0.001), folder, name="falling")


def test_the_last_and_the_next_doubling_of_a_known_law_lie_inside_their_intervals(found):
    last, after = longest_doublings(found.law, found.curves[CONTEXT])
    assert (last.start, last.beyond) == (512_000, 1.0)
    assert (after.start, after.beyond) == (1_024_000, 2.0)
    for one in (last, after):
        true = falling(2_000, 1, 2 * one.start) - falling(2_000, 1, one.start)
        assert one.interval[0] < true < one.interval[1]
        assert one.interval[0] < one.nats < one.interval[1] < 0 < one.standard_error


def test_the_change_is_the_difference_of_the_curve_that_is_drawn(found):
    (last, _), law = (
        longest_doublings(found.law, found.curves[CONTEXT]),
        found.curves[CONTEXT][0].law,
    )
    before, after = law.at([last.start, 2 * last.start])
    assert last.nats == pytest.approx(after - before)


def test_the_gain_at_a_point_is_the_slope_there(found):
    made = found.curves[CONTEXT][0].law.fitted
    x = 64_000.0
    (gain,) = per_doubling(made, np.array([[x]]), 0, made.parameters[None])[0]
    near = x * 2.0 ** np.linspace(-0.001, 0.001, 5)
    assert -gain == pytest.approx(fit_slope(near, made.at(near[:, None])).per_doubling, rel=1e-4)


def test_the_headline_has_both_doublings_in_bits_and_nats(found):
    content = report_content(found)
    last, after = content["doublings"]
    line = content["headlines"][1]
    assert "doubling the context from 512,000 to 1,024,000 samples changes the loss by" in line
    assert f"{last['change']['bits']:+.4f} \u00b1 {last['standard_error']['bits']:.4f} bits" in line
    assert "2,048,000 samples (2 times beyond its runs)" in line
    assert f"({after['change']['nats']:+.4f} nats; 95% interval" in line
    assert after["change"]["bits"] == pytest.approx(bits(after["change"]["nats"]))


def test_without_a_readable_law_no_doubling_is_reported(tmp_path):
    flat = analyse_study(study(), tmp_path, name="flat")
    assert flat.doublings == []
    assert "doubling the context" not in " ".join(report_content(flat)["headlines"])
