"""The command line's verbs. Each imports what it needs: help, plan and report need no Ray."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from scaling import check, load
from scaling.load import ConfigError

if TYPE_CHECKING:
    from scaling.config import RunConfig
    from scaling.plan import Plan
    from scaling.train import TrainingError

app = typer.Typer(
    name="python -m scaling",
    help="Longwave: how raw-audio next-sample models scale with context, chunk and depth.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Config = Annotated[Path | None, typer.Option(help="YAML file; it may also be the first argument.")]
Words = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[FILE.yaml] [KEY=VALUE]...", help="Overrides by dotted keys: model.layers=6."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Folder = Annotated[Path, typer.Argument(help="A study's folder, such as runs/demo.")]

# Tables that no terminal shows are read in files and logs, where nothing need be cut.
console = Console(width=None if sys.stdout.isatty() else 160)


@app.command()
def prepare(words: Words = None, config: Config = None) -> None:
    """Audio files to a prepared corpus: codes in shards, and a manifest with the references."""
    from datasets.prepare import prepare as prepare_corpus
    from scaling.cluster import connected
    from scaling.progress import preparing

    settings = load.corpus(*_file_and_overrides(config, words))
    with connected(), preparing(console) as show:
        corpus = prepare_corpus(**settings.arguments(), root=Path.cwd(), progress=show)
    for left_out in corpus.rejected:
        console.print(f"left out {left_out.name}: {left_out.reason}", markup=False)
    table = Table(title=f"{settings.destination}: {corpus.name}", title_justify="left")
    for heading in ("split", "recordings", "seconds", "histogram bits", "AR(32) bits"):
        table.add_column(heading, justify="left" if heading == "split" else "right")
    for name, split in corpus.splits.items():
        table.add_row(
            name,
            str(split.recordings),
            f"{split.seconds:.1f}",
            f"{split.histogram_bits:.3f}",
            f"{split.linear_bits:.3f}",
        )
    console.print(table)


@app.command()
def plan(words: Words = None, config: Config = None, as_json: Json = False) -> None:
    """What a run or a sweep would do: parameters, operations, targets, and every problem."""
    from scaling.plan import make

    path, overrides = _file_and_overrides(config, words)
    planned = make(load.sweep(path, overrides).runs)
    if as_json:
        print(json.dumps(planned.as_json()))
    else:
        _print_plan(planned)
    if planned.problems:
        raise ConfigError(planned.problems)


@app.command()
def train(words: Words = None, config: Config = None) -> None:
    """Train one run to its end, from its newest checkpoint if it has one."""
    from scaling.progress import shown
    from scaling.record import bits
    from scaling.study import register
    from scaling.train import make_job
    from scaling.train import train as train_run

    run = load.run(*_file_and_overrides(config, words))
    with _cluster_for([run]):
        register(run.study_folder, [({}, run)])
        with shown(run.study_folder, 1, console):
            record = train_run(make_job(run, {}))
    loss = record.validation
    console.print(
        f"{run.folder}: {bits(loss.nats):.4f} bits/sample ({loss.nats:.4f} nats, standard error "
        f"{loss.standard_error:.4f}) on {loss.targets} held-out targets",
        soft_wrap=True,
    )


@app.command()
def sweep(words: Words = None, config: Config = None) -> None:
    """Train every run of a sweep that has not ended yet; runs that failed are tried again."""
    from scaling.study import finished

    asked = load.sweep(*_file_and_overrides(config, words))
    runs = [run for _, run in asked.runs]
    waiting = [run for run in runs if finished(run) is None]
    failures = _sweep(asked) if waiting else []
    for failure in failures:
        console.print(f"error: {failure}", markup=False, soft_wrap=True)
    ended = len(runs) - len(failures)
    console.print(
        f"{asked.study_folder}: {ended} of {len(runs)} runs have ended, "
        f"{len(runs) - len(waiting)} of them before",
        soft_wrap=True,
    )
    if failures:
        raise typer.Exit(1)


@app.command()
def status(folder: Folder, as_json: Json = False) -> None:
    """The runs of a study: waiting, running, stopped, failed or finished."""
    from dataclasses import asdict

    from scaling.progress import table
    from scaling.study import read

    states = read(folder)
    if as_json:
        print(json.dumps([asdict(state) for state in states]))
        return
    console.print(table(states, str(folder)))
    for state in states:
        if state.problem:
            console.print(f"{state.id}: {state.problem}", markup=False, soft_wrap=True)


@app.command()
def report(folder: Folder, as_json: Json = False) -> None:
    """Fit the study's finished runs and write report.html, report.json and runs.csv."""
    from scaling.report import load_records, write_report

    records, skipped = load_records(folder)
    written = write_report(records, folder, study=folder.resolve().name, skipped=skipped)
    if as_json:
        print(written.json.read_text())
        return
    for headline in written.headlines:
        console.print(headline, markup=False, highlight=False, soft_wrap=True)
    console.print(f"{written.html.resolve()}", soft_wrap=True, highlight=False)


@app.command()
def doctor(as_json: Json = False) -> None:
    """What stands between this machine and a run, each as one sentence."""
    from dataclasses import asdict

    from scaling.doctor import examine
    from scaling.paths import CLONE

    findings = examine(CLONE)
    if as_json:
        print(json.dumps([asdict(finding) for finding in findings]))
    else:
        for finding in findings:
            console.print(
                f"{finding.status:8} {finding.name}: {finding.sentence}",
                markup=False,
                soft_wrap=True,
            )
    if any(finding.status == "problem" for finding in findings):
        raise typer.Exit(1)


def _file_and_overrides(config: Path | None, words: Sequence[str] | None) -> tuple[Path, list[str]]:
    """The configuration file, from the option or the first argument, and the overrides."""
    rest = list(words or [])
    if config is None and rest and "=" not in rest[0]:
        config = Path(rest.pop(0))
    if config is None:
        raise ConfigError(["no configuration file: name one, as --config configs/runs/demo.yaml"])
    return config, rest


def _sweep(asked: load.Sweep) -> "list[TrainingError]":
    from scaling import sweep as sweeps
    from scaling.cluster import offered
    from scaling.progress import shown

    with _cluster_for([run for _, run in asked.runs]):
        concurrent = sweeps.concurrent(asked, offered())
        with shown(asked.study_folder, concurrent, console):
            return sweeps.run(asked, concurrent)


@contextmanager
def _cluster_for(runs: "Sequence[RunConfig]") -> Iterator[None]:
    """A connected cluster, after every problem of these runs with it was refused at once."""
    from scaling import cluster

    embedded = not cluster.named()
    if embedded:
        # Nothing is started for what cannot run.
        _refuse(runs, cluster.machine(), [])
    with cluster.connected():
        if not embedded:
            _refuse(runs, cluster.offered(), cluster.unshared(runs[0].study_folder))
        yield


def _refuse(runs: "Sequence[RunConfig]", offered: Mapping[str, float], more: list[str]) -> None:
    from datasets.manifest import Corpus, ManifestError

    found = list(more)
    for run in runs:
        try:
            corpus = Corpus.load(run.corpus)
        except ManifestError as error:
            corpus = None
            found.append(str(error))
        found += check.problems(run, corpus, offered)
    found += check.history_problems(runs)
    if found:
        raise ConfigError(list(dict.fromkeys(found)))


def _print_plan(planned: "Plan") -> None:
    axes = list(planned.runs[0].axes) if planned.runs else []
    table = Table(title=f"runs: {len(planned.runs)}", title_justify="left")
    for heading in ("run", *(axis.split(".")[-1] for axis in axes)):
        table.add_column(heading)
    for heading in ("parameters", "targets", "of", "MFLOP/target", "shared", "TFLOP", "MB/window"):
        table.add_column(heading, justify="right")
    for run in planned.runs:
        table.add_row(
            run.id,
            *(str(run.axes[axis]) for axis in axes),
            f"{sum(run.parameters.values()):,}",
            f"{run.targets:,}",
            "?" if run.epoch is None else f"{run.epoch:,}",
            f"{run.operations_per_target / 1e6:,.1f}",
            f"1/{run.naive_operations_per_target / run.operations_per_target:.1f}",
            f"{run.operations / 1e12:,.2f}",
            f"{run.window_bytes / 1e6:.2f}",
        )
    console.print(table)
    for note in planned.notes:
        console.print(f"note: {note}", markup=False, soft_wrap=True)
