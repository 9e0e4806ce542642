"""The verbs about corpora. Like those of ``cli``, each imports what it needs."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from scaling.cli.arguments import Config, Json, Words, console, file_and_overrides
from scaling.config import load

PRINTED = 40
"""Left-out files that are printed one by one."""
Prepared = Annotated[
    str,
    typer.Argument(
        metavar="CORPUS", help="A prepared corpus: a folder, or a URI such as s3://bucket/corpus."
    ),
]


def prepare(words: Words = None, config: Config = None) -> None:
    """Audio files to a prepared corpus: codes in shards, and a manifest with the references."""
    from datasets.prepare import prepare_corpus
    from datasets.storage import Folder
    from scaling.cli.corpus_tables import corpus_table
    from scaling.cli.progress import bars
    from scaling.cluster.ray_cluster import connected

    settings = load.corpus(*file_and_overrides(config, words))
    with connected(), bars(console) as show:
        root, destination = Folder.of(settings.root), Folder.of(settings.destination)
        corpus = prepare_corpus(settings.preparation(), root, destination, show)
    for left_out in corpus.rejected[:PRINTED]:
        console.print(f"left out {left_out.name!r}: {left_out.reason}", markup=False)
    if (more := len(corpus.rejected) - PRINTED) > 0:
        console.print(
            f"left out {more:,} files more: `python -m scaling describe {settings.destination}` "
            "counts them by reason, and corpus.json there lists all",
            markup=False,
            soft_wrap=True,
        )
    for difference in corpus.differences:
        console.print(f"note: {difference}", markup=False)
    console.print(corpus_table(corpus))


def verify(corpus: Prepared, as_json: Json = False) -> None:
    """Whether a prepared corpus is whole: each shard byte for byte, each recording in its shard."""
    from datasets.manifest import Corpus, ManifestError
    from datasets.verify import Verification
    from datasets.verify import verify_corpus as verify_corpus
    from scaling.cli.progress import bars

    try:
        prepared = Corpus.load(corpus)
    except ManifestError as error:
        found = Verification((str(error),), {})
    else:
        with bars(console) as show:
            found = verify_corpus(prepared, show)
    if as_json:
        print(json.dumps({**asdict(found), "notes": found.notes}))
    else:
        for note in found.notes:
            console.print(f"note: {note}", markup=False, highlight=False, soft_wrap=True)
        for problem in found.problems:
            console.print(f"problem: {problem}", markup=False, highlight=False, soft_wrap=True)
        if not found.problems:
            console.print(
                f"{prepared.folder} is whole: recordings {len(prepared.recordings):,}, "
                f"shards {len(prepared.shards):,}",
                markup=False,
                highlight=False,
                soft_wrap=True,
            )
    if found.problems:
        raise typer.Exit(1)


def describe(
    corpus: Prepared,
    out: Annotated[
        Path | None,
        typer.Option(
            help="The picture, a PNG; without it describe.png in the corpus's folder, or in the "
            "current one where that is on another machine."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """What is in a prepared corpus, from its manifest alone: figures, and a picture of them."""
    from datasets.manifest import Corpus
    from scaling.cli.corpus_tables import description_tables
    from scaling.reporting.corpus_description import describe as describe_corpus
    from scaling.reporting.corpus_picture import draw

    prepared = Corpus.load(corpus)
    description = describe_corpus(prepared)
    picture = out or (prepared.folder.local or Path.cwd()) / "describe.png"
    draw(prepared, picture)
    if as_json:
        print(json.dumps({**asdict(description), "picture": str(picture)}))
        return
    for table in description_tables(description):
        console.print(table)
    for difference in prepared.differences:
        console.print(f"note: {difference}", markup=False, highlight=False, soft_wrap=True)
    console.print(str(picture), markup=False, highlight=False, soft_wrap=True)
