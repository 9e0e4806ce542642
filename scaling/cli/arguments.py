"""Arguments and options that several verbs share, printing, and Ctrl-C."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from rich.console import Console
from typer import Argument, Exit, Option

from scaling.config.load import ConfigError

Config = Annotated[Path | None, Option(help="Read this YAML file, such as configs/runs/demo.yaml.")]
Words = Annotated[
    list[str] | None,
    Argument(
        metavar="FILE.yaml KEY=VALUE",
        help="Name the YAML file if --config does not, and override keys, such as model.layers=6.",
    ),
]
Json = Annotated[bool, Option("--json", help="Print JSON instead of text.")]
Run = Annotated[Path, Argument(help="Name the folder of a finished run, such as runs/demo/ID.")]
Seed = Annotated[int, Option(help="Seed the random numbers.")]
Out = Annotated[Path | None, Option(help="Write to this folder, such as results/demo.")]

# Files and logs have no width that a table must fit.
console = Console(width=None if sys.stdout.isatty() else 160)

INTERRUPTED = 130
"""The exit code of shells for a command that Ctrl-C ended."""


def print_line(text: object) -> None:
    """Print the text as it is: unwrapped, and without markup."""
    console.print(str(text), markup=False, highlight=False, soft_wrap=True)


def file_and_overrides(config: Path | None, words: Sequence[str] | None) -> tuple[Path, list[str]]:
    """Return the file of the option or the first argument, or ConfigError, and the overrides."""
    rest = list(words or [])
    if config is None and rest and "=" not in rest[0]:
        config = Path(rest.pop(0))
    if config is None:
        raise ConfigError(
            "no configuration file is named: add one, such as --config configs/runs/demo.yaml"
        )
    return config, rest


@contextmanager
def resumable() -> Iterator[None]:
    """Explain how to resume the training if Ctrl-C ends the block, and exit."""
    try:
        yield
    except KeyboardInterrupt:
        console.print("interrupted: run the same command to resume from the newest checkpoints")
        raise Exit(INTERRUPTED) from None
