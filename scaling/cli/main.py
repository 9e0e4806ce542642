"""The command line's verbs. Each imports what it needs: help, plan and report need no Ray."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from scaling.cli import audio, corpora, design, fit, models, plan, rehearse, report
from scaling.cli.arguments import Config, Json, Words, console, file_and_overrides, resumable
from scaling.config import load
from scaling.config.load import ConfigError

PAGE_NAME = "report.html"


if TYPE_CHECKING:
    from scaling.orchestration.restarts import TrainingError

app = typer.Typer(
    name="python -m scaling",
    help="Longwave: how raw-audio next-sample models scale with context, chunk and depth.",
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Folder = Annotated[Path, typer.Argument(help="A study's folder, such as runs/demo.")]


@app.callback()
def begin(context: typer.Context) -> None:
    """Show the verbs, and which of them comes next."""
    if context.invoked_subcommand is None:
        print(context.get_help())
        console.print(f"\n{next_step(Path.cwd())}", soft_wrap=True, markup=False, highlight=False)


VERBS: tuple[Callable[..., None], ...] = (
    *(corpora.prepare, corpora.verify, corpora.describe),
    *(models.compare, models.evaluate, models.export, models.probe),
    models.forecast,
    *(audio.generate, audio.listen),
    rehearse.rehearse,
    fit.fit,
    *(design.design, design.power),
    report.report,
    plan.plan,
)
for verb in VERBS:
    app.command()(verb)


@app.command()
def train(words: Words = None, config: Config = None) -> None:
    """Train one run to its end, from its newest checkpoint if it has one."""
    run = load.run(*file_and_overrides(config, words))
    # What is wrong with the configuration is said before Ray and PyTorch take seconds to load.
    from scaling.cli.progress import shown
    from scaling.orchestration.start import cluster_for
    from scaling.orchestration.train import make_job
    from scaling.orchestration.train import train as train_run
    from scaling.runs.record import bits
    from scaling.runs.study import register

    with resumable(), cluster_for([run]):
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
def sweep(
    words: Words = None,
    config: Config = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a study that was begun; begin none.")
    ] = False,
) -> None:
    """Train every run of a sweep that has not ended yet; runs that failed are tried again.

    It goes on with a study that was begun, too, with --resume or without.
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
        console.print(f"error: {failure}", markup=False, soft_wrap=True)
    ended = sum(finished_record(run) is not None for run in runs)
    console.print(
        f"{asked.study_folder}: {ended} of {len(runs)} runs have ended, {before} of them before",
        soft_wrap=True,
    )
    if failures:
        raise typer.Exit(1)


@app.command()
def status(folder: Folder, as_json: Json = False) -> None:
    """What each run of a study does: it waits, runs, is finished, or why it is neither."""
    from dataclasses import asdict

    from scaling.cli.progress import table
    from scaling.runs.study import read_states

    states = read_states(folder)
    if as_json:
        print(json.dumps([asdict(state) for state in states]))
        return
    console.print(table(states, str(folder)))
    for state in states:
        if state.problem:
            console.print(f"{state.id}: {state.problem}", markup=False, soft_wrap=True)


@app.command()
def bench(
    what: Annotated[
        Literal["model", "data", "workers"],
        typer.Argument(help="The model's fast paths, the stream, or four worker processes."),
    ] = "model",
    as_json: Json = False,
) -> None:
    """What is fast on this machine, each way beside the naive one; what workers say and save."""
    from scaling.benchmarks import data_bench, model_bench, worker_bench
    from scaling.cli.progress import bars

    benches: dict[str, Any] = {"model": model_bench, "data": data_bench, "workers": worker_bench}
    with bars(console) as show:
        measured = benches[what].measure(lambda done, total: show("measurements", done, total))
    if as_json:
        print(json.dumps(measured.as_json(), indent=1))
        return
    console.print(measured.table())


@app.command()
def doctor(
    words: Words = None,
    config: Config = None,
    cluster: Annotated[
        bool, typer.Option("--cluster", help="Look at every node of the cluster, too.")
    ] = False,
    as_json: Json = False,
) -> None:
    """What stands between this machine, or a cluster, and a run, each as one sentence.

    With --cluster a configuration says what the cluster is to be fit for.
    """
    from dataclasses import asdict

    from scaling.cluster.doctor import examine
    from scaling.common.paths import CLONE

    asked = bool(config or words)
    if asked and not cluster:
        raise ConfigError(["a configuration says what a cluster is to be fit for: add --cluster"])
    run = load.sweep(*file_and_overrides(config, words)).runs[0][1] if asked else None
    findings = examine(CLONE)
    if cluster:
        from scaling.cluster import preflight
        from scaling.cluster.ray_cluster import connected

        with connected():
            findings += preflight.examine(run)
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


def _sweep(asked: load.Sweep) -> "list[TrainingError]":
    from scaling.cli.progress import shown
    from scaling.cluster.ray_cluster import cluster_resources
    from scaling.orchestration.start import cluster_for
    from scaling.sweeps import sweep as sweeps

    with resumable(), cluster_for([run for _, run in asked.runs]):
        concurrent = sweeps.concurrent(asked, cluster_resources())
        with shown(asked.study_folder, concurrent, console):
            return sweeps.run(asked, concurrent)


def next_step(here: Path) -> str:
    """A sentence for somebody who stands in the folder ``here`` and does not know what to do."""
    from datasets.manifest import FILE_NAME as MANIFEST_NAME
    from scaling.runs.record import FILE_NAME as RECORD_NAME
    from scaling.runs.study import STUDY_NAME, read_states

    if not list(here.glob(f"data/*/{MANIFEST_NAME}")):
        return (
            "There is no corpus yet. Type `python -m scaling prepare "
            "configs/corpora/embedded.yaml` for the recording that ships with Longwave, or copy "
            "configs/corpora/folder.yaml for audio of your own."
        )
    studies = sorted(here.glob(f"runs/*/{STUDY_NAME}"), key=lambda path: path.stat().st_mtime)
    if not studies:
        return (
            "There is a corpus, and no study of it yet. Type `python -m scaling plan "
            "configs/sweeps/demo.yaml` to see what one costs, and `sweep` in place of `plan` to "
            "start it."
        )
    folder = studies[-1].parent
    named, page = folder.relative_to(here), folder / PAGE_NAME
    records = [path.stat().st_mtime for path in folder.glob(f"*/{RECORD_NAME}")]
    if not records or any(run.state not in ("finished", "pruned") for run in read_states(folder)):
        return f"Not every run of {named} is finished. Type `python -m scaling status {named}`."
    if not page.exists() or page.stat().st_mtime < max(records):
        return f"Every run of {named} is finished. Type `python -m scaling report {named}`."
    return (
        f"{named} has its report: open {named / PAGE_NAME}, or type `python -m scaling listen "
        f"{named}` to hear its runs."
    )
