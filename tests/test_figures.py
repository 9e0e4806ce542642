"""Figures from records: which axis is drawn, what shares a curve, and what a reader can see."""

import numpy as np
import pytest

from scaling import figures, figures_learning
from scaling.record import bits
from scaling.series import CONTEXT, curve_axes, curves
from tests.records import HISTOGRAM, falling, run, study


@pytest.fixture(scope="module")
def series():
    return curves(study(), CONTEXT)


def markers(panel):
    return [trace for trace in panel.figure.data if trace.mode == "markers"]


def test_a_panel_for_each_depth_and_a_colour_for_each_chunk(series):
    panels = figures.loss_panels(series)
    assert [panel.title for panel in panels] == ["layers 1", "layers 2"]
    colours = [{trace.name: trace.marker.color for trace in markers(panel)} for panel in panels]
    assert colours[0] == colours[1]
    assert len(set(colours[0].values())) == 2
    ranges = {tuple(panel.figure.layout.yaxis.range) for panel in panels}
    assert len(ranges) == 1


def test_points_are_bits_and_the_hover_gives_both_units(series):
    point = markers(figures.loss_panels(series)[1])[0]
    nats = series[1].nats[0]
    assert point.y[0] == pytest.approx(bits(nats))
    assert point.customdata[0][0] == pytest.approx(nats)
    assert "bits" in point.hovertemplate and "nats" in point.hovertemplate


def test_replicates_are_one_point_with_their_spread(series):
    point = markers(figures.loss_panels(series)[0])[0]
    assert len(point.x) == 4
    assert point.error_y.array[0] != pytest.approx(point.error_y.array[1])


def test_undetermined_curves_are_straight_lines_and_determined_ones_power_laws():
    straight = figures.loss_panels(curves(study(), CONTEXT))[0]
    assert "straight line" in straight.caption
    contexts = [8_000 * 2**power for power in range(8)]
    law = figures.loss_panels(curves(study(falling, contexts, 0.001), CONTEXT))[0]
    assert "power law with 95% band" in law.caption
    assert any(trace.fill == "toself" for trace in law.figure.data)


def test_a_reference_off_the_axis_is_said_instead_of_drawn(series):
    panel = figures.loss_panels(series)[0]
    assert f"{bits(HISTOGRAM):.3f} bits ({HISTOGRAM:.3f} nats), is above the axis" in panel.caption
    assert panel.figure.layout.yaxis.range[1] < bits(HISTOGRAM)


def test_another_axis_than_context_is_drawn_when_it_was_swept():
    records = [
        run({"model.width": width, "model.layers": layers}, 3.3 - width / 1000)
        for width in (32, 64, 128)
        for layers in (1, 2)
    ]
    assert curve_axes(records) == ["model.width"]
    panels = figures.loss_panels(curves(records, "model.width"))
    assert panels[0].figure.layout.xaxis.title.text == "width"


def test_shape_axes_are_drawn_when_nothing_else_was_swept():
    records = [run({"model.layers": layers}, 3.3) for layers in (1, 2, 4)]
    assert curve_axes(records) == ["model.layers"]
    assert figures.loss_panels(curves(records, "model.layers"))[0].title == "all depths"


def test_learning_curves_show_validation_and_training_of_every_run(series):
    panels = figures_learning.learning_panels(series)
    assert sum(len(panel.figure.data) for panel in panels) == 2 * len(study())
    trace = panels[0].figure.data[1]
    assert trace.x[-1] == series[0].records[0].targets.seen
    assert "validation" in trace.customdata[0][1]


def test_training_curves_are_means_over_stretches_of_the_run(series):
    trace = figures_learning.learning_panels(series)[0].figure.data[0]
    curve = series[0].records[0].training_curve
    assert "training" in trace.customdata[0][1]
    assert len(trace.y) == figures_learning.STRETCHES
    sizes = [len(part) for part in np.array_split(curve, figures_learning.STRETCHES)]
    nats = [value for value, _ in trace.customdata]
    assert np.average(nats, weights=sizes) == pytest.approx(np.mean([p.nats for p in curve]))
