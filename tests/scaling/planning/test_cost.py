"""Cost of runs: seconds, dollars, measured rates and the cap of a sweep."""

import json
from dataclasses import asdict

import pytest

from model import accounting
from model.targets import Targets
from scaling.cli import plan_tables
from scaling.config import load
from scaling.config.load import ConfigError
from scaling.orchestration import start
from scaling.orchestration.start import cluster_for
from scaling.planning import plan
from scaling.planning.calibration import Rates
from scaling.planning.cost import cost, sent_bytes, step_parts, validation_operations
from scaling.planning.data_throughput import MeasuredError
from tests.helpers.clone import CLONE
from tests.helpers.hardware import HARDWARE, MEASURED
from tests.helpers.records import run as record_of
from tests.helpers.runs import baseline_run, small_run

PRICED = HARDWARE.model_copy(update={"dollars_per_hour": 8.0})
BENCH = CLONE / "configs/measurements/bench-cpu.json"


@pytest.fixture
def run(embedded_corpus, tmp_path):
    return small_run(embedded_corpus, tmp_path, cluster__workers=2)


def test_a_run_costs_its_steps_and_validations_at_the_price_of_its_share_of_a_node(
    run, embedded_corpus
):
    found = cost(run, embedded_corpus, PRICED, MEASURED, 5_001)
    per_target, _ = accounting.training_operations_per_target(run.model, run.targets, run.positions)
    rate = 2 * 1e12 * 0.25
    assert found.step.compute == pytest.approx(per_target * 4 * 3 / rate)
    assert found.validation_seconds == pytest.approx(validation_operations(run) / rate)
    assert found.seconds == pytest.approx(8 * found.step.seconds + found.validation_seconds)
    assert found.accelerator_hours == pytest.approx(2 * found.seconds / 3_600)
    assert found.dollars == pytest.approx(found.accelerator_hours * 8.0 / 4)
    assert found.bytes_per_second == pytest.approx(4 * 5_001 / found.step.seconds)
    assert cost(run, embedded_corpus, HARDWARE, MEASURED, 5_001).dollars is None


def test_a_run_that_its_seconds_end_costs_no_more(run, embedded_corpus):
    short = run.model_copy(update={"train": run.train.model_copy(update={"seconds": 1e-9})})
    found = cost(short, embedded_corpus, PRICED, MEASURED, 5_001)
    assert found.seconds == pytest.approx(found.validation_seconds, abs=1e-8)


def test_validation_is_scored_at_every_trained_context_at_the_end(embedded_corpus, tmp_path):
    run = small_run(
        embedded_corpus, tmp_path, model__attention="causal", windows={"targets": "chunks"}
    )

    def forward(context):
        targets = Targets("last", 1_000, context=context)
        return sum(accounting.forward_operations(run.model, targets, 4).values())

    others = sum(map(forward, (500, 1_000, 2_000)))
    assert validation_operations(run) == 5 * (2 * forward(4_000) + others)
    assert validation_operations(baseline_run(embedded_corpus, tmp_path, "wavenet")) > 0


def test_communication_is_over_the_slowest_link_and_nothing_where_none_is_stated(
    run, embedded_corpus
):
    linked = PRICED.model_copy(update={"link_bytes_per_second": 4e9, "ring_bytes_per_second": 1e9})
    within = step_parts(run, embedded_corpus, linked, MEASURED, 4, 4)
    beyond = step_parts(run, embedded_corpus, linked, MEASURED, 8, 8)
    assert within.communication == pytest.approx(sent_bytes(run, 0, 4) / 4e9)
    assert beyond.communication == pytest.approx(sent_bytes(run, 0, 8) / 1e9)
    assert step_parts(run, embedded_corpus, PRICED, MEASURED, 8, 8).communication == 0


def test_a_measured_rate_stands_for_the_stated_share():
    hardware = load.hardware(CLONE / "configs/hardware/cpu.yaml")
    rates = Rates.read(BENCH)
    record = json.loads(BENCH.read_text())
    paper = load.run(CLONE / "configs/runs/paper.yaml", ["cluster.gpu=false"])
    shares = [
        row["of_ceiling"]
        for row in record["rows"]
        if row["what"].startswith("train last, ") and row["context"] == 128_000
    ]
    reached = rates.on(paper, hardware).utilisation * hardware.operations_per_second
    share = reached / record["ceilings"]["float32"]
    assert min(shares) <= share <= max(shares)
    half = load.run(CLONE / "configs/runs/paper.yaml", ["train.precision=bfloat16"])
    assert rates.on(half, hardware).utilisation > rates.on(paper, hardware).utilisation
    wavenet = load.run(CLONE / "configs/runs/wavenet.yaml")
    assert rates.on(wavenet, hardware) == hardware


def test_a_studys_runs_are_rates_too(tmp_path, run):
    measured = record_of({"seed": 0}, 3.0)
    config = {**measured.config, "cluster": {"workers": 2}}
    folder = tmp_path / "study" / measured.id
    folder.mkdir(parents=True)
    measured.model_copy(update={"config": config}).write(folder)
    (rate,) = Rates.read(tmp_path / "study").rates
    assert rate.operations_per_second == pytest.approx(2.4e6 * 1_150 / 2)
    assert Rates.read(tmp_path / "study").on(run, HARDWARE).utilisation == pytest.approx(
        2.4e6 * 1_150 / 2 / 1e12
    )


@pytest.mark.parametrize("content", ["", "{}", '{"rows": [], "ceilings": {}}'])
def test_what_holds_no_rates_is_a_sentence_with_what_to_type(tmp_path, content):
    path = tmp_path / "bench.json"
    path.write_text(content)
    with pytest.raises(MeasuredError, match="type `python -m scaling bench --json`"):
        Rates.read(path)


def capped(run, dollars, **more):
    cluster = {"max_dollars": dollars, "hardware": CLONE / "configs/hardware/a100.yaml", **more}
    return run.model_copy(update={"cluster": run.cluster.model_copy(update=cluster)})


@pytest.mark.fault(
    "Configurations",
    "a sweep would cost more than cluster.max_dollars",
    "refused before anything starts",
)
def test_runs_that_would_cost_more_than_max_dollars_are_refused_before_anything_starts(run):
    with (
        pytest.raises(ConfigError, match=r"2 runs would cost .* and cluster.max_dollars is 1e-12"),
        cluster_for([capped(run, 1e-12), capped(run, 1e-12).model_copy(update={"seed": 1})]),
    ):
        pytest.fail("the cluster was started")
    assert start.problems([capped(run, 1e6)]) == []
    assert start.problems([run]) == []


def test_the_cap_does_not_change_a_runs_id(run):
    assert capped(run, 1.0).id == run.id


def test_runs_that_have_ended_are_paid_for(run):
    dear = capped(run, 1e-12)
    dear.folder.mkdir(parents=True)
    (dear.folder / "record.json").write_text("{}")
    assert start.problems([dear]) == []


def test_a_cap_without_a_price_is_a_problem(run):
    (said,) = start.problems([capped(run, 1.0, hardware=None)])
    assert "set cluster.hardware=configs/hardware/a100.yaml" in said
    (said,) = start.problems([capped(run, 1.0, hardware=CLONE / "configs/hardware/cpu.yaml")])
    assert "has no price" in said


def test_a_plan_adds_up_what_its_runs_cost_and_says_what_does_not_fit(run, embedded_corpus):
    other = run.model_copy(update={"seed": 1})
    small = PRICED.model_copy(update={"memory_bytes": 4_000})
    planned = plan.make_plan([({}, run), ({}, other)], small, MEASURED)
    assert planned.dollars == pytest.approx(2 * planned.runs[0].cost.dollars)
    assert planned.accelerator_hours == pytest.approx(2 * planned.runs[0].cost.accelerator_hours)
    assert sum("make the model smaller" in note for note in planned.notes) == 2
    titles = [table.title for table in plan_tables.cost_tables(planned)]
    assert [title.split()[0] for title in titles] == ["parameters", "operations", "peak", "on"]
    json.dumps(asdict(planned))
    unpriced = plan.make_plan([({}, run)])
    assert unpriced.dollars is unpriced.accelerator_hours is None
    assert len(list(plan_tables.cost_tables(unpriced))) == 3
