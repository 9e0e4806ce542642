"""Files to recordings: which files make a take, which shard takes it, and what came of it."""

import itertools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

from pydantic import ValidationError

from datasets import jobs, splits
from datasets.convert import ConvertedTake, ShardFacts, Take, write_shard
from datasets.inventory import HashedFile
from datasets.jobs import Progress
from datasets.manifest import Recording, Shard
from datasets.settings import Settings
from datasets.splits import SplitRule
from datasets.storage import Folder

SHARD_BYTES, SHARD_TAKES = 2**26, 1_024
"""A shard is full with this many bytes of audio files, or this many takes."""

Results = list[tuple[Take, ShardFacts, ConvertedTake]]


def form_takes(
    files: Sequence[HashedFile], owned: Mapping[str, str], join: bool, copies: int
) -> list[Take]:
    """The takes of files in natural order: each file, or consecutive ones of a folder and a split.

    Training takes, and all where recordings are cut in time, come in ``copies`` changed ones too.
    """
    key: Callable[[HashedFile], object] = (
        (lambda file: (os.path.dirname(file.source.name), owned.get(file.source.name)))
        if join
        else (lambda file: file.source.name)
    )
    plain = []
    for _, group in itertools.groupby(files, key):
        members = list(group)
        sources = tuple(file.source for file in members)
        plain.append(Take(sources, tuple(file.sha256 for file in members)))
    changed = [
        Take(take.sources, take.sha256, epoch)
        for epoch in range(1, copies + 1)
        for take in plain
        if owned.get(take.sources[0].name, "train") == "train"
    ]
    return plain + changed


def convert_takes(
    asked: Sequence[Take],
    files: Sequence[HashedFile],
    settings: Settings,
    folder: Folder,
    progress: Progress,
) -> Results:
    """Each take with its shard and what became of it; takes that no shard holds are converted.

    Takes are dealt to shards in order, until each is full: so those that an interrupted call has
    finished leave the others' takes together as they were.
    """
    known = dict(_known(folder))
    identities = [take.identity(settings) for take in asked]
    missing = [i for i, identity in enumerate(identities) if identity not in known]
    sizes = {file.source.name: file.bytes for file in files}
    groups = [[asked[i] for i in group] for group in _full(missing, asked, sizes)]
    done = len(asked) - len(missing)
    work = partial(write_shard, folder=folder, settings=settings)
    for group, facts in jobs.run_tasks(groups, work):
        known.update((made.identity, (facts, made)) for made in facts.made)
        done += len(group)
        progress("convert", done, len(asked))
    return [(take, *known[identity]) for take, identity in zip(asked, identities, strict=True)]


def build_recordings(
    results: Results, owned: Mapping[str, str], rule: SplitRule
) -> tuple[tuple[Recording, ...], dict[str, Shard]]:
    """The recordings of these takes with the ranges that each split owns, and their shards."""
    found = []
    shards = {}
    for take, facts, made in results:
        for entry in made.entries:
            if rule.kind == "time":
                ranges = splits.cut_by_time(rule, entry.samples)
                if take.epoch:
                    ranges = {split: own for split, own in ranges.items() if split == "train"}
            else:
                ranges = {owned[entry.parts[0].name]: (0, entry.samples)}
            shards[facts.shard] = Shard(facts.size, facts.sha256)
            found.append(
                Recording(
                    name=entry.name,
                    shard=facts.shard,
                    row=entry.row,
                    samples=entry.samples,
                    parts=entry.parts,
                    level=entry.level,
                    epoch=entry.epoch,
                    ranges=ranges,
                )
            )
    return tuple(found), shards


def _known(folder: Folder) -> Iterator[tuple[str, tuple[ShardFacts, ConvertedTake]]]:
    """What the finished shards of a folder hold, by the identity of the take."""
    files = folder.list_files("shards")
    for name in sorted(files, reverse=True):
        if not name.endswith(".parquet.json"):
            continue
        try:
            facts = ShardFacts.of(folder.read_bytes(name))
        except ValidationError:
            continue  # Not written by this version: its shard counts as missing.
        if facts.sha256 and files.get(facts.shard) != facts.size:
            continue
        yield from ((made.identity, (facts, made)) for made in facts.made)


def _full(
    numbers: Sequence[int], asked: Sequence[Take], sizes: Mapping[str, int]
) -> Iterator[list[int]]:
    """The numbers of takes in groups, each as soon as it fills a shard."""
    group: list[int] = []
    held = 0
    for number in numbers:
        group.append(number)
        held += sum(sizes[source.name] for source in asked[number].sources)
        if held >= SHARD_BYTES or len(group) == SHARD_TAKES:
            yield group
            group, held = [], 0
    if group:
        yield group
