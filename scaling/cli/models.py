"""The verbs about models: compare them, score one, export one, probe one."""

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from scaling.cli.arguments import Config, Json, Words, console, file_and_overrides, resumable
from scaling.config import load
from scaling.config.load import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from datasets.manifest import Corpus
    from scaling.evaluation.scores import Evaluation
    from scaling.reporting.report import ReportPaths
    from scaling.runs.record import RunRecord
    from scaling.runs.trained_model import TrainedModel

Run = Annotated[Path, typer.Argument(help="A finished run's folder, such as runs/demo/ID.")]


def compare(words: Words = None, config: Config = None, as_json: Json = False) -> None:
    """Train the models of a comparison on equal budgets, score all alike, and print the table."""
    from scaling.cli.progress import bars, shown
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
        rows = comparing.trained(asked, runs)
        with shown(rows[0].study_folder, at_once, console):
            comparing.train(asked, rows, at_once)
        with bars(console) as show:
            found = comparing.table(asked, rows, lambda done, of: show("evaluations", done, of))
    folder = rows[0].study_folder
    path = found.write(folder)
    written = write_comparison([comparing.finished_run_record(row) for row in rows], folder)
    if as_json:
        print(path.read_text())
        return
    console.print(comparison_table(found))
    for line in written.headlines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    console.print(f"{written.html.resolve()}", soft_wrap=True, highlight=False)


def compared(folder: Path) -> bool:
    """Whether the study is a comparison."""
    from scaling.comparison.table import FILE_NAME

    return (folder / FILE_NAME).exists()


def write_comparison(records: "Sequence[RunRecord]", folder: Path) -> "ReportPaths":
    """The comparison's page and CSV, from its ``comparison.json``."""
    from scaling.comparison.page import write_page
    from scaling.comparison.table import FILE_NAME, Comparison

    return write_page(Comparison.read(folder / FILE_NAME), records, folder)


def evaluate(
    run: Run,
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "test",
    protocol: Annotated[
        Literal["full-context", "from-silence"],
        typer.Option(help="All of the context before each target, or chunks after silence."),
    ] = "full-context",
    positions: Annotated[
        str, typer.Option(help="all, or how many random samples (full-context).")
    ] = "4096",
    history: Annotated[
        int | None,
        typer.Option(help="Samples before each target, to match models of longer contexts."),
    ] = None,
    contexts: Annotated[
        str | None,
        typer.Option(help="Samples to see, such as 16000,32000: the curve over contexts."),
    ] = None,
    against: Annotated[
        Path | None, typer.Option(help="Another run's folder: the paired difference to it.")
    ] = None,
    corpus: Annotated[
        str | None, typer.Option(help="Another corpus's folder, or the run's own that moved.")
    ] = None,
    as_json: Json = False,
) -> None:
    """The exact loss of a run on a split, with its standard error (docs/evaluation.md)."""
    from datasets.manifest import Corpus
    from scaling.cli.progress import bars
    from scaling.evaluation.evaluate import evaluate as evaluate_run
    from scaling.runs.trained_model import TrainedModel

    if positions != "all" and (not positions.isdigit() or int(positions) < 1):
        raise ConfigError([f"positions is {positions!r}: write all, or 1 or more, as 4096"])
    if contexts and against:
        raise ConfigError(["contexts and against are both given: leave one of them out"])
    seen = _contexts(contexts, protocol) if contexts else []
    runs = [TrainedModel.load(folder) for folder in (run, against) if folder]
    prepared = Corpus.load(corpus or runs[0].config.corpus)
    number = None if positions == "all" else int(positions)
    if seen:
        _evaluate_contexts(
            *(runs[0], prepared, split, seen, number, history),
            transfer=bool(corpus),
            as_json=as_json,
        )
        return
    # Two runs are scored on the same targets: those that have the longer one's context.
    longest = max(one.config.model.context for one in runs)
    history = longest if history is None else history
    with bars(console) as show:
        watch = partial(show, "targets")
        found = [
            evaluate_run(
                one, prepared, split, watch, protocol, number, history, transfer=bool(corpus)
            )
            for one in runs
        ]
    paths = [one.write(of.folder) for of, one in zip(runs, found, strict=True)]
    _show_evaluations(found, paths, as_json=as_json)


def _show_evaluations(
    found: "Sequence[Evaluation]", paths: "Iterable[Path]", *, as_json: bool
) -> None:
    """One evaluation, or two and their paired difference."""
    from scaling.evaluation.paired import Difference

    difference = Difference.of(*found) if len(found) > 1 else None
    if as_json:
        written = [one.model_dump(exclude={"by_second"}) for one in found]
        both = difference and {"runs": written, **difference.model_dump()}
        print(json.dumps(both or written[0], indent=1))
        return
    for one, path in zip(found, paths, strict=True):
        console.print(one.sentence, markup=False, highlight=False, soft_wrap=True)
        console.print(str(path.resolve()), soft_wrap=True, highlight=False)
    if difference:
        console.print(difference.sentence, soft_wrap=True, highlight=False)


def _evaluate_contexts(
    run: "TrainedModel",
    corpus: "Corpus",
    split: str,
    contexts: list[int],
    positions: int | None,
    history: int | None,
    *,
    transfer: bool,
    as_json: bool,
) -> None:
    from scaling.cli.progress import bars
    from scaling.cli.score_tables import contexts_table
    from scaling.evaluation.context_curve import context_curve

    with bars(console) as show:
        curve, evaluations = context_curve(
            run,
            corpus,
            split,
            contexts,
            lambda done, total: show("targets", done, total),
            positions,
            history,
            transfer=transfer,
        )
    for one in evaluations:
        one.write(run.folder)
    if as_json:
        print(json.dumps([one.model_dump() for one in curve], indent=1))
        return
    console.print(contexts_table(curve, evaluations[0]))


def _contexts(text: str, protocol: str) -> list[int]:
    """The contexts of ``--contexts``; ConfigError where it says something else."""
    if protocol != "full-context":
        raise ConfigError([f"contexts is given, but protocol is {protocol}: leave one of them out"])
    numbers = text.split(",")
    if not all(number.strip().isdigit() for number in numbers):
        raise ConfigError([f"contexts is {text!r}: write samples, as 16000,32000"])
    return [int(number) for number in numbers]


def export(
    run: Run,
    out: Annotated[
        Path | None, typer.Option(help="A folder; without it `export` in the run's folder.")
    ] = None,
    program: Annotated[
        bool, typer.Option("--program", help="Also one step for PyTorch alone (torch.export).")
    ] = False,
) -> None:
    """A run's model as a folder for others: weights, configuration, model card."""
    from scaling.inference.export import export_run
    from scaling.runs.trained_model import TrainedModel

    for path in export_run(TrainedModel.load(run), out or run / "export", program=program):
        console.print(str(path), soft_wrap=True, highlight=False)


def probe(
    run: Run,
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "test",
    positions: Annotated[int, typer.Option(min=1, help="Random samples of it.")] = 512,
    seed: Annotated[int, typer.Option(min=0, help="Of what replaces old chunks.")] = 0,
    corpus: Annotated[
        str | None, typer.Option(help="The corpus's folder, where it is not the run's own.")
    ] = None,
    as_json: Json = False,
) -> None:
    """How much of its context a run uses: its loss where old chunks are replaced."""
    from datasets.manifest import Corpus
    from scaling.cli.progress import bars
    from scaling.cli.score_tables import probe_table
    from scaling.evaluation.probe import probe as probe_run
    from scaling.runs.trained_model import TrainedModel

    trained = TrainedModel.load(run)
    prepared = Corpus.load(corpus or trained.config.corpus)
    with bars(console) as show:
        found = probe_run(
            trained,
            prepared,
            split,
            positions,
            seed,
            lambda done, total: show("replacements", done, total),
        )
    path = found.write(run)
    if as_json:
        print(found.model_dump_json(indent=1))
        return
    console.print(probe_table(found))
    console.print(found.sentence, markup=False, highlight=False, soft_wrap=True)
    console.print(str(path.resolve()), soft_wrap=True, highlight=False)


def forecast(
    run: Run,
    season: Annotated[int, typer.Option(min=1, help="Rows of a season, as 24 hours of a day.")],
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "test",
    corpus: Annotated[
        str | None, typer.Option(help="The corpus's folder, where it is not the run's own.")
    ] = None,
    as_json: Json = False,
) -> None:
    """How near the next value of a series a run comes, beside naive ways and an autoregression."""
    from datasets.manifest import Corpus
    from scaling.cli.progress import bars
    from scaling.cli.score_tables import forecast_table
    from scaling.evaluation.forecast import forecast as forecast_run
    from scaling.runs.trained_model import TrainedModel

    trained = TrainedModel.load(run)
    prepared = Corpus.load(corpus or trained.config.corpus)
    with bars(console) as show:
        found = forecast_run(
            trained, prepared, split, season, lambda done, total: show("recordings", done, total)
        )
    path = found.write(run)
    if as_json:
        print(found.model_dump_json(indent=1))
        return
    console.print(forecast_table(found))
    console.print(str(path.resolve()), soft_wrap=True, highlight=False)
