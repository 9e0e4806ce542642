"""The verbs about corpora: prepare, verify and describe."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from typer import Argument, Exit, Option

from scaling.cli.arguments import Config, Json, Words, console, file_and_overrides, print_line
from scaling.cli.progress import progress_bars
from scaling.config import load

PRINTED = 40
"""Left-out files that are printed one by one."""
Prepared = Annotated[
    str,
    Argument(
        metavar="CORPUS",
        help="Name a prepared corpus, such as data/embedded or s3://bucket/corpus.",
    ),
]


def prepare(words: Words = None, config: Config = None) -> None:
    """Prepare a corpus from audio files.

    Write shards of codes, and a manifest with the losses of two reference models.
    """
    from datasets.prepare import prepare_corpus
    from datasets.storage import Folder
    from scaling.cli.corpus_tables import corpus_table
    from scaling.cluster.ray_cluster import connected

    settings = load.corpus(*file_and_overrides(config, words))
    with connected(), progress_bars(console) as show:
        root, destination = Folder.of(settings.root), Folder.of(settings.destination)
        corpus = prepare_corpus(settings.preparation(), root, destination, show)
    for left_out in corpus.rejected[:PRINTED]:
        print_line(f"left out {left_out.name!r}: {left_out.reason}")
    if (more := len(corpus.rejected) - PRINTED) > 0:
        print_line(
            f"left out {more:,} files more: `python -m scaling describe {settings.destination}` "
            "counts them by reason, and corpus.json there lists all"
        )
    for difference in corpus.differences:
        print_line(f"note: {difference}")
    console.print(corpus_table(corpus))


def verify(corpus: Prepared, as_json: Json = False) -> None:
    """Verify every byte and every recording of a prepared corpus."""
    from datasets.manifest import Corpus, ManifestError
    from datasets.verify import Verification, verify_corpus

    try:
        prepared = Corpus.load(corpus)
    except ManifestError as error:
        found = Verification((str(error),), {})
    else:
        with progress_bars(console) as show:
            found = verify_corpus(prepared, show)
    if as_json:
        print(json.dumps({**asdict(found), "notes": found.notes}))
    else:
        for note in found.notes:
            print_line(f"note: {note}")
        for problem in found.problems:
            print_line(f"problem: {problem}")
        if not found.problems:
            print_line(
                f"{prepared.folder} is whole: recordings {len(prepared.recordings):,}, "
                f"shards {len(prepared.shards):,}"
            )
    if found.problems:
        raise Exit(1)


def describe(
    corpus: Prepared,
    out: Annotated[Path | None, Option(help="Write the picture to this PNG file.")] = None,
    as_json: Json = False,
) -> None:
    """Describe a prepared corpus by figures and a picture.

    The picture is describe.png in the corpus's folder, unless --out names another file. If the
    corpus is on another machine, it is written to the current folder.
    """
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
        print_line(f"note: {difference}")
    print_line(picture)
