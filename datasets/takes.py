"""Form takes from files, convert them to shards, and list the recordings."""

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

SHARD_BYTES, SHARD_TAKES = 2**26, 1_024  # of audio files, either fills a shard

Results = list[tuple[Take, ShardFacts, ConvertedTake]]


def form_takes(
    files: Sequence[HashedFile], owned: Mapping[str, str], join: bool, copies: int
) -> list[Take]:
    """Return the takes of files in natural order, then ``copies`` changed ones of training takes.

    A take is one file or, with ``join``, consecutive files of one folder and split. If recordings
    are cut in time, every take is a training take. ``owned`` is the split of each file by name.
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
    """Convert the takes that are in no shard; return every take with its shard and its result.

    Takes fill the shards in order. After an interruption, the finished ones therefore do not change
    which of the others share a shard.
    """
    known = dict(_read_finished(folder))
    identities = [take.identity(settings) for take in asked]
    paired = zip(asked, identities, strict=True)
    missing = [take for take, identity in paired if identity not in known]
    sizes = {file.source.name: file.bytes for file in files}

    def size(take: Take) -> int:
        return sum(sizes[source.name] for source in take.sources)

    groups = jobs.fill_groups(missing, size, SHARD_BYTES, SHARD_TAKES)
    done = len(asked) - len(missing)
    work = partial(write_shard, folder=folder, settings=settings)
    for group, facts in jobs.run_tasks(groups, work):
        known.update((result.identity, (facts, result)) for result in facts.made)
        done += len(group)
        progress("convert", done, len(asked))
    return [(take, *known[identity]) for take, identity in zip(asked, identities, strict=True)]


def build_recordings(
    results: Results, owned: Mapping[str, str], rule: SplitRule
) -> tuple[tuple[Recording, ...], dict[str, Shard]]:
    """Return the recordings of these takes, with the ranges of each split, and their shards."""
    found = []
    shards = {}
    for take, facts, result in results:
        for entry in result.entries:
            if rule.kind == "time":
                ranges = splits.cut_by_time(rule, entry.samples)
                if take.epoch:
                    ranges = {split: own for split, own in ranges.items() if split == "train"}
            else:
                ranges = {owned[entry.parts[0].name]: (0, entry.samples)}
            shards[facts.shard] = Shard(facts.size, facts.sha256)
            found.append(Recording(shard=facts.shard, ranges=ranges, **vars(entry)))
    return tuple(found), shards


def _read_finished(folder: Folder) -> Iterator[tuple[str, tuple[ShardFacts, ConvertedTake]]]:
    """Yield the takes in the finished shards of a folder, each with its identity."""
    files = folder.list_files("shards")
    for name in sorted(files, reverse=True):
        if not name.endswith(".parquet.json"):
            continue
        try:
            facts = ShardFacts.from_json(folder.read_bytes(name))
        except ValidationError:
            continue  # Another version wrote it: its shard counts as missing.
        if facts.sha256 and files.get(facts.shard) != facts.size:
            continue
        yield from ((result.identity, (facts, result)) for result in facts.made)
