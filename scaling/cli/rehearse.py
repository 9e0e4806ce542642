"""The command line's verbs about clusters and what can happen on them."""

import json
import sys
from contextlib import redirect_stdout
from typing import Annotated

import typer

from scaling.cli.arguments import Config, Json, Words, console, file_and_overrides
from scaling.config import load
from scaling.config.load import ConfigError


def rehearse(
    words: Words = None,
    config: Config = None,
    faults: Annotated[
        str, typer.Option(help="Names with commas between them, or all.")
    ] = "worker,node,preempt,disk",
    workers: Annotated[int, typer.Option(min=2, help="Workers, each on a node of its own.")] = 2,
    refused: Annotated[
        float, typer.Option(help="Seconds for which the storage refuses checkpoints.")
    ] = 20.0,
    minutes: Annotated[
        int | None,
        typer.Option(min=4, help="Instead: kill a random worker about once in each of so many."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Shrink a sweep's first run to this machine, and say which faults it survives."""
    from tempfile import TemporaryDirectory

    from datasets.manifest import Corpus
    from scaling.config import check
    from scaling.fault_injection.local_cluster import local_cluster
    from scaling.fault_injection.rehearsal import SENTENCES, RehearsalRequest
    from scaling.fault_injection.rehearsal import rehearse as strike
    from scaling.fault_injection.soak import BLOCK, soak

    run = load.sweep(*file_and_overrides(config, words)).runs[0][1]
    names = list(SENTENCES) if faults == "all" else faults.split(",")
    if minutes:
        names = ["worker"]
    if unknown := set(names) - set(SENTENCES):
        known = "; ".join(f"{name} ({sentence})" for name, sentence in SENTENCES.items())
        raise ConfigError([f"--faults has {', '.join(sorted(unknown))}: write some of {known}"])
    with TemporaryDirectory() as storage:
        asked = RehearsalRequest(
            run, tuple(names), workers, storage, refused, minutes and BLOCK * minutes
        )
        if problems := check.problems(asked.undisturbed, Corpus.load(run.corpus)):
            raise ConfigError(problems)
        # Ray prints what dies to where the result is to be printed.
        with redirect_stdout(sys.stderr), local_cluster(workers) as made:
            found = soak(asked) if minutes else strike(asked, made)
    if as_json:
        print(json.dumps(found.as_json(), indent=1))
    else:
        console.print(found.table())
        console.print(found.verdict, markup=False, highlight=False, soft_wrap=True)
    if found.problems:
        raise typer.Exit(1)
