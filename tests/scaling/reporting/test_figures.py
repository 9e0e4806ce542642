"""Figures from records: axes, curves, units, symbols and outliers."""

import numpy as np
import pytest

from scaling.analysis.series import CONTEXT, curve_axes, curves
from scaling.reporting import figures_cost, figures_learning, figures_loss
from scaling.runs.record import bits
from tests.helpers.records import HISTOGRAM, falling, run, study


@pytest.fixture(scope="module")
def series():
    return curves(study(), CONTEXT)


def markers(panel):
    return [trace for trace in panel.figure.data if trace.mode == "markers"]


def test_a_panel_for_each_depth_and_a_colour_for_each_chunk(series):
    panels = figures_loss.loss_panels(series)
    assert [panel.title for panel in panels] == ["layers 1", "layers 2"]
    colours = [{trace.name: trace.marker.color for trace in markers(panel)} for panel in panels]
    assert colours[0] == colours[1]
    assert len(set(colours[0].values())) == 2
    ranges = {tuple(panel.figure.layout.yaxis.range) for panel in panels}
    assert len(ranges) == 1


def test_points_are_bits_and_the_hover_gives_both_units(series):
    point = markers(figures_loss.loss_panels(series)[1])[0]
    nats = series[1].nats[0]
    assert point.y[0] == pytest.approx(bits(nats))
    assert point.customdata[0][0] == pytest.approx(nats)
    assert "bits" in point.hovertemplate and "nats" in point.hovertemplate


def test_replicates_are_one_point_with_their_spread(series):
    point = markers(figures_loss.loss_panels(series)[0])[0]
    assert len(point.x) == 4
    assert point.error_y.array[0] != pytest.approx(point.error_y.array[1])


def test_points_of_repeated_data_are_hollow_and_explained_in_the_legend():
    runs = study()
    again = runs[0].targets.model_copy(update={"unique": runs[0].targets.seen // 2})
    repeated = [runs[0].model_copy(update={"targets": again}), *runs[1:]]
    panels = [figures_loss.loss_panels(curves(repeated, CONTEXT))[0]]
    panels += [figures_cost.compute_panel(repeated), figures_cost.time_panel(repeated)]
    for panel in panels:
        *drawn, said = markers(panel)
        assert said.name == "hollow with a dot: repeated data"
        symbols = [symbol for trace in drawn for symbol in trace.marker.symbol]
        assert sum(symbol.endswith("-open-dot") for symbol in symbols) == 1
    for panel in (
        figures_loss.loss_panels(curves(runs, CONTEXT))[0],
        figures_cost.time_panel(runs),
    ):
        assert not any("open" in symbol for one in markers(panel) for symbol in one.marker.symbol)


def test_undetermined_curves_are_straight_lines_and_determined_ones_power_laws():
    straight = figures_loss.loss_panels(curves(study(), CONTEXT))[0]
    assert "straight line" in straight.caption
    contexts = [8_000 * 2**power for power in range(8)]
    law = figures_loss.loss_panels(curves(study(falling, contexts, 0.001), CONTEXT))[0]
    assert "power law with 95% band" in law.caption
    assert any(trace.fill == "toself" for trace in law.figure.data)


def test_a_reference_off_the_axis_is_in_the_caption(series):
    panel = figures_loss.loss_panels(series)[0]
    assert f"{bits(HISTOGRAM):.3f} bits ({HISTOGRAM:.3f} nats), is above the axis" in panel.caption
    assert panel.figure.layout.yaxis.range[1] < bits(HISTOGRAM)


def test_another_axis_than_context_is_drawn_when_it_was_swept():
    records = [
        run({"model.width": width, "model.layers": layers}, 3.3 - width / 1000)
        for width in (32, 64, 128)
        for layers in (1, 2)
    ]
    assert curve_axes(records) == ["model.width"]
    panels = figures_loss.loss_panels(curves(records, "model.width"))
    assert panels[0].figure.layout.xaxis.title.text == "width"


def test_shape_axes_are_drawn_when_nothing_else_was_swept():
    records = [run({"model.layers": layers}, 3.3) for layers in (1, 2, 4)]
    assert curve_axes(records) == ["model.layers"]
    assert figures_loss.loss_panels(curves(records, "model.layers"))[0].title == "all depths"


def test_learning_curves_show_validation_and_training_of_every_run(series):
    panels = figures_learning.learning_panels(series)
    traces = [trace for panel in panels for trace in panel.figure.data]
    assert len(traces) == 2 * len(series)
    runs = [part for trace in traces for part in parts(trace)]
    assert len(runs) == 2 * len(study())
    assert runs[-1][-1][0] == series[-1].records[-1].targets.seen
    assert "validation" in runs[-1][-1][2][1]


def test_training_curves_are_means_over_stretches_of_the_run(series):
    trace = figures_learning.learning_panels(series)[0].figure.data[0]
    curve = series[0].records[0].training_curve
    first = parts(trace)[0]
    assert "training" in first[0][2][1]
    assert len(first) == figures_learning.STRETCHES
    sizes = [len(part) for part in np.array_split(curve, figures_learning.STRETCHES)]
    nats = [says[0] for _, _, says in first]
    assert np.average(nats, weights=sizes) == pytest.approx(np.mean([p.nats for p in curve]))


def parts(trace):
    """Split a trace at its gaps into runs of points (x, y, hover text)."""
    found = [[]]
    for x, y, says in zip(trace.x, trace.y, trace.customdata, strict=True):
        if x is None:
            found.append([])
        else:
            found[-1].append((x, y, says))
    assert not found.pop()
    return found


def test_many_runs_are_drawn_without_their_training_curves(series, monkeypatch):
    monkeypatch.setattr(figures_learning, "MOST_WITH_TRAINING", 3)
    panels = figures_learning.learning_panels(series)
    assert sum(len(panel.figure.data) for panel in panels) == len(series)


def test_a_run_that_falls_otherwise_is_named_when_all_are_collapsed():
    runs = study()
    odd = runs[3]
    stuck = [
        point.model_copy(update={"nats": odd.validation.nats + 0.5 * (i < 5)})
        for i, point in enumerate(odd.validation_curve)
    ]
    runs[3] = odd.model_copy(update={"validation_curve": stuck})
    [panel] = figures_learning.collapsed_panels(runs, 0.0)
    assert panel.caption.endswith(f"from the median: {odd.id}.")
    [panel] = figures_learning.collapsed_panels(study(), 0.0)
    assert panel.caption.endswith("No run is an outlier.")


def test_groups_of_one_run_are_no_curves_if_others_have_more():
    single = run({"model.width": 256, "model.layers": 2}, 3.1)
    swept = [run({"model.width": 64, "model.layers": layers}, 3.3) for layers in (1, 2, 4)]
    found = curves([single, *swept], "model.layers")
    assert [len(one.records) for one in found] == [3]
