"""The verbs that train runs and report on their studies."""

import json
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Exit, Option

from scaling.cli.arguments import (
    Config,
    Json,
    Words,
    console,
    file_and_overrides,
    print_line,
    resumable,
)
from scaling.cli.progress import progress_bars, show_runs, states_table
from scaling.config import load
from scaling.config.load import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scaling.orchestration.restarts import TrainingError
    from scaling.reporting.report import ReportPaths
    from scaling.runs.record import RunRecord

Folder = Annotated[Path, Argument(help="Name a study's folder, such as runs/demo.")]
Folders = Annotated[
    list[Path], Argument(help="Name a study's folder, such as runs/demo; with --compare, name two.")
]


def train(words: Words = None, config: Config = None) -> None:
    """Train one run to its end. Resume from its newest checkpoint if it has one."""
    run = load.run(*file_and_overrides(config, words))
    # Problems of the configuration are reported before Ray and PyTorch take seconds to load.
    from scaling.orchestration.start import cluster_for
    from scaling.orchestration.train import make_job
    from scaling.orchestration.train import train as train_run
    from scaling.runs.record import bits
    from scaling.runs.study import register

    with resumable(), cluster_for([run]):
        register(run.study_folder, [({}, run)])
        with show_runs(run.study_folder, 1, console):
            record = train_run(make_job(run, {}))
    loss = record.validation
    print_line(
        f"{run.folder}: {bits(loss.nats):.4f} bits/sample ({loss.nats:.4f} nats, standard error "
        f"{loss.standard_error:.4f}) on {loss.targets} held-out targets"
    )


def sweep(
    words: Words = None,
    config: Config = None,
    resume: Annotated[
        bool, Option("--resume", help="Resume an existing study; never start one.")
    ] = False,
) -> None:
    """Train every run of a sweep that has not ended.

    The command retries failed runs, and resumes an existing study with or without --resume.
    """
    from scaling.runs.study import finished_record, read_states
    from scaling.sweeps import successive_halving

    asked = load.sweep(*file_and_overrides(config, words))
    if resume:
        read_states(asked.study_folder)
    runs = [run for _, run in asked.runs]
    before = sum(finished_record(run) is not None for run in runs)
    waiting = successive_halving.next_tasks(asked.cells, asked.rungs, frozenset())
    failures = _sweep(asked) if waiting else []
    for failure in failures:
        print_line(f"error: {failure}")
    ended = sum(finished_record(run) is not None for run in runs)
    print_line(
        f"{asked.study_folder}: {ended} of {len(runs)} runs have ended, {before} of them before"
    )
    if failures:
        raise Exit(1)


def _sweep(asked: load.Sweep) -> "list[TrainingError]":
    from scaling.cluster.ray_cluster import cluster_resources
    from scaling.orchestration.start import cluster_for
    from scaling.sweeps import sweep as sweeps

    with resumable(), cluster_for([run for _, run in asked.runs]):
        concurrent = sweeps.concurrent(asked, cluster_resources())
        with show_runs(asked.study_folder, concurrent, console):
            return sweeps.run(asked, concurrent)


def compare(words: Words = None, config: Config = None, as_json: Json = False) -> None:
    """Train models on equal budgets, and compare their losses."""
    from scaling.cli.score_tables import comparison_table
    from scaling.cluster.ray_cluster import cluster_resources
    from scaling.comparison import compare as comparing
    from scaling.orchestration.start import cluster_for
    from scaling.sweeps.sweep import concurrent

    asked, runs = load.comparison(*file_and_overrides(config, words))
    with resumable(), cluster_for(runs):
        at_once = concurrent(
            load.Sweep([({}, run) for run in runs], asked.concurrent), cluster_resources()
        )
        rows = comparing.apply_budget(asked, runs)
        with show_runs(rows[0].study_folder, at_once, console):
            comparing.train_rows(asked, rows, at_once)
        with progress_bars(console) as show:
            found = comparing.compare_runs(asked, rows, partial(show, "evaluations"))
    folder = rows[0].study_folder
    path = found.write(folder)
    written = _write_comparison([comparing.finished_run_record(row) for row in rows], folder)
    if as_json:
        print(path.read_text())
        return
    console.print(comparison_table(found))
    _print_report(written)


def status(folder: Folder, as_json: Json = False) -> None:
    """Show the state of every run of a study."""
    from scaling.runs.study import read_states

    states = read_states(folder)
    if as_json:
        print(json.dumps([asdict(state) for state in states]))
        return
    console.print(states_table(states, str(folder)))
    for state in states:
        if state.problem:
            print_line(f"{state.id}: {state.problem}")


def report(
    folders: Folders,
    compare: Annotated[bool, Option("--compare", help="Compare two studies.")] = False,
    as_json: Json = False,
) -> None:
    """Fit the finished runs of a study, and write its report.

    Write report.html, report.md and report.json, and CSV files.
    """
    from scaling.reporting.two_studies import write_two

    wanted = 2 if compare else 1
    if len(folders) != wanted:
        raise ConfigError(
            f"{len(folders)} folders are named: write "
            + ("two, such as `report --compare runs/a runs/b`" if compare else "one, or --compare")
        )
    written = write_two(*folders) if compare else _report_one(folders[0])
    if as_json:
        print(written.json.read_text())
        return
    _print_report(written)


def _report_one(folder: Path) -> "ReportPaths":
    from scaling.analysis.records import load_records
    from scaling.comparison.table import FILE_NAME
    from scaling.reporting.report import write_report

    records, skipped = load_records(folder)
    if (folder / FILE_NAME).exists():
        return _write_comparison(records, folder)
    return write_report(records, folder, study=folder.resolve().name, skipped=skipped)


def _write_comparison(records: "Sequence[RunRecord]", folder: Path) -> "ReportPaths":
    """Write the page and the CSV of a comparison from its ``comparison.json``."""
    from scaling.comparison.page import write_page
    from scaling.comparison.table import FILE_NAME, Comparison

    return write_page(Comparison.read(folder / FILE_NAME), records, folder)


def _print_report(written: "ReportPaths") -> None:
    for headline in written.headlines:
        print_line(headline)
    print_line(written.html.resolve())
