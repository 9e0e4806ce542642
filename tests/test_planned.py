import json

import pytest

from model import accounting
from scaling import planned
from scaling.memory_plan import memory
from scaling.record import Operations, RunRecord
from tests.conftest import CLONE
from tests.records import run as record_of
from tests.runs import small_run
from tests.test_delivery import HARDWARE


@pytest.fixture
def run(embedded_corpus, tmp_path):
    return small_run(embedded_corpus, tmp_path, cluster__workers=2)


def record(run, **throughput):
    """A record of this configuration, in which torch counted a hundredth more than the formula."""
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
    operations, taken = planned.planned_and_measured(record(run))
    assert operations.ratio == pytest.approx(1.01)
    assert taken.planned == memory(run).peak
    assert taken.measured == 200 * 2**20


def test_time_and_hours_are_compared_where_hardware_is_known(run):
    *_, seconds, hours = planned.planned_and_measured(record(run), HARDWARE)
    assert (seconds.quantity, seconds.measured) == ("seconds", 0.22)
    assert hours.measured == pytest.approx(2 * 41 / 3_600)
    assert 0 < seconds.planned < hours.planned * 3_600
    named = {"cluster": {"hardware": str(CLONE / "configs/hardware/cpu.yaml")}}
    own = record(run)
    config = {**own.config, "cluster": {**own.config["cluster"], **named["cluster"]}}
    assert len(planned.planned_and_measured(own.model_copy(update={"config": config}))) == 4
    config["cluster"]["hardware"] = "gone.yaml"
    assert len(planned.planned_and_measured(own.model_copy(update={"config": config}))) == 2


def test_older_records_are_read_and_compared_as_far_as_they_go(run, tmp_path):
    path = record(run).write(tmp_path)
    content = json.loads(path.read_text())
    del content["operations"]["counted_per_target"], content["throughput"]["idle_memory_bytes"]
    content["record_version"] = 5
    path.write_text(json.dumps(content))
    older = RunRecord.read(path)
    assert older.record_version == 5
    found = planned.planned_and_measured(older)
    assert [one.measured for one in found] == [None, None]
    assert [one.ratio for one in found] == [None, None]


def test_a_configuration_of_another_version_has_no_rows(run):
    other = record(run).model_copy(update={"config": {"study": "x"}})
    assert planned.rows([other]) == []


def test_rows_are_plain_json(run):
    found = json.loads(json.dumps(planned.rows([record(run), record(run)], HARDWARE)))
    assert len(found) == 8
    assert set(found[0]) == {"run", "quantity", "unit", "planned", "measured", "ratio", "note"}
