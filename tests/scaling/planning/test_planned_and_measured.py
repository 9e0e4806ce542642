"""Planned and measured quantities of a run."""

import json

import pytest

from model import accounting
from scaling.planning import planned_and_measured
from scaling.planning.memory_plan import memory
from scaling.runs.record import Operations, RunRecord
from tests.helpers.clone import CLONE
from tests.helpers.records import run as record_of
from tests.helpers.runs import small_run

CPU = CLONE / "configs/hardware/cpu.yaml"


@pytest.fixture
def run(embedded_corpus, tmp_path):
    return small_run(embedded_corpus, tmp_path, cluster__workers=2)


def record(run, **throughput):
    """Return a record in which torch counted one percent more operations than the formula."""
    blank = record_of({"seed": 0}, 3.0)
    per_target, naive = accounting.training_operations_per_target(
        run.model, run.targets, run.positions
    )
    seen = {"idle_memory_bytes": 700 * 2**20, **throughput}
    return blank.model_copy(
        update={
            "config": run.resolved(),
            "operations": Operations(
                per_target=per_target,
                total=per_target * 96,
                naive_per_target=naive,
                counted_per_target=1.01 * per_target,
            ),
            "throughput": blank.throughput.model_copy(update=seen),
        }
    )


def test_operations_and_memory_are_compared_without_any_hardware(run):
    operations, taken = planned_and_measured.planned_and_measured(record(run))
    assert operations.ratio == pytest.approx(1.01)
    assert taken.planned == memory(run).peak
    assert taken.measured == 200 * 2**20


def on(record, hardware):
    """Return the record with this file as its hardware."""
    cluster = {**record.config["cluster"], "hardware": str(hardware)}
    return record.model_copy(update={"config": {**record.config, "cluster": cluster}})


def test_time_and_hours_are_compared_if_the_hardware_is_known(run):
    *_, seconds, hours = planned_and_measured.planned_and_measured(on(record(run), CPU))
    assert (seconds.quantity, seconds.measured) == ("seconds", 0.22)
    assert hours.measured == pytest.approx(2 * 41 / 3_600)
    assert 0 < seconds.planned < hours.planned * 3_600
    assert len(planned_and_measured.planned_and_measured(on(record(run), "gone.yaml"))) == 2


def test_older_records_are_read_and_compared_as_far_as_they_go(run, tmp_path):
    path = record(run).write(tmp_path)
    content = json.loads(path.read_text())
    del content["operations"]["counted_per_target"], content["throughput"]["idle_memory_bytes"]
    content["record_version"] = 5
    path.write_text(json.dumps(content))
    older = RunRecord.read(path)
    assert older.record_version == 5
    found = planned_and_measured.planned_and_measured(older)
    assert [one.measured for one in found] == [None, None]
    assert [one.ratio for one in found] == [None, None]


def test_a_configuration_of_another_version_has_no_rows(run):
    other = record(run).model_copy(update={"config": {"study": "x"}})
    assert planned_and_measured.planned_content([other]) == {"quantities": [], "runs": []}


def test_a_report_has_how_far_the_runs_were_from_their_plan_and_which_was_the_farthest(run):
    third = record(run).model_copy(
        update={
            "id": "third",
            "throughput": record(run).throughput.model_copy(update={"step_seconds": 0.66}),
        }
    )
    found = planned_and_measured.planned_content(
        [on(record(run), CPU), on(third, CPU), record(run)]
    )
    assert json.loads(json.dumps(found)) == found
    spread = {one["quantity"]: one for one in found["quantities"]}
    assert [one["runs"] for one in spread.values()] == [3, 3, 2, 2]
    assert spread["seconds"]["highest"]["run"] == "third"
    ratio = spread["seconds"]["highest"]["ratio"]
    assert ratio == pytest.approx(3 * spread["seconds"]["lowest"]["ratio"])
    assert spread["seconds"]["median"] == pytest.approx(2 / 3 * ratio)
    assert len(found["runs"]) == 10
