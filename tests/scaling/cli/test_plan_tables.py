"""The tables of docs/scale.md are those that its commands print."""

import json
import re
import shlex
from pathlib import Path

import pytest

from scaling.benchmarks.timing import Spread
from scaling.benchmarks.worker_bench import StageCounts, TimedRestart, WorkerBench
from scaling.cli.plan_tables import figures_table, node_tables
from scaling.config import load
from scaling.planning import plan
from scaling.planning.calibration import WORKERS_RECORD, Calibration
from scaling.planning.data_throughput import STREAM_RECORD, StreamMeasurement
from scaling.planning.footprint import Volume
from scaling.planning.multi_node import parse_node_counts
from tests.helpers.clone import CLONE
from tests.helpers.documents import markdown

DOCUMENT = (CLONE / "docs/scale.md").read_text()
SECTIONS = re.findall(
    r"^```\n(python -m scaling plan \S+/(\S+)\.yaml[^\n]*)\n```\n(.*?)(?=^#|^```|\Z)",
    DOCUMENT,
    re.DOTALL | re.MULTILINE,
)
SHORT = ("1", "8", "64")
"""Numbers of nodes in the tables after the first; the document omits the other rows."""


def printed(command):
    """Return the table of figures of a document's command, and the tables of its only run."""
    _, _, _, _, path, *words = shlex.split(command)
    options = {words.pop(i): words.pop(i) for i in (words.index("--hardware"),)}
    options |= {words.pop(i): words.pop(i) for i in (words.index("--nodes"),)}
    hardware = load.hardware(CLONE / options["--hardware"])
    runs = load.sweep(CLONE / path, words).runs
    measured, calibration = StreamMeasurement.read(STREAM_RECORD), Calibration.read()
    numbers = parse_node_counts(options["--nodes"])
    planned = plan.make_plan(runs, hardware, measured, calibration, numbers)
    ((_, config),) = runs
    return (
        figures_table(config, hardware, measured, calibration),
        list(node_tables(config, hardware, planned.runs[0].nodes)),
    )


def workers_bench():
    """Return the record of `bench workers` as a WorkerBench."""
    content = json.loads(WORKERS_RECORD.read_text())
    content["counted"] = [
        StageCounts(**{**row, "volume": Volume(**row["volume"]), **spreads(row, "save_seconds")})
        for row in content["counted"]
    ]
    restart = content["restart"]
    content["restart"] = TimedRestart(**{**restart, **spreads(restart, "seconds", "read_seconds")})
    return WorkerBench(**content)


def spreads(row, *names):
    return {name: Spread(**row[name]) for name in names}


def test_the_document_has_the_papers_model_and_three_larger_ones():
    assert [Path(name).name for _, name, _ in SECTIONS] == ["paper", "100m", "1b", "10b"]


@pytest.mark.parametrize(("command", "name", "text"), SECTIONS, ids=[s[1] for s in SECTIONS])
def test_the_tables_of_the_document_are_those_that_its_commands_print(command, name, text):
    _, (steps, *others) = printed(command)
    expected = [markdown(steps), *(markdown(table, SHORT) for table in others)]
    tables = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    assert tables == expected, "write instead:\n\n" + "\n".join(expected)


def test_the_document_has_every_figure_behind_its_tables():
    figures, _ = printed(SECTIONS[0][0])
    assert markdown(figures) in DOCUMENT, f"write instead:\n\n{markdown(figures)}"


def test_the_document_has_the_table_of_the_workers():
    table = workers_bench().table()
    assert markdown(table) in DOCUMENT, f"write instead:\n\n{markdown(table)}"


def test_the_record_of_the_workers_agrees_with_the_formulas_to_a_hundredth():
    table = workers_bench().table()
    cells = {str(column.header): [] for column in table.columns}
    for column in table.columns:
        cells[str(column.header)].append([*column._cells])
    (sent,), (of_sent, of_saved), (saved,) = (
        cells[name] for name in ("sent by a worker", "by formula", "saved")
    )
    for counted, formula in ((sent, of_sent), (saved, of_saved)):
        assert list(map(float, counted)) == pytest.approx(list(map(float, formula)), rel=0.01)
