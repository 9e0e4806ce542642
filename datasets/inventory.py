"""The audio files that a corpus can use: hashed, each counted once, each with its split."""

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass

from datasets import jobs, splits
from datasets.audio import AudioError, file_sha256
from datasets.jobs import Progress
from datasets.manifest import Rejected
from datasets.sources import FoundFiles, Source
from datasets.splits import SplitRule

FILES_PER_TASK = 64
"""Files that a task hashes."""


@dataclass(frozen=True)
class HashedFile:
    """A source with its SHA-256 (hex) and its size in bytes."""

    source: Source
    sha256: str
    bytes: int


@dataclass(frozen=True)
class EarlierSplits:
    """The splits that an earlier preparation has assigned: by a file's name, and by its SHA-256."""

    names: Mapping[str, str]
    contents: Mapping[str, str]


def read_stated_splits(rule: SplitRule, found: FoundFiles) -> dict[str, str]:
    """The splits that come with the corpus, by name; none where it has a rule of another kind.

    SplitError or AudioError where the files that state them are missing or not as they should be.
    """
    own: dict[str, str] = {}
    if rule.kind == "table":
        for prefix, text in found.read_texts(rule.files[0]):
            table = splits.read_split_table(rule, text)
            own |= {prefix + name: split for name, split in table.items()}
    elif rule.kind == "lists":
        for split, pattern in zip(("validation", "test"), rule.files, strict=True):
            for prefix, text in found.read_texts(pattern):
                own |= {prefix + line.strip(): split for line in text.splitlines() if line.strip()}
    return own


def select_usable(
    rule: SplitRule,
    found: FoundFiles,
    own: Mapping[str, str],
    earlier: EarlierSplits,
    progress: Progress,
) -> tuple[list[HashedFile], list[Rejected], dict[str, str]]:
    """The files that can be opened, differ from all others and have a split; the rest; the splits.

    ``own`` are the :func:`stated` splits. Of files with the same bytes one counts: that of an
    earlier preparation, or the first.
    """
    results = _hashed(found, progress)
    first: dict[str, str] = {}
    for source in sorted(found.sources, key=lambda source: source.name not in earlier.names):
        result = results[source.name]
        if isinstance(result, HashedFile) and (rule.kind != "table" or source.name in own):
            first.setdefault(result.sha256, source.name)
    good: list[HashedFile] = []
    rejected = list(found.refused)
    places: list[str] = []
    known = dict(earlier.names)
    for source in found.sources:
        name, result = source.name, results[source.name]
        if isinstance(result, str):
            reason = result
            places.append(name)
        elif rule.kind == "table" and name not in own:
            reason = f"the split table {rule.files[0]} does not name it"
        elif (other := first[result.sha256]) != name:
            reason = f"its bytes are those of {other}, and a recording counts once"
            # A second copy of a whole folder must not take places in the order of files.
            if os.path.dirname(other) == os.path.dirname(name):
                places.append(name)
        else:
            if result.sha256 in earlier.contents:
                known.setdefault(name, earlier.contents[result.sha256])
            good.append(result)
            places.append(name)
            continue
        rejected.append(Rejected(name, reason))
    owned = splits.assign_splits(
        rule, places, {name: known[name] for name in places if name in known}, own
    )
    rejected = [dataclasses.replace(entry, split=owned.get(entry.name, "")) for entry in rejected]
    return good, rejected, owned


def _hashed(found: FoundFiles, progress: Progress) -> dict[str, HashedFile | str]:
    results: dict[str, HashedFile | str] = {}
    for _, hashed in jobs.run_tasks(jobs.group_pieces(found.sources, FILES_PER_TASK), _hash_all):
        results.update(hashed)
        progress("hash", len(results), len(found.sources))
    return results


def _hash_all(sources: list[Source]) -> dict[str, HashedFile | str]:
    """Each file by name, hashed, or the reason why it cannot be."""
    results: dict[str, HashedFile | str] = {}
    for source in sources:
        try:
            with source.folder.reading(os.fsdecode(source.path)) as path:
                results[source.name] = HashedFile(source, file_sha256(path), path.stat().st_size)
        except (AudioError, OSError) as error:
            results[source.name] = str(error)
    return results
