"""Documents that are generated from the program: ``make docs`` writes them.

``docs/commands.md`` has the ``--help`` of every command, ``docs/configuration.md`` every key of
every configuration. A test compares the files with the texts that this module returns.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

import typer
from pydantic import TypeAdapter

from model.kinds import KINDS
from scaling.cli.main import app
from scaling.config.comparison_config import CompareConfig
from scaling.config.corpus_config import CorpusConfig
from scaling.config.hardware import Hardware
from scaling.config.run_config import RunConfig, SweepSection
from tests.helpers.clone import CLONE

WIDTH = 100
"""Characters of a line of help; a fixed width makes the text the same on every terminal."""

COMMANDS = """# Commands

`python -m scaling COMMAND` runs a command; `python` is `.venv/bin/python`. `python -m scaling` alone also prints what to
run next. Every command that reads a YAML file takes overrides by dotted keys, such as `model.layers=6`
([configuration.md](configuration.md)). `make docs` writes this page from `--help`.
"""

CONFIGURATION = """# Configuration

Each configuration is a YAML file. Override any key on the command line by its dotted name:

```
python -m scaling train configs/runs/demo.yaml model.layers=6 train.seconds=60
```

A file may begin with `extends: other.yaml` and then contains only what differs. Unknown keys are errors, which name the
nearest known key. All keys of a run except `cluster` determine its id. A key without a default is required; "or null"
means that the key may be left out. `make docs` writes this page from the code.
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


DOCUMENTS: dict[str, Callable[[], str]] = {
    "docs/commands.md": commands_document,
    "docs/configuration.md": configuration_document,
}


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
        default = "" if name in required or inner else value(field.get("default"))
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
