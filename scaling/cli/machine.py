"""The verbs about this machine or its cluster: check it, measure it, and rehearse faults on it."""

import json
import sys
from contextlib import redirect_stdout
from dataclasses import asdict
from functools import partial
from typing import Annotated, Any, Literal

from typer import Argument, Exit, Option

from scaling.cli.arguments import Config, Json, Words, console, file_and_overrides, print_line
from scaling.cli.progress import progress_bars
from scaling.config import load
from scaling.config.load import ConfigError

FAULTS = "worker,node,preempt,disk"


def doctor(
    words: Words = None,
    config: Config = None,
    cluster: Annotated[
        bool, Option("--cluster", help="Check every node of the cluster as well.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Check whether this machine or a cluster can train.

    With --cluster, a configuration sets the requirements that the cluster must meet.
    """
    from scaling.cluster.doctor import examine
    from scaling.common.paths import CLONE

    asked = bool(config or words)
    if asked and not cluster:
        raise ConfigError("a configuration is checked against a cluster alone: add --cluster")
    run = load.sweep(*file_and_overrides(config, words)).runs[0][1] if asked else None
    results = examine(CLONE)
    if cluster:
        from scaling.cluster import preflight
        from scaling.cluster.ray_cluster import connected

        with connected():
            results += preflight.examine(run)
    if as_json:
        print(json.dumps([asdict(result) for result in results]))
    else:
        for result in results:
            print_line(f"{result.status:8} {result.name}: {result.sentence}")
    if any(result.status == "problem" for result in results):
        raise Exit(1)


def bench(
    subject: Annotated[
        Literal["model", "data", "workers"],
        Argument(help="Name the subject; each fast way is compared with a naive one."),
    ] = "model",
    as_json: Json = False,
) -> None:
    """Measure the model's fast paths, the data stream, or worker processes."""
    from scaling.benchmarks import data_bench, model_bench, worker_bench

    benches: dict[str, Any] = {"model": model_bench, "data": data_bench, "workers": worker_bench}
    with progress_bars(console) as show:
        measured = benches[subject].measure(partial(show, "measurements"))
    if as_json:
        print(json.dumps(asdict(measured), indent=1))
        return
    console.print(measured.table())


def rehearse(
    words: Words = None,
    config: Config = None,
    faults: Annotated[str, Option(help="Inject these faults, or all of them: all.")] = FAULTS,
    workers: Annotated[
        int, Option(min=2, help="Train on this many workers, each on its own node.")
    ] = 2,
    refused: Annotated[float, Option(help="Refuse checkpoints for this many seconds.")] = 20.0,
    minutes: Annotated[
        int | None,
        Option(min=4, help="Kill a worker about once a minute for this long instead, such as 60."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Inject faults into a sweep's first run, downscaled to this machine."""
    from tempfile import TemporaryDirectory

    from datasets.manifest import Corpus
    from scaling.config import check
    from scaling.fault_injection.local_cluster import local_cluster
    from scaling.fault_injection.rehearsal import SENTENCES, RehearsalRequest
    from scaling.fault_injection.rehearsal import rehearse as inject_faults
    from scaling.fault_injection.soak import BLOCK, soak

    run = load.sweep(*file_and_overrides(config, words)).runs[0][1]
    names = list(SENTENCES) if faults == "all" else faults.split(",")
    if minutes:
        names = ["worker"]
    if unknown := set(names) - set(SENTENCES):
        known = "; ".join(f"{name} ({sentence})" for name, sentence in SENTENCES.items())
        raise ConfigError(f"--faults has {', '.join(sorted(unknown))}: write some of {known}")
    with TemporaryDirectory() as storage:
        asked = RehearsalRequest(
            run, tuple(names), workers, storage, refused, minutes and BLOCK * minutes
        )
        if problems := check.problems(asked.undisturbed, Corpus.load(run.corpus)):
            raise ConfigError(problems)
        # Ray prints the deaths of processes to stdout, which is kept for the result.
        with redirect_stdout(sys.stderr), local_cluster(workers) as made:
            found = soak(asked) if minutes else inject_faults(asked, made)
    if as_json:
        print(json.dumps(found.as_json(), indent=1))
    else:
        console.print(found.table())
        print_line(found.verdict)
    if found.problems:
        raise Exit(1)
