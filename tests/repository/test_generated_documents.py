"""The generated documents are those that ``make docs`` writes, and leave nothing out."""

import difflib

import pytest

from tests.helpers import generated_documents as generated
from tests.helpers.clone import CLONE


@pytest.mark.parametrize("name", generated.DOCUMENTS)
def test_a_generated_document_equals_its_generators_text(name: str):
    kept = (CLONE / name).read_text().splitlines()
    written = generated.DOCUMENTS[name]().splitlines()
    changes = "\n".join(difflib.unified_diff(kept, written, name, "make docs", lineterm="", n=0))
    assert not changes, f"run `make docs`:\n{changes}"


def test_the_tree_has_a_line_for_every_module_and_configuration():
    names = [
        name
        for name in generated.tracked_files()
        if name.endswith((".py", ".yaml")) and not name.startswith("tests/")
    ]
    lines = [line.split()[0] for line in generated.tree_lines(names)]
    assert len([line for line in lines if not line.endswith("/")]) == len(names)


def test_every_key_has_a_meaning_and_every_limited_number_a_unit():
    """Seeds, and numbers that name one of several ways, have no unit."""
    text = generated.configuration_document()
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| `")]
    rows = [[cell.strip() for cell in row] for row in rows]
    assert len(rows) > 100
    assert not [row[0] for row in rows if len(row) != 5 or not row[4]]
    numbers = [row for row in rows if row[1].startswith(("integer", "number"))]
    bare = [row[0] for row in numbers if not row[3] and not row[0].startswith("`model.")]
    assert [name for name in bare if not name.endswith("seed`")] == []


def test_every_command_has_its_own_section():
    text = generated.commands_document()
    assert text.count("\n## ") == text.count("\n| [`") == text.count("Usage: python -m scaling ")


def test_the_commands_do_not_depend_on_the_terminal(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert generated.commands_document() == (CLONE / "docs/commands.md").read_text()
