"""List the usable audio files of a corpus: hashed, each counted once, each with its split."""

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


@dataclass(frozen=True)
class HashedFile:
    """A source with its SHA-256 (hex) and its size in bytes."""

    source: Source
    sha256: str
    bytes: int


@dataclass(frozen=True)
class EarlierSplits:
    """Splits that an earlier preparation assigned, by file name and by SHA-256."""

    names: Mapping[str, str]
    contents: Mapping[str, str]


def read_stated_splits(rule: SplitRule, found: FoundFiles) -> dict[str, str]:
    """Return the stated splits by file name; SplitError or AudioError if a file is unusable."""
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
    """Return the usable files, the rejected ones, and the split of each file by name.

    A usable file can be opened, has a split, and repeats no other file's bytes. Of equal files one
    counts: that of an earlier preparation, or the first. ``own`` are the stated splits.
    """
    results = _hash_files(found, progress)
    first: dict[str, str] = {}
    for source in sorted(found.sources, key=lambda source: source.name not in earlier.names):
        result = results[source.name]
        if isinstance(result, HashedFile) and (rule.kind != "table" or source.name in own):
            first.setdefault(result.sha256, source.name)
    good: list[HashedFile] = []
    rejected = list(found.refused)
    counted: list[str] = []
    known = dict(earlier.names)
    for source in found.sources:
        name, result = source.name, results[source.name]
        if isinstance(result, str):
            reason = result
            counted.append(name)
        elif rule.kind == "table" and name not in own:
            reason = f"the split table {rule.files[0]} does not name it"
        elif (other := first[result.sha256]) != name:
            reason = f"its bytes are those of {other}, and a recording counts once"
            # A second copy of a whole folder must not shift the order of files.
            if os.path.dirname(other) == os.path.dirname(name):
                counted.append(name)
        else:
            if result.sha256 in earlier.contents:
                known.setdefault(name, earlier.contents[result.sha256])
            good.append(result)
            counted.append(name)
            continue
        rejected.append(Rejected(name, reason))
    before = {name: known[name] for name in counted if name in known}
    owned = splits.assign_splits(rule, counted, before, own)
    rejected = [dataclasses.replace(entry, split=owned.get(entry.name, "")) for entry in rejected]
    return good, rejected, owned


def _hash_files(found: FoundFiles, progress: Progress) -> dict[str, HashedFile | str]:
    results: dict[str, HashedFile | str] = {}
    for _, hashed in jobs.run_tasks(jobs.group_pieces(found.sources, FILES_PER_TASK), _hash_group):
        results.update(hashed)
        progress("hash", len(results), len(found.sources))
    return results


def _hash_group(sources: list[Source]) -> dict[str, HashedFile | str]:
    """Return by name each file with its hash, or the reason why it cannot be hashed."""
    results: dict[str, HashedFile | str] = {}
    for source in sources:
        try:
            with source.folder.reading(os.fsdecode(source.path)) as path:
                results[source.name] = HashedFile(source, file_sha256(path), path.stat().st_size)
        except (AudioError, OSError) as error:
            results[source.name] = str(error)
    return results
