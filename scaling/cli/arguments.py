"""What the verbs of the command line have in common: arguments, where they print, and Ctrl-C."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from scaling.config.load import ConfigError

Config = Annotated[Path | None, typer.Option(help="YAML file; it may also be the first argument.")]
Words = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[FILE.yaml] [KEY=VALUE]...", help="Overrides by dotted keys: model.layers=6."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]

# Tables that no terminal shows are read in files and logs, where nothing need be cut.
console = Console(width=None if sys.stdout.isatty() else 160)

INTERRUPTED = 130
"""The exit code of what Ctrl-C ended, as shells have it."""


def file_and_overrides(config: Path | None, words: Sequence[str] | None) -> tuple[Path, list[str]]:
    """The configuration file, from the option or the first argument, and the overrides."""
    rest = list(words or [])
    if config is None and rest and "=" not in rest[0]:
        config = Path(rest.pop(0))
    if config is None:
        raise ConfigError(["no configuration file: name one, as --config configs/runs/demo.yaml"])
    return config, rest


@contextmanager
def resumable() -> Iterator[None]:
    """Say how training goes on where Ctrl-C ends the block."""
    try:
        yield
    except KeyboardInterrupt:
        console.print("interrupted: the same command goes on from the newest checkpoints")
        raise typer.Exit(INTERRUPTED) from None
