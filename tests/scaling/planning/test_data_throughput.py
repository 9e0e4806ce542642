"""Forecasts of the data stream: demand, measured supply and the verdict."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from datasets.storage import Folder
from model import accounting
from scaling.config import load
from scaling.planning import data_throughput, plan
from scaling.planning.data_throughput import MeasuredError, StreamMeasurement, forecast
from tests.helpers.clone import CLONE
from tests.helpers.hardware import HARDWARE, MEASURED
from tests.helpers.runs import small_run

SHIPPED = sorted((CLONE / "configs/hardware").glob("*.yaml"))


@pytest.fixture
def run(embedded_corpus, tmp_path):
    return small_run(embedded_corpus, tmp_path, cluster__workers=6, train__batch=6)


def test_a_forecast_is_the_operations_of_a_window_against_the_rate_of_a_consumer(
    run, embedded_corpus
):
    found = forecast(run, embedded_corpus, HARDWARE, MEASURED)
    size = 4_000 + 2 * 500 + 1
    per_target, _ = accounting.training_operations_per_target(run.model, run.targets, run.positions)
    each = 1e12 * 0.25 / (per_target * 3)
    taken = found.expected
    assert taken.windows_per_second == pytest.approx(6 * each)
    assert taken.bytes_per_second == pytest.approx(6 * each * size)
    assert found.nodes == 2
    assert taken.node_bytes_per_second == pytest.approx(4 * each * size)
    given = 1 / (1e-5 + 4e-5 * (size - 1_000) / 8_000)
    assert found.delivered_windows_per_second == pytest.approx(6 * given)
    assert taken.times == pytest.approx(given / each)
    assert found.most.times == pytest.approx(given / each * 0.25)
    assert found.bound == "consumers"


@pytest.mark.parametrize(("size", "seconds"), [(10, 1e-5), (1_000, 1e-5), (5_000, 3e-5)])
def test_between_two_measured_windows_seconds_are_interpolated(size, seconds):
    assert MEASURED.windows_per_second("mapped", size) == pytest.approx(1 / seconds)


def test_a_window_beyond_the_longest_takes_as_much_longer_as_it_is():
    assert MEASURED.windows_per_second("mapped", 27_000) == pytest.approx(1 / 15e-5)


def test_a_corpus_in_a_bucket_is_forecast_by_the_rate_of_rows_that_carry_codes(
    run, embedded_corpus
):
    bucket = run.model_copy(update={"corpus": "s3://bucket/corpus"})
    found = forecast(bucket, embedded_corpus, HARDWARE, MEASURED)
    assert found.way == "carried"
    assert found.delivered_windows_per_second == pytest.approx(6 / (1e-3 * 5_001 / 1_000))


def test_the_verdict_names_the_bottleneck(run, embedded_corpus):
    def verdict(**changes):
        hardware = HARDWARE.model_copy(update=changes)
        found = forecast(run, embedded_corpus, hardware, MEASURED)
        return found, found.sentence

    found, sentence = verdict()
    assert sentence.startswith(f"the stream delivers {found.expected.times:,.1f} times what the")
    found, sentence = verdict(operations_per_second=1e18)
    assert found.expected.times < 1
    assert sentence.startswith("the run would wait: 6 x X at 25% of the peak take")
    assert "a consumer got" in sentence
    found, sentence = verdict(network_bits_per_second=8e3)
    assert found.bound == "network"
    # Two nodes: the busiest has four of the six workers.
    assert found.delivered_windows_per_second == pytest.approx(1e3 / 5_001 * 6 / 4)
    assert "the nodes' network carries 0 a second to each worker" in sentence
    assert verdict(network_bits_per_second=None)[0].bound == "consumers"


def test_the_forecast_states_if_an_epoch_fits_a_nodes_memory(run, embedded_corpus):
    (recording,) = embedded_corpus.recordings

    def found(corpus, memory):
        hardware = HARDWARE.model_copy(update={"memory_bytes": memory})
        return forecast(run, corpus, hardware, MEASURED)

    fits = found(embedded_corpus, recording.samples)
    assert fits.epoch_bytes == recording.samples and fits.in_memory
    assert "fit the" in fits.sentence and "reads storage once" in fits.sentence
    larger = found(embedded_corpus, recording.samples - 1)
    assert larger.in_memory is False
    assert "do not fit" in larger.sentence and "storage is read at up to" in larger.sentence
    unknown = found(None, 1)
    assert unknown.epoch_bytes is None and unknown.in_memory is None
    assert "unknown until the corpus is prepared" in unknown.sentence


def test_codes_of_16_bits_are_two_bytes_each(run, embedded_corpus):
    wide = replace(embedded_corpus, levels=65_536)
    assert data_throughput.window_bytes(run, wide) == 2 * data_throughput.window_bytes(
        run, embedded_corpus
    )
    one, other = (forecast(run, corpus, HARDWARE, MEASURED) for corpus in (embedded_corpus, wide))
    assert other.epoch_bytes == 2 * one.epoch_bytes
    assert other.expected.bytes_per_second == pytest.approx(2 * one.expected.bytes_per_second)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_hardware_is_read(path):
    assert load.hardware(path).operations_per_second > 0


def test_the_shipped_record_has_the_rates_of_both_kinds_of_rows():
    measured = StreamMeasurement.read(data_throughput.STREAM_RECORD)
    for way in ("mapped", "carried"):
        assert measured.windows_per_second(way, 128_000) > 0


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"hardware": {"processor": "P"}, "deliveries": []}', '{"deliveries": [1]}'],
)
def test_a_file_that_is_no_record_is_refused_with_the_command_to_type(tmp_path, content):
    path = tmp_path / "record.json"
    with pytest.raises(MeasuredError, match=r"cannot be read .*bench data --json"):
        StreamMeasurement.read(path)
    path.write_text(content)
    with pytest.raises(MeasuredError, match=r"is no record of the stream's rates .*bench data"):
        StreamMeasurement.read(path)


def test_a_plan_has_its_forecasts_and_names_the_run_with_the_least_supply(
    embedded_corpus, tmp_path
):
    runs = [
        ({}, small_run(embedded_corpus, tmp_path)),
        ({}, small_run(embedded_corpus, tmp_path, model__context=2_000)),
    ]
    assert [planned.forecast for planned in plan.make_plan(runs).runs] == [None, None]
    assert plan.make_plan(runs).verdicts == []
    planned = plan.make_plan(runs, HARDWARE, MEASURED)
    content = json.loads(json.dumps(asdict(planned)))
    times = [entry["forecast"]["expected"]["times"] for entry in content["runs"]]
    least = planned.runs[times.index(min(times))]
    assert planned.verdicts == [f"run {least.id}: {least.forecast.sentence}"]
    fast = HARDWARE.model_copy(update={"operations_per_second": 1e18})
    waiting = plan.make_plan(runs, fast, MEASURED).verdicts
    assert waiting[0] == "2 of 2 runs would wait"
    assert waiting[1].startswith(f"run {least.id}: the run would wait")


def test_an_unprepared_corpus_is_forecast_as_one_of_8_bits(run, embedded_corpus):
    nowhere = replace(embedded_corpus, folder=Folder.of(Path("nothing")))
    absent = run.model_copy(update={"corpus": str(nowhere.folder)})
    assert data_throughput.window_bytes(absent, None) == data_throughput.window_bytes(
        run, embedded_corpus
    )
