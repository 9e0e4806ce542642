"""Whether a prepared corpus is whole: each shard byte for byte, each recording in its shard."""

import shlex
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pyarrow as pa

from datasets import shards
from datasets.files import PARTIAL
from datasets.manifest import FILE_NAME, Corpus, Recording
from datasets.shards import BLOCK, ShardError
from datasets.storage import Folder

THREADS = 8
"""Shards that are read at once, each in blocks of some MiB."""
AGAIN = "`python -m scaling prepare --config ...`, which makes it again"


@dataclass(frozen=True)
class Verification:
    """What is wrong with a corpus, a sentence each, and the files that it does without.

    ``unnamed`` are the files in ``shards`` that the manifest does not name, with their bytes.
    """

    problems: tuple[str, ...]
    unnamed: dict[str, int]

    @property
    def notes(self) -> tuple[str, ...]:
        """What may be known and is no problem, a sentence each."""
        if not self.unnamed:
            return ()
        return (
            f"{len(self.unnamed)} files in shards ({sum(self.unnamed.values()):,} bytes), such as "
            f"{next(iter(self.unnamed))!r}, are not of this corpus: earlier settings, or a call "
            "that was killed, have left them, and deleting them is safe.",
        )


def verify_corpus(corpus: Corpus, progress: Callable[[str, int, int], None]) -> Verification:
    """Read every shard of a corpus and compare it with the manifest; Ray is not needed.

    ``progress`` is called with a step, and how many of its parts are done of how many.
    """
    present, owned = corpus.folder.list_files(), _owned(corpus)
    problems = [
        f"{name} ({size:,} bytes) is half-written, by a call that was killed: where no "
        f"`prepare` of this corpus is running, {_remove(corpus.folder, name)}."
        for name, size in _half_written(present).items()
    ]

    def problem(shard: str) -> str | None:
        return _problem(corpus, shard, owned[shard], present)

    with ThreadPoolExecutor(THREADS) as pool:
        for done, found in enumerate(pool.map(problem, owned), 1):
            problems += [found] if found else []
            progress("verify", done, len(owned))
    unnamed = {
        name: size
        for name, size in sorted(present.items())
        if name.startswith("shards/")
        and not name.endswith(PARTIAL)
        # A description without its shard is what `prepare` remembers of files of no use.
        and (shard := name.removesuffix(".json")) in present
        and shard not in corpus.shards
    }
    return Verification(tuple(problems), unnamed)


def quick_check(corpus: Corpus) -> list[str]:
    """What is wrong with the sizes of the shards, or with the smallest one, which is read whole."""
    present, owned = corpus.folder.list_files(), _owned(corpus)
    sizes = [_size_problem(corpus, shard, owned[shard], present) for shard in owned]
    if found := [sentence for sentence in sizes if sentence]:
        return found
    smallest = min(owned, key=lambda shard: corpus.shards[shard].bytes)
    sentence = _problem(corpus, smallest, owned[smallest], present)
    return [sentence] if sentence else []


def _owned(corpus: Corpus) -> dict[str, list[Recording]]:
    """The recordings of each shard."""
    owned: dict[str, list[Recording]] = {name: [] for name in corpus.shards}
    for recording in corpus.recordings:
        owned.setdefault(recording.shard, []).append(recording)
    return owned


def _size_problem(
    corpus: Corpus, shard: str, owned: Sequence[Recording], present: Mapping[str, int]
) -> str | None:
    """What is wrong with a shard as it is listed; None where nothing is."""
    stated, size = corpus.shards.get(shard), present.get(shard)
    if stated is None:
        return (
            f"{FILE_NAME} puts {owned[0].name!r} into {shard} and does not state the SHA-256 of "
            f"that: type {AGAIN}."
        )
    if size is None:
        return f"{shard} is missing: type {AGAIN}."
    if size != stated.bytes:
        return f"{shard} has {size:,} bytes, {FILE_NAME} states {stated.bytes:,}: type {AGAIN}."
    return None


def _problem(
    corpus: Corpus, shard: str, owned: Sequence[Recording], present: Mapping[str, int]
) -> str | None:
    """What is wrong with a shard and the recordings in it, as a sentence; None where nothing is."""
    if sentence := _size_problem(corpus, shard, owned, present):
        return sentence
    # `prepare` knows a shard by its name and its size: one whose content alone is damaged it keeps.
    remedy = f"{_remove(corpus.folder, shard)}, then type {AGAIN}."
    try:
        if corpus.folder.sha256(shard) != corpus.shards[shard].sha256:
            return (
                f"{shard} is damaged, as it has the size and not the SHA-256 that {FILE_NAME} "
                f"states: {remedy}"
            )
        rows = shards.read_row_groups(corpus.folder, shard)
        lost = [entry for entry in owned if not _holds(corpus.folder, rows, entry)]
    except (OSError, pa.ArrowException) as error:
        return f"{shard} cannot be read ({error}): {remedy}"
    if lost:
        return (
            f"{shard} does not hold {len(lost)} of its {len(owned)} recordings as {FILE_NAME} "
            f"states them, such as {lost[0].name!r} with {lost[0].samples:,} samples from row "
            f"group {lost[0].row} on: {remedy}"
        )
    return None


def _holds(folder: Folder, rows: Sequence[tuple[str, int]], recording: Recording) -> bool:
    """Whether these row groups of the recording's shard, and their codes, are the recording's."""
    offsets = range(0, recording.samples, BLOCK)
    end = recording.row + len(offsets)
    found = rows[recording.row : end]
    if not found or found != [(recording.name, offset) for offset in offsets]:
        return False
    if (recording.name, len(offsets) * BLOCK) in rows[end : end + 1]:
        return False  # It goes on.
    try:
        # A read of any code compares the length of its block.
        for offset in offsets:
            shards.read(folder, recording.location, offset, 1)
    except ShardError:
        return False
    return True


def _half_written(present: Mapping[str, int]) -> dict[str, int]:
    """The bytes of each file or folder at the places where temporary names are given."""
    found: dict[str, int] = {}
    for name, size in present.items():
        # Deeper lie the members of archives, whose names are not ours.
        place = "/".join(name.split("/")[:2])
        if place.endswith(PARTIAL):
            found[place] = found.get(place, 0) + size
    return found


def _remove(folder: Folder, name: str) -> str:
    """What makes a file or a folder go away, as the begin of a sentence's last part."""
    path = f"{folder}/{name}"
    if folder.local is None:
        return f"remove {path}"
    return f"type `{'rm -r' if (folder.local / name).is_dir() else 'rm'} {shlex.quote(path)}`"
