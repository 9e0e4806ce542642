"""The verbs that score a finished run, or export its model."""

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from typer import Option

from scaling.cli.arguments import Json, Out, Run, console, print_line
from scaling.cli.progress import progress_bars
from scaling.config.load import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.table import Table

    from datasets.manifest import Corpus
    from scaling.evaluation.scores import Evaluation
    from scaling.runs.trained_model import TrainedModel

Split = Annotated[str, Option(help="Score this split: train, validation or test.")]
OtherCorpus = Annotated[
    str | None, Option(help="Read this corpus instead of the run's own, such as data/other.")
]
Protocol = Annotated[
    Literal["full-context", "from-silence"],
    Option(help="Give each target its full context, or score chunks that follow silence."),
]
Contexts = Annotated[
    str | None, Option(help="Score at each of these contexts, in samples, such as 16000,32000.")
]


def evaluate(
    run: Run,
    split: Split = "test",
    protocol: Protocol = "full-context",
    positions: Annotated[str, Option(help="Score this many random samples, or all.")] = "4096",
    history: Annotated[
        int | None,
        Option(help="Score targets with at least this many samples before them, such as 64000."),
    ] = None,
    contexts: Contexts = None,
    against: Annotated[
        Path | None,
        Option(help="Print the paired difference from another run, such as runs/demo/ID."),
    ] = None,
    corpus: OtherCorpus = None,
    as_json: Json = False,
) -> None:
    """Compute the exact loss of a run on a split (docs/evaluation.md)."""
    from datasets.manifest import Corpus
    from scaling.cli.score_tables import contexts_table
    from scaling.evaluation.evaluate import context_curve
    from scaling.evaluation.evaluate import evaluate as evaluate_run
    from scaling.runs.trained_model import TrainedModel

    if positions != "all" and (not positions.isdigit() or int(positions) < 1):
        raise ConfigError(f"--positions is {positions!r}: write all, or 1 or more, such as 4096")
    if contexts and against:
        raise ConfigError("--contexts and --against are both given: leave one of them out")
    seen = _contexts(contexts, protocol) if contexts else []
    runs = [TrainedModel.load(folder) for folder in (run, against) if folder]
    prepared = Corpus.load(corpus or runs[0].config.corpus)
    number = None if positions == "all" else int(positions)
    with progress_bars(console) as show:
        watch, transfer = partial(show, "targets"), bool(corpus)
        if seen:
            curve, found = context_curve(
                runs[0], prepared, split, seen, watch, number, history, transfer=transfer
            )
            runs *= len(found)
        else:
            # Two runs share their targets: those with enough history for the longer context.
            longest = max(one.config.model.context for one in runs)
            history = longest if history is None else history
            found = [
                evaluate_run(
                    one, prepared, split, watch, protocol, number, history, transfer=transfer
                )
                for one in runs
            ]
    paths = [one.write(of.folder) for of, one in zip(runs, found, strict=True)]
    if not seen:
        _show_evaluations(found, paths, as_json=as_json)
    elif as_json:
        print(json.dumps([one.model_dump() for one in curve], indent=1))
    else:
        console.print(contexts_table(curve, found[0]))


def _show_evaluations(
    found: "Sequence[Evaluation]", paths: "Iterable[Path]", *, as_json: bool
) -> None:
    """Print one evaluation, or two and their paired difference."""
    from scaling.evaluation.scores import Difference

    difference = Difference.of(*found) if len(found) > 1 else None
    if as_json:
        written = [one.model_dump(exclude={"by_second"}) for one in found]
        both = difference and {"runs": written, **difference.model_dump()}
        print(json.dumps(both or written[0], indent=1))
        return
    for one, path in zip(found, paths, strict=True):
        print_line(one.sentence)
        print_line(path.resolve())
    if difference:
        print_line(difference.sentence)


def _contexts(text: str, protocol: str) -> list[int]:
    """Parse the value of ``--contexts``, in samples."""
    if protocol != "full-context":
        raise ConfigError(
            f"--contexts is given, but --protocol is {protocol}: leave one of them out"
        )
    numbers = text.split(",")
    if not all(number.strip().isdigit() for number in numbers):
        raise ConfigError(f"--contexts is {text!r}: write samples, such as 16000,32000")
    return [int(number) for number in numbers]


def probe(
    run: Run,
    split: Split = "test",
    positions: Annotated[int, Option(min=1, help="Score this many random samples.")] = 512,
    seed: Annotated[int, Option(min=0, help="Seed the random numbers.")] = 0,
    corpus: OtherCorpus = None,
    as_json: Json = False,
) -> None:
    """Measure how much of its context a run uses.

    Compare its loss with the loss after old chunks are replaced.
    """
    from scaling.cli.score_tables import probe_table
    from scaling.evaluation.probe import probe as probe_run

    trained, prepared = _load(run, corpus)
    with progress_bars(console) as show:
        found = probe_run(trained, prepared, split, positions, seed, partial(show, "replacements"))
    _show(found, found.write(run), probe_table(found), [found.sentence], as_json=as_json)


def forecast(
    run: Run,
    season: Annotated[
        int, Option(min=1, help="Compare with the value this many rows before, such as 24.")
    ],
    split: Split = "test",
    corpus: OtherCorpus = None,
    as_json: Json = False,
) -> None:
    """Compare a run's forecasts of a series with naive ones.

    An autoregression is compared as well.
    """
    from scaling.cli.score_tables import forecast_table
    from scaling.evaluation.forecast import forecast as forecast_run

    trained, prepared = _load(run, corpus)
    with progress_bars(console) as show:
        found = forecast_run(trained, prepared, split, season, partial(show, "recordings"))
    _show(found, found.write(run), forecast_table(found), [], as_json=as_json)


def _load(run: Path, corpus: str | None) -> "tuple[TrainedModel, Corpus]":
    """Load a run's model, and its corpus or another one."""
    from datasets.manifest import Corpus
    from scaling.runs.trained_model import TrainedModel

    trained = TrainedModel.load(run)
    return trained, Corpus.load(corpus or trained.config.corpus)


def _show(
    found: Any, path: Path, table: "Table", sentences: "Iterable[str]", *, as_json: bool
) -> None:
    """Print a result as JSON, or as its table, sentences and file."""
    if as_json:
        print(found.model_dump_json(indent=1))
        return
    console.print(table)
    for line in (*sentences, path.resolve()):
        print_line(line)


def export(
    run: Run,
    out: Out = None,
    program: Annotated[
        bool, Option("--program", help="Export one step as a program for PyTorch alone, too.")
    ] = False,
) -> None:
    """Export a run's weights, configuration and model card.

    Write them to --out, or to `export` in the run's folder.
    """
    from scaling.inference.export import export_run
    from scaling.runs.trained_model import TrainedModel

    for path in export_run(TrainedModel.load(run), out or run / "export", program=program):
        print_line(path)
