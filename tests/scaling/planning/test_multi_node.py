"""Plans on numbers of nodes: steps, checkpoints, failures and notes."""

import json
from dataclasses import asdict

import pytest

from model import accounting
from scaling.config import check, load
from scaling.planning import data_throughput, multi_node, plan
from scaling.planning.calibration import Calibration
from scaling.planning.data_throughput import MeasuredError, StreamMeasurement
from scaling.planning.footprint import checkpoint, volume
from scaling.planning.multi_node import REGIMES
from tests.helpers.clone import CLONE
from tests.helpers.hardware import HARDWARE, MEASURED
from tests.helpers.runs import small_run

SCALE = {"100m": 1e8, "1b": 1e9, "10b": 1e10}
BIG = HARDWARE.model_copy(
    update={
        "accelerator_bytes": 10**12,
        "link_bytes_per_second": 4e9,
        "ring_bytes_per_second": 1e9,
        "storage_bytes_per_second": 2e6,
    }
)
CALIBRATION = Calibration("P", {stage: 1e6 for stage in range(4)}, 1e5, 7.0, {"last": (0.6, 0.8)})


@pytest.fixture
def run(embedded_corpus, tmp_path):
    return small_run(embedded_corpus, tmp_path, train__batch=8)


def rows(run, corpus, numbers, hardware=BIG, measured=MEASURED):
    return multi_node.plan_on_nodes(run, corpus, hardware, measured, CALIBRATION, numbers)


@pytest.mark.parametrize(("name", "parameters"), SCALE.items())
def test_the_configurations_have_the_parameters_of_their_names(name, parameters):
    run = load.run(CLONE / f"configs/runs/scale/{name}.yaml")
    assert check.problems(run, None) == []
    assert sum(accounting.parameters(run.model).values()) == pytest.approx(parameters, rel=0.05)


def test_a_step_is_computation_plus_exposed_communication(run, embedded_corpus):
    one, two = rows(run, embedded_corpus, [1, 2])
    parameters = sum(accounting.parameters(run.model).values())
    per_target, _ = accounting.training_operations_per_target(run.model, run.targets, run.positions)
    for row, bandwidth in ((one, 4e9), (two, 1e9)):
        step = row.step
        assert row.workers == 4 * row.nodes
        assert step.compute == pytest.approx(per_target * 3 * 8 / row.workers / (1e12 * 0.25))
        sent = volume(0, parameters).sent(row.workers)
        assert step.communication == step.exposed == pytest.approx(sent / bandwidth)
        assert step.seconds == step.compute + step.exposed + step.waiting
        assert step.targets_per_second == pytest.approx(8 * 3 / step.seconds)
    assert one.step.efficiency == 1
    assert two.step.efficiency == pytest.approx(one.step.seconds / two.step.seconds / 2)


def test_the_batch_stays_or_grows_with_the_nodes(run, embedded_corpus):
    one, two, three, four = rows(run, embedded_corpus, [1, 2, 3, 4])
    assert [row.step and row.step.batch for row in (one, two, three, four)] == [8, 8, None, None]
    assert [row.grown.batch for row in (one, two, three, four)] == [8, 16, 24, 32]
    assert one.grown.compute == pytest.approx(four.grown.compute)
    notes = multi_node.node_notes(run, BIG, [one, two, three, four])
    assert any("of 3, 4 nodes: write train.batch=16" in note for note in notes)


def test_efficiency_is_against_the_fewest_nodes_that_the_batch_divides_among(run, embedded_corpus):
    forty = run.model_copy(update={"train": run.train.model_copy(update={"batch": 40})})
    three, five, ten = rows(forty, embedded_corpus, [3, 5, 10])
    assert three.step is None and five.step.efficiency == 1
    rates = [row.step.targets_per_second / row.nodes for row in (five, ten)]
    assert ten.step.efficiency == pytest.approx(rates[1] / rates[0])


def test_stage_3_hides_its_communication_as_far_as_there_is_computation(run, embedded_corpus):
    sharded = run.model_copy(update={"train": run.train.model_copy(update={"zero": 3})})
    (row,) = rows(sharded, embedded_corpus, [2])
    assert 0 < row.step.exposed == row.step.communication - row.step.compute
    fast = BIG.model_copy(update={"ring_bytes_per_second": 1e15, "link_bytes_per_second": 1e15})
    (row,) = rows(sharded, embedded_corpus, [2], fast)
    assert row.step.exposed == 0 < row.step.communication


def test_a_step_waits_for_the_missing_data(run, embedded_corpus):
    slow = StreamMeasurement("P", {"mapped": {1_000: 1.0}, "carried": {1_000: 1.0}})
    (row,) = rows(run, embedded_corpus, [1], measured=slow)
    # A window is five times as long as the measured one, which takes a second.
    assert row.step.seconds == pytest.approx(8 / 4 * 5.001)
    (row,) = rows(run, embedded_corpus, [1])
    assert row.step.waiting == 0


def test_a_corpus_of_unknown_size_is_read_from_storage(run):
    (row,) = rows(run, None, [1])
    assert row.step.seconds == pytest.approx(8 * 5_001 / 2e6)
    found = data_throughput.forecast(run, None, BIG, MEASURED)
    assert found.bound == "storage"
    assert "storage delivers" in found.sentence


def test_checkpoints_are_written_sent_and_read_at_the_rates_given(run, embedded_corpus):
    (row,) = rows(run, embedded_corpus, [2])
    parameters = sum(accounting.parameters(run.model).values())
    kept = checkpoint(parameters, 8)
    assert row.checkpoint == kept
    assert [outlook.name for outlook in row.outlooks] == [regime.name for regime in REGIMES]
    for outlook, regime in zip(row.outlooks, REGIMES, strict=True):
        assert outlook.hours == pytest.approx(1 / regime.per_second(2, 8) / 3_600)
        blocking, other = outlook.blocking.saving, outlook.asynchronous.saving
        assert blocking.blocked == pytest.approx(kept.part / 1e6 + 4 * kept.part / 2e6)
        assert (other.blocked, other.behind) == pytest.approx(
            (kept.part / 1e6, 4 * kept.part / 2e6)
        )
        assert other.recovery == pytest.approx(7 + 4 * kept.whole / 2e6 + kept.whole / 1e5)


def test_a_run_that_does_not_fit_is_reported_with_the_stage_that_does():
    run = load.run(CLONE / "configs/runs/scale/10b.yaml", ["train.zero=0"])
    hardware = load.hardware(CLONE / "configs/hardware/a100.yaml")
    found = rows(run, None, [1], hardware)
    assert [stage.fits for stage in found[0].stages] == [False, False, False, True]
    (note,) = multi_node.node_notes(run, hardware, found)
    assert "on 1 nodes: write train.zero=3" in note
    tiny = hardware.model_copy(update={"accelerator_bytes": 1})
    (note,) = multi_node.node_notes(run, tiny, rows(run, None, [1], tiny))
    assert "no ZeRO stage fits" in note


def test_float32_on_hardware_described_in_bfloat16_is_noted(run, embedded_corpus):
    found = rows(run, embedded_corpus, [1])
    assert any("train.precision=float32" in note for note in multi_node.node_notes(run, BIG, found))


@pytest.mark.parametrize("text", ["", "0", "1,x", "2.5", "1,,2", "-4"])
def test_invalid_numbers_of_nodes_are_refused(text):
    with pytest.raises(load.ConfigError, match="write numbers of 1 or more with commas"):
        multi_node.parse_node_counts(text)


def test_numbers_of_nodes_are_taken_once_each_in_order():
    assert multi_node.parse_node_counts("8,1,64,8") == [1, 8, 64]


def test_hardware_without_the_needed_figures_is_refused(run, embedded_corpus):
    with pytest.raises(
        load.ConfigError, match=r"has no accelerator_bytes, .*configs/hardware/a100"
    ):
        rows(run, embedded_corpus, [1], HARDWARE)


def test_a_plan_carries_the_nodes_of_each_run(run, embedded_corpus):
    planned = plan.make_plan([({}, run)], BIG, MEASURED, CALIBRATION, [1, 3])
    content = json.loads(json.dumps(asdict(planned)))
    assert [row["nodes"] for row in content["runs"][0]["nodes"]] == [1, 3]
    assert any("does not divide" in note for note in planned.notes)
    assert plan.make_plan([({}, run)], BIG, MEASURED).runs[0].nodes == []


def test_the_shipped_records_calibrate():
    found = Calibration.read()
    assert sorted(found.save_rates) == [0, 1, 2, 3]
    assert min(found.save_rates.values()) > 0
    assert found.read_rate > 0
    assert found.start_seconds > 0
    lowest, highest = found.shares["last"]
    assert 0 < lowest <= highest < 1
    assert "were" not in found.share_sentence("last")
    assert "no step in the mode sequence" in found.share_sentence("sequence")


@pytest.mark.parametrize("content", [None, "", "{}", '{"restart": 1}'])
def test_a_file_that_is_no_record_is_refused_with_the_command_to_type(tmp_path, content):
    path = tmp_path / "record.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(MeasuredError, match=r"run `python -m scaling bench workers --json`"):
        Calibration.read(path)
