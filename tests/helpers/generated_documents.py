"""Documents that are generated from the program: ``make docs`` writes them.

``docs/commands.md`` has the ``--help`` of every command, ``docs/configuration.md`` every key of
every configuration, and ``docs/architecture.md`` the tree of files. A test compares the documents
with the texts that this module returns.
"""

import ast
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import typer
from pydantic import TypeAdapter

from model.architecture import KINDS
from scaling.cli.main import app
from scaling.config.comparison_config import CompareConfig
from scaling.config.corpus_config import CorpusConfig
from scaling.config.hardware import Hardware
from scaling.config.run_config import RunConfig, SweepSection
from tests.helpers.clone import CLONE

WIDTH = 100
"""Characters of a line of help; a fixed width makes the text the same on every terminal."""

LONGEST_LINE = 90
"""Characters of a sentence in the tree of files."""

COMMANDS = """# Commands

Type a command after `python -m scaling`; `python` is `.venv/bin/python`. Without a command it also
prints what to run next. Every command that reads a YAML file takes overrides by dotted keys, such
as `model.layers=6` ([configuration.md](configuration.md)). `make docs` writes this page from
`--help`.
"""

CONFIGURATION = """# Configuration

Each configuration is a YAML file. Override any key on the command line by its dotted name:

```
python -m scaling train configs/runs/demo.yaml model.layers=6 train.seconds=60
```

A file may begin with `extends: other.yaml` and then contains only what differs. Unknown keys are
errors, which name the nearest known key. All keys of a run except `cluster` determine its id. A key
without a default is required; "or null" means that the key may be left out. `make docs` writes this
page from the code.
"""

LINE = re.compile(r"^(\w+(?:, \w+)*): ((?:.+)(?:\n +.+)*)", re.MULTILINE)
"""A line of a dataclass's docstring that describes fields; deeper lines continue it."""


def commands_document() -> str:
    """Return the text of ``docs/commands.md``."""
    group: Any = typer.main.get_command(app)
    rows, blocks = [], []
    for name, command in group.commands.items():
        context = command.context_class(
            command, info_name=f"python -m scaling {name}", terminal_width=WIDTH
        )
        sentence = " ".join((command.help or "").split("\n\n")[0].split())
        rows.append(f"| [`{name}`](#{name}) | {cell(sentence)} |")
        blocks.append(f"## {name}\n\n```text\n{command.get_help(context).rstrip()}\n```\n")
    table = "\n".join(["| command | what it does |", "|---|---|", *rows, ""])
    return "\n".join([COMMANDS, table, *blocks])


def configuration_document() -> str:
    """Return the text of ``docs/configuration.md``."""
    run = TypeAdapter(RunConfig).json_schema()
    parts = [
        CONFIGURATION,
        section("Run", "Files in `configs/runs`, for `train` and `plan`.", keys(run)),
    ]
    for kind, shape in KINDS.items():
        title = f"Model: `model.kind: {kind}`"
        shape_keys = keys(TypeAdapter(shape).json_schema(), "model.", described(shape))
        parts.append(section(title, first_line(shape), shape_keys))
    others = (
        ("Sweep", "`configs/sweeps`, for `sweep`: a run, and these keys.", SweepSection, "sweep."),
        ("Corpus", "`configs/corpora`, for `prepare`.", CorpusConfig, ""),
        ("Comparison", "`configs/compare`, for `compare`.", CompareConfig, ""),
        ("Hardware", "`configs/hardware`, for `plan --hardware`.", Hardware, ""),
    )
    for title, use, kind, prefix in others:
        found = keys(TypeAdapter(kind).json_schema(), prefix)
        parts.append(section(title, f"Files in {use}", found))
    return "\n".join(parts)


TREE = re.compile(r"(?<=<!-- tree -->\n).*(?=<!-- end of tree -->)", re.DOTALL)
OTHERS = {
    ".ci/": "the program that CI runs",
    ".gitignore": "files that git ignores",
    ".rayignore": "files that a job leaves behind",
    "CHANGELOG.md": "notable changes",
    "CONTRIBUTING.md": "how to change the code, and its rules",
    "LICENSE": "Apache 2.0",
    "Makefile": "study, compare, test and the other targets",
    "README.md": "the first page",
    "constraints.txt": "every package, pinned",
    "datasets/embedded/": "the included recordings, with their credits",
    "docs/": "this site, the notebook and the pictures",
    "pyproject.toml": "direct dependencies; settings of ruff, mypy and pytest",
    "scaling/reporting/templates/": "templates of all pages",
    "configs/clusters/slurm.sh": "a sweep as a job of Slurm",
    "configs/measurements/": "measured rates that `plan` reads",
    "docker/Dockerfile": "the image of a cluster's nodes",
    "tests/conftest.py": "fixtures of all tests",
    "tests/data/": "a stored study of an earlier version, which must stay readable",
    "tests/datasets/": "tests of datasets, one file for each module",
    "tests/deployment/": "ray up, cluster files, the image, the upload of a job",
    "tests/helpers/": "code that test files share, and the generators of documents",
    "tests/integration/": "whole runs and studies",
    "tests/model/": "tests of model",
    "tests/repository/": "rules of the code, the documents, the site and the notebook",
    "tests/robustness/": "damaged, foreign and very large input",
    "tests/scaling/": "tests of scaling, one folder for each package",
}
"""Tracked files and folders whose line is not their own first sentence."""


def architecture_document() -> str:
    """Return the text of ``docs/architecture.md`` with the tree of the tracked files."""
    tree = "".join(f"{line}\n" for line in tree_lines(tracked_files()))
    text = (CLONE / "docs/architecture.md").read_text()
    return TREE.sub(lambda _: f"\n```text\n{tree}```\n\n", text)


DOCUMENTS: dict[str, Callable[[], str]] = {
    "docs/architecture.md": architecture_document,
    "docs/commands.md": commands_document,
    "docs/configuration.md": configuration_document,
}


def tracked_files() -> list[str]:
    """Return the files that git tracks and that exist."""
    command = ["git", "ls-files"]
    found = subprocess.run(command, cwd=CLONE, capture_output=True, text=True, check=True)
    return [name for name in found.stdout.splitlines() if (CLONE / name).is_file()]


def tree_lines(names: list[str]) -> Iterator[str]:
    """Yield a line for each file, indented below its folder; some folders have one line alone.

    Raises:
        ValueError: a file has no first sentence and no line in ``OTHERS``.
    """
    entries: dict[str, str] = {}
    for name in names:
        folder = next(
            (prefix for prefix in OTHERS if prefix[-1] == "/" and name.startswith(prefix)), None
        )
        if folder or name in OTHERS:
            entry = folder or name
            entries[entry] = OTHERS[entry]
        elif (sentence := first_sentence(CLONE / name)) is not None:
            entries[name] = sentence
        else:
            raise ValueError(f"{name} has no first sentence: add a line for it to OTHERS")
    folders: set[str] = set()
    for entry in sorted(entries, key=sort_key):
        parts = entry.rstrip("/").split("/")
        for depth in range(1, len(parts)):
            parent = "/".join(parts[:depth])
            if parent not in folders:
                folders.add(parent)
                yield f"{'  ' * (depth - 1)}{parts[depth - 1]}/"
        label = "  " * (len(parts) - 1) + parts[-1] + ("/" if entry.endswith("/") else "")
        yield f"{label:<34} {entries[entry]}"


def sort_key(entry: str) -> list[tuple[bool, str]]:
    """Sort files before folders, each by name."""
    parts = entry.split("/")
    return [(index < len(parts) - 1, part) for index, part in enumerate(parts)]


def first_sentence(path: Path) -> str | None:
    """Return the first sentence of a module's docstring, or of a YAML file's first comment.

    A long sentence ends at its first colon or semicolon.
    """
    if path.suffix == ".py":
        text = ast.get_docstring(ast.parse(path.read_text())) or ""
    elif path.suffix == ".yaml":
        comment = re.match(r"(?:#.*\n)+", path.read_text())
        text = re.sub(r"^# ?", "", comment[0], flags=re.MULTILINE) if comment else ""
    else:
        return None
    paragraph = " ".join(text.split("\n\n")[0].split()).replace("``", "`")
    plain = re.sub(r":\w+:`(?:\w+\.)*(\w+)`", r"`\1`", paragraph)
    sentence = re.split(r"\. (?=[A-Z`])|\.?$", plain)[0]
    if len(sentence) > LONGEST_LINE:
        sentence = re.split(r"[:;] ", sentence)[0]
    return sentence or None


def section(title: str, use: str, rows: Iterator[tuple[str, ...]]) -> str:
    """Return a heading, a sentence and the table of keys."""
    lines = [f"| `{name}` | {' | '.join(map(cell, rest))} |" for name, *rest in rows]
    heading = ["| key | type | default | unit | meaning |", "|---|---|---|---|---|"]
    return "\n".join([f"## {title}", "", use, "", *heading, *lines, ""])


def keys(
    schema: dict[str, Any], prefix: str = "", meanings: dict[str, str] | None = None
) -> Iterator[tuple[str, ...]]:
    """Yield name, type, default, unit and meaning of each key, nested sections after their own.

    Args:
        schema: JSON schema of a configuration.
        prefix: dotted path of the section, which begins each name.
        meanings: descriptions of the keys that the schema has none for.
    """
    required = schema.get("required", [])
    for name, field in schema["properties"].items():
        text = " ".join(field.get("description", (meanings or {}).get(name, "")).split())
        meaning, _, unit = text.partition(" Unit: ")
        inner = nested(field, schema)
        whole = inner or "oneOf" in field
        empty = {} if field.get("type") == "object" else None
        default = "" if name in required or whole else value(field.get("default", empty))
        kind = "section" if inner and "items" not in field else type_of(field, inner is not None)
        yield prefix + name, kind, default, unit.rstrip("."), meaning
        if inner:
            path = f"{prefix}{name}{'[]' if 'items' in field else ''}."
            yield from keys({**inner, "$defs": schema["$defs"]}, path)


def nested(field: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any] | None:
    """Return the schema of the section that a key holds, alone, optional or in a list."""
    choices = [field, field.get("items", {}), *field.get("anyOf", [])]
    references = [choice["$ref"] for choice in choices if "$ref" in choice]
    if not references:
        return None
    found: dict[str, Any] = schema["$defs"][references[0].rpartition("/")[2]]
    return found


def type_of(field: dict[str, Any], of_sections: bool = False) -> str:
    """Return the type of a key in words, with its limits."""
    if "oneOf" in field:
        return "section"
    if "anyOf" in field:
        return " or ".join(type_of(choice) for choice in field["anyOf"])
    if "const" in field or "enum" in field:
        allowed = field.get("enum", [field.get("const")])
        return ", ".join(f"`{choice}`" for choice in allowed)
    kind = field.get("type")
    if kind == "array":
        if of_sections:
            return "list of sections"
        if "prefixItems" in field:
            return f"{len(field['prefixItems'])} of: {type_of(field['prefixItems'][0])}"
        return f"list of: {type_of(field['items'])}"
    names = {"object": "mapping", "boolean": "`true`, `false`", "string": "text", None: "any value"}
    signs = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    limits = [f"{sign} {field[limit]}" for limit, sign in signs.items() if limit in field]
    word = "path" if field.get("format") == "path" else names.get(kind, str(kind))
    return " ".join([word, *([", ".join(limits)] if limits else [])])


def value(default: Any) -> str:
    """Return a default as YAML would have it."""
    if isinstance(default, str):
        return f"`{default}`"
    if isinstance(default, bool) or default is None:
        return f"`{str(default).lower().replace('none', 'null')}`"
    return f"`{default}`"


def described(shape: type) -> dict[str, str]:
    """Return the description of each field of a dataclass, from its docstrings."""
    found: dict[str, str] = {}
    for kind in reversed(shape.__mro__):
        lines = "\n".join(line.removeprefix("    ") for line in (kind.__doc__ or "").split("\n"))
        for names, text in LINE.findall(lines):
            found |= dict.fromkeys(names.split(", "), text[0].upper() + text[1:])
    return {"kind": "Kind of the model.", **found}


def first_line(shape: type) -> str:
    """Return the first line of a docstring."""
    return (shape.__doc__ or "").splitlines()[0]


def cell(text: str) -> str:
    """Return a text as the cell of a Markdown table."""
    return text.replace("``", "`").replace("|", "\\|")


def main() -> None:
    """Write the documents and print their names."""
    for name, text in DOCUMENTS.items():
        (CLONE / name).write_text(text())
        print(name)


if __name__ == "__main__":
    main()
