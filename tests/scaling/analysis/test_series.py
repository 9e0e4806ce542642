"""Series of records: the grouping into curves, and the choice of the axis."""

from scaling.analysis.series import CONTEXT, curve_axes, curves, varied
from tests.helpers.records import run, study


def test_a_curve_for_each_chunk_and_depth():
    assert [(one.panel, one.label) for one in curves(study(), CONTEXT)] == [
        ("layers 1", "chunk 2,000"),
        ("layers 2", "chunk 2,000"),
        ("layers 1", "chunk 4,000"),
        ("layers 2", "chunk 4,000"),
    ]
    assert [len(one.records) for one in curves(study(), CONTEXT)] == [6, 4, 4, 4]


def test_seeds_alone_are_not_an_axis():
    assert curve_axes([run({"seed": seed}, 3.3) for seed in (0, 1)]) == []


def test_axes_are_the_settings_with_several_values_except_the_seed():
    assert sorted(varied(study())) == ["model.chunk", "model.context", "model.layers"]


def test_runs_trained_one_by_one_are_no_seeds_of_each_other():
    one = run({}, 3.3)
    model = {**one.config["model"], "layers": one.config["model"]["layers"] + 1}
    other = run({}, 3.2, config={**one.config, "model": model})
    assert varied([one, other]) == ["model.layers"]
    assert varied([one, run({"seed": 1}, 3.2)]) == []
