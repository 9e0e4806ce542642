"""The report: refused records, numbers that can be traced, and a page that opens."""

import csv
import json
import re
import subprocess
import sys

import pytest

from scaling.analysis.records import ReportError, load_records
from scaling.evaluation.scores import AttentionMass, ContextUse, Loss, ReplacedContext
from scaling.reporting.report import write_report
from tests.helpers.browser import opened
from tests.helpers.records import CORPUS, falling, run, study

NUMBER = re.compile(r"(?<![\w(.])[-+]?\d[\d,]*\.?\d*(?![\w)])")


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    return write_report(study(), tmp_path_factory.mktemp("demo"), study="demo")


def numbers_in(value):
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [number for part in value for number in numbers_in(part)]
    if isinstance(value, str):
        # The report quotes the diagnostics of the fit as sentences.
        return [float(text.replace(",", "")) for text in NUMBER.findall(value)]
    return [float(value)] if isinstance(value, int | float) else []


@pytest.mark.fault(
    "Sweeps and records", "a record is damaged", "it is named; the others are reported"
)
def test_records_are_loaded_and_broken_ones_named(tmp_path):
    for record in study()[:2]:
        folder = tmp_path / record.id
        folder.mkdir()
        record.write(folder)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "record.json").write_text('{"id": ')
    records, skipped = load_records(tmp_path)
    assert sorted(record.id for record in records) == sorted(run.id for run in study()[:2])
    assert len(skipped) == 1 and "broken" in skipped[0]
    page = write_report(records, tmp_path, study="demo", skipped=skipped).html.read_text()
    assert "is not a usable run record" in page


def test_a_folder_without_a_finished_run_is_refused(tmp_path):
    with pytest.raises(ReportError, match="has no finished run"):
        load_records(tmp_path)
    with pytest.raises(ReportError, match="no run record"):
        write_report([], tmp_path, study="demo")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.fault(
    "Sweeps and records",
    "records have different units",
    "the report is refused, and both are named",
)
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("rate", 8_000),
        ("codec", "linear"),
        ("levels", 64),
        ("scaling", "file"),
        ("chunk", 16_000),
    ],
)
def test_records_in_other_units_are_refused_naming_both(tmp_path, field, value):
    other = run({"seed": 9}, 3.3, corpus=CORPUS.model_copy(update={field: value}))
    with pytest.raises(ReportError, match=f"{field} .* and run {other.id} has {value}"):
        write_report([*study(), other], tmp_path, study="demo")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.fault(
    "Sweeps and records",
    "records have different held-out targets",
    "the report is refused, and both are named",
)
def test_records_on_other_targets_are_refused_naming_both(tmp_path):
    first, second = study()[:2]
    validation = second.validation.model_copy(update={"targets_hash": "beef"})
    other = second.model_copy(update={"validation": validation})
    with pytest.raises(ReportError, match=f"{first.id} has validation targets .* has beef"):
        write_report([first, other], tmp_path, study="demo")


def test_every_number_of_the_headlines_is_in_the_json(paths):
    content = json.loads(paths.json.read_text())
    assert content.pop("headlines") == paths.headlines
    known = [len(content.pop("runs")), len(content["fits"])]
    for fit in content["fits"]:
        del fit["points"]  # so many losses that nearly any number would be among them
    known += numbers_in(content)
    known += [32.0, 95.0, 0.0]  # AR(32), the intervals' level, and "0 of 4 groups"
    assert len(paths.headlines) == 3
    for line in paths.headlines:
        for text in NUMBER.findall(line):
            digits = len(text.partition(".")[2])
            wanted = abs(float(text.replace(",", "")))
            assert any(round(abs(number), digits) == wanted for number in known), (text, line)


def test_the_csv_has_the_records(paths):
    rows = list(csv.DictReader(paths.csv.read_text().splitlines()))
    expected = {record.id: record for record in study()}
    assert {row["id"] for row in rows} == set(expected) and len(rows) == len(expected)
    for row in rows:
        record = expected[row["id"]]
        assert float(row["nats"]) == record.validation.nats
        assert int(row["model.context"]) == record.axes["model.context"]
        assert int(row["parameters"]) == record.total_parameters


@pytest.mark.fault(
    "Sweeps and records", "losses follow no law", "the law is reported as undetermined"
)
def test_flat_losses_are_reported_as_undetermined(paths):
    assert "no effect that differs from chance" in paths.headlines[1]
    assert paths.headlines[2].startswith("No power law in context is determined (0 of 4 groups).")


def test_a_clear_law_is_reported_with_its_exponent(tmp_path):
    contexts = [8_000 * 2**power for power in range(8)]
    clear = write_report(study(falling, contexts, noise=0.001), tmp_path, study="demo")
    assert "more context predicts better" in clear.headlines[1]
    assert "determined in 4 of 4 groups" in clear.headlines[2]
    exponents = [fit["law"]["exponent"] for fit in json.loads(clear.json.read_text())["fits"]]
    assert exponents == pytest.approx([0.4] * 4, abs=0.05)


def test_as_many_runs_as_a_law_has_parameters_are_reported_without_intervals(tmp_path):
    """Three runs of one axis leave no degree of freedom to estimate the error of their law."""
    paths = write_report(study(falling)[:3], tmp_path, study="demo")
    law = json.loads(paths.json.read_text())["law"]
    assert law["fit"]["intervals"]["E"] is None and not law["readable"]
    assert "bits (" in paths.headlines[2] and "95% interval" not in paths.headlines[2]


def test_one_context_gives_the_reason_in_place_of_a_curve(tmp_path):
    page = write_report([run({"seed": seed}, 3.3) for seed in (0, 1)], tmp_path, study="demo")
    text = page.html.read_text()
    assert "Not enough runs for a curve" in text
    assert 'data-plot="loss' not in text
    assert "not enough runs" in page.headlines[1]
    assert page.headlines[2].startswith("No power law in context is determined")


def test_the_page_is_one_small_file_that_names_its_departures(paths):
    text = paths.html.read_text()
    assert len(text.encode()) < 3_000_000
    assert "this is not the paper&#39;s model" in text
    assert "reach back over the cut" in text
    assert "python -m scaling report" in text
    assert not list(paths.html.parent.glob("*.partial"))


def test_a_probe_of_a_run_is_a_row_and_a_line_of_the_report(tmp_path):
    found = [run({"seed": seed}, 3.3) for seed in (0, 1)]
    write_report(found, tmp_path, study="demo")
    assert "Use of the context" not in (tmp_path / "report.html").read_text()
    loss = Loss.of(0.1, 0.01)
    use = ContextUse(
        **{"run": found[0].id, "split": "test", "rate": 16_000, "context": 4_000, "chunk": 1_000},
        **{"targets": 512, "targets_hash": "a" * 64, "loss": loss, "gain": loss},
        **{"gain_half_interval": 0.02, "effective": 2_000, "donors": "another recording"},
        replaced=[ReplacedContext(kind="another", kept=1_000, excess=loss, half_interval=0.02)],
        attention=[AttentionMass(newest=2_000, by_layer=[0.75, 0.5])],
    )
    (tmp_path / found[0].id).mkdir()
    use.write(tmp_path / found[0].id)
    page = write_report(found, tmp_path, study="demo").html.read_text()
    assert "1,000: +0.1443 &plusmn; 0.0289 (+0.1000)" in page and "75% 50%" in page
    assert use.sentence in (tmp_path / "report.md").read_text()
    (kept,) = json.loads((tmp_path / "report.json").read_text())["context_use"]
    assert ContextUse.model_validate({k: v for k, v in kept.items() if k != "sentence"}) == use


@pytest.mark.fault("Security", "a record's names have markup", "it is shown as text")
def test_text_from_records_cannot_become_markup(tmp_path):
    hostile = "</script><script>alert(1)</script>"
    corpus = CORPUS.model_copy(update={"name": hostile})
    page = write_report([run({"seed": 0}, 3.3, corpus=corpus)], tmp_path, study=hostile)
    assert hostile not in page.html.read_text()


def test_reporting_imports_neither_torch_nor_ray():
    code = (
        "import sys, scaling.reporting.report; "
        "print({'torch', 'ray', 'deepspeed'} & set(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == "set()", result.stderr


@pytest.mark.fault("Security", "a report is opened", "no request leaves the page")
def test_the_page_opens_in_a_browser_without_errors_or_requests(paths, tmp_path):
    """The policy of the page forbids all requests: an attempt would log an error."""
    assert "default-src 'none'" in paths.html.read_text()
    result = opened(paths.html, tmp_path)
    assert "CONSOLE" not in result.stderr
    assert 'data-drawn="yes"' in result.stdout
    plots = len(re.findall(r'data-plot="', paths.html.read_text()))
    assert len(re.findall(r'class="plot js-plotly-plot"', result.stdout)) == plots > 6
