"""The matrix of faults says what the tests show, and of everything else why they do not."""

import subprocess
import sys

import pytest

from tests.helpers.clone import CLONE
from tests.helpers.fault_matrix import DOCUMENT, KINDS, UNTESTED, rows, tables, written

LEAST_ROWS = 60


def test_the_document_has_the_tables_of_all_marked_tests():
    done = subprocess.run(
        [sys.executable, "-m", "tests.helpers.fault_matrix", "--check"],
        cwd=CLONE,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_document_has_sixty_rows_or_more_that_have_a_test_and_the_others_a_reason():
    lines = [line for line in written(DOCUMENT.read_text()).splitlines() if line[:2] == "| "]
    cells = [line.strip("| ").split(" | ") for line in lines if line[:5] not in ("| fau", "| ---")]
    assert all(len(row) == 3 and all(row) for row in cells)
    assert sum(test != "none" for _, _, test in cells) >= LEAST_ROWS
    assert [row[0] for row in cells if row[2] == "none"] == [row[1] for row in UNTESTED]
    assert {kind for kind, _, _ in UNTESTED} <= set(KINDS)


class Item:
    """As much of a collected test as a row needs."""

    def __init__(self, name, *marks):
        self.own_markers = [pytest.mark.fault(*mark).mark for mark in marks]
        self.name, _, case = name.partition(" ")
        self.originalname, self.name = self.name, self.name + case
        self.nodeid, self.path = name, CLONE / "tests" / "test_x.py"
        function = type("", (), {"pytestmark": [] if case else self.own_markers})
        self.obj = function


def test_tests_of_one_fault_are_one_row_and_single_marked_cases_are_named():
    found = rows(
        [
            Item("test_a", ("Nodes and networks", "a", "b"), ("Processes", "c", "d|e")),
            Item("test_a", ("Nodes and networks", "a", "b")),
            Item("test_b [1]", ("Nodes and networks", "a", "b")),
            Item("test_b [2]", ("Nodes and networks", "a", "b")),
        ]
    )
    text = tables(found)
    assert "| a | b | `test_x.py::test_a`, `test_x.py::test_b[1]` |" in text
    assert r"| c | d\|e | `test_x.py::test_a` |" in text
    assert text.startswith("2 rows have a test")
    assert text.index("### Processes") < text.index("### Nodes")


def test_a_marker_of_no_kind_and_one_that_promises_something_else_are_errors():
    with pytest.raises(ValueError, match="test_a has a fault of kind 'x': write one of"):
        rows([Item("test_a", ("x", "a", "b"))])
    with pytest.raises(ValueError, match=r"test_b promises 'c' where a, and .*test_a 'b'"):
        rows([Item("test_a", ("Storage", "a", "b")), Item("test_b", ("Storage", "a", "c"))])
