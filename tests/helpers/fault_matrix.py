"""Tables of faults and bad input in docs/reliability.md, written by ``make matrix``.

A row is a test's marker ``fault(kind, happens, promise)``, so a promise cannot outlive its test.
``UNTESTED`` has the faults without a test on one machine, with the reason.
"""

import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field

import pytest

from tests.helpers.clone import CLONE

DOCUMENT = CLONE / "docs" / "reliability.md"
BEGIN, END = "<!-- `make matrix` writes what follows -->\n", "<!-- `make matrix` wrote this -->\n"
MARKER = "fault"

KINDS = (
    "Processes",
    "Nodes and networks",
    "Storage",
    "Checkpoints",
    "Audio files",
    "Archives and folders",
    "Corpora",
    "Configurations",
    "Numbers",
    "Sweeps and records",
    "Security",
    "Foreign bytes",
)

UNTESTED = (
    (
        "Processes",
        "a worker is slower than the others, but not stuck",
        "No check names it. Every step takes as long as the slowest worker, and the record has the "
        "seconds of each step.",
    ),
    (
        "Nodes and networks",
        "the network between two nodes is cut for seconds, or for minutes",
        "No test cuts a link while a run trains. Ray treats a long cut as a lost node. A lost "
        "node, and workers that wait for ever, are tested.",
    ),
    (
        "Nodes and networks",
        "a GPU falls off its bus, or its memory fails",
        "A test needs such a GPU. `doctor --cluster` names one with memory errors before a run "
        "starts, as tested above.",
    ),
    (
        "Nodes and networks",
        "random faults strike for half an hour, on several machines",
        "It takes longer than all tests. `rehearse --faults all` injects nine faults, one after "
        "the other, and `rehearse --minutes` kills workers at random: both are tested above.",
    ),
    (
        "Audio files",
        "a whole WAV or MP3 has one changed byte in its sound",
        "These formats have no checksum, so the file is read as it is. The manifest has each "
        "file's SHA-256.",
    ),
    (
        "Archives and folders",
        "the storage of a cloud refuses or delays requests",
        "The tests' bucket is a simulated S3 on the same machine, which does neither.",
    ),
    (
        "Foreign bytes",
        "certain bits of a shard's footer change",
        "Arrow ends the process, by an exception that its Python interface does not catch. "
        "`verify` names the shard by its SHA-256, without reading its footer.",
    ),
)


@dataclass
class Row:
    """A possible fault, the promise for it, and the tests that check the promise."""

    happens: str
    promise: str
    tests: list[str] = field(default_factory=list)


class Collected:
    """Pytest plugin that keeps the collected items."""

    def __init__(self) -> None:
        self.items: list[pytest.Item] = []

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.items = session.items


def rows(items: Iterable[pytest.Item]) -> dict[str, list[Row]]:
    """Return the marked tests by kind, in file order; raise ValueError for a wrong marker."""
    found: dict[str, dict[str, Row]] = {kind: {} for kind in KINDS}
    for item in items:
        # Pytest lists the nearest marker first; rows follow the order in the file.
        own = [mark for mark in item.own_markers if mark.name == MARKER]
        for mark in reversed(own):
            kind, happens, promise = mark.args
            if kind not in found:
                raise ValueError(
                    f"{item.nodeid} has a fault of kind {kind!r}: write one of {KINDS}"
                )
            row = found[kind].setdefault(happens, Row(happens, promise))
            if row.promise != promise:
                raise ValueError(
                    f"{item.nodeid} promises {promise!r} where {happens}, and {row.tests[0]} "
                    f"{row.promise!r}: write the same"
                )
            name = _name(item, mark)
            # Parametrised cases with the same promise share one entry.
            if name.partition("[")[0] not in {test.partition("[")[0] for test in row.tests}:
                row.tests.append(name)
    return {kind: list(of_kind.values()) for kind, of_kind in found.items()}


def _name(item: pytest.Item, mark: pytest.Mark) -> str:
    """Return the test's file and name, with its case if only that case has the marker."""
    function: pytest.Function = item  # type: ignore[assignment]
    whole = mark in getattr(function.obj, "pytestmark", [])
    return f"{item.path.name}::{function.originalname if whole else item.name}"


def tables(found: dict[str, list[Row]]) -> str:
    """Return a Markdown table for each kind, with untested faults at its end."""
    tested = sum(map(len, found.values()))
    lines = [f"{tested} rows have a test, and {len(UNTESTED)} have a reason instead."]
    for kind in KINDS:
        lines += ["", f"### {kind}", "", "| fault | promise | test |"]
        lines += ["| --- | --- | --- |"]
        for row in found[kind]:
            tests = ", ".join(f"`{test}`" for test in row.tests)
            lines.append(f"| {_cell(row.happens)} | {_cell(row.promise)} | {_cell(tests)} |")
        for of_kind, happens, why in UNTESTED:
            if of_kind == kind:
                lines.append(f"| {_cell(happens)} | {_cell(why)} | none |")
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def written(text: str) -> str:
    """Return the text between the two comments of the document."""
    found = re.search(f"{re.escape(BEGIN)}(.*?){re.escape(END)}", text, re.DOTALL)
    if found is None:
        raise ValueError(f"{DOCUMENT} has no lines {BEGIN!r} and {END!r}: write both")
    return found.group(1)


def main(words: list[str]) -> int:
    """Write the tables of all marked tests into the document; with --check, only compare."""
    collected = Collected()
    arguments = ["--collect-only", "-qq", "-m", MARKER, "-p", "no:cacheprovider"]
    code = pytest.main([*arguments, str(CLONE / "tests")], plugins=[collected])
    if code:
        return int(code)
    text = DOCUMENT.read_text()
    made = tables(rows(collected.items))
    if words == ["--check"]:
        same = made == written(text)
        print("the document agrees" if same else f"{DOCUMENT} does not agree: run `make matrix`")
        return 0 if same else 1
    DOCUMENT.write_text(text.replace(f"{BEGIN}{written(text)}{END}", f"{BEGIN}{made}{END}"))
    print(made.splitlines()[0])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
