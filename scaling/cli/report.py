"""The verb that reports on a study, or sets two side by side."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scaling.cli import models
from scaling.cli.arguments import Json, console
from scaling.config.load import ConfigError

if TYPE_CHECKING:
    from scaling.reporting.report import ReportPaths

Folders = Annotated[
    list[Path], typer.Argument(help="A study's folder, such as runs/demo; two with --compare.")
]
Compare = Annotated[bool, typer.Option("--compare", help="Set two studies side by side.")]


def report(folders: Folders, compare: Compare = False, as_json: Json = False) -> None:
    """Fit the study's finished runs and write report.html, .md and .json, and the CSVs beside."""
    wanted = 2 if compare else 1
    if len(folders) != wanted:
        raise ConfigError(
            [
                f"{len(folders)} folders are named: write "
                + ("two, as `report --compare runs/a runs/b`" if compare else "one, or --compare")
            ]
        )
    written = _two(*folders) if compare else _one(folders[0])
    if as_json:
        print(written.json.read_text())
        return
    for headline in written.headlines:
        console.print(headline, markup=False, highlight=False, soft_wrap=True)
    console.print(f"{written.html.resolve()}", soft_wrap=True, highlight=False)


def _one(folder: Path) -> "ReportPaths":
    from scaling.analysis.records import load_records
    from scaling.reporting.report import write_report

    records, skipped = load_records(folder)
    if models.compared(folder):
        return models.write_comparison(records, folder)
    return write_report(records, folder, study=folder.resolve().name, skipped=skipped)


def _two(first: Path, second: Path) -> "ReportPaths":
    from scaling.reporting.two_studies import write_two

    return write_two(first, second)
