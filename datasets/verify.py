"""Verify a prepared corpus: the bytes of each shard, and each recording in its shard."""

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

THREADS = 8  # shards that are read at once, each in blocks of some MiB
AGAIN = "`python -m scaling prepare --config ...`, which makes it again"


@dataclass(frozen=True)
class Verification:
    """Problems of a corpus, a sentence each, and the files that it does not need.

    ``unnamed`` maps the files in ``shards`` that the manifest does not name to their bytes.
    """

    problems: tuple[str, ...]
    unnamed: dict[str, int]

    @property
    def notes(self) -> tuple[str, ...]:
        """Remarks that are no problem, a sentence each."""
        if not self.unnamed:
            return ()
        return (
            f"{len(self.unnamed)} files in shards ({sum(self.unnamed.values()):,} bytes), such as "
            f"{next(iter(self.unnamed))!r}, are not of this corpus: earlier settings, or a call "
            "that was killed, have left them, and deleting them is safe.",
        )


def verify_corpus(corpus: Corpus, progress: Callable[[str, int, int], None]) -> Verification:
    """Compare every shard with the manifest; ``progress`` gets the step, done and all parts."""
    present, owned = corpus.folder.list_files(), _recordings_by_shard(corpus)
    problems = [
        f"{name} ({size:,} bytes) is half-written, by a call that was killed: if no "
        f"`prepare` of this corpus is running, {_removal(corpus.folder, name)}."
        for name, size in _half_written(present).items()
    ]

    def check(shard: str) -> str | None:
        return _check_shard(corpus, shard, owned[shard], present)

    with ThreadPoolExecutor(THREADS) as pool:
        for done, problem in enumerate(pool.map(check, owned), 1):
            problems += [problem] if problem else []
            progress("verify", done, len(owned))
    unnamed = {
        name: size
        for name, size in sorted(present.items())
        if name.startswith("shards/")
        and not name.endswith(PARTIAL)
        # Facts without a shard are `prepare`'s memory of files without use.
        and (shard := name.removesuffix(".json")) in present
        and shard not in corpus.shards
    }
    return Verification(tuple(problems), unnamed)


def quick_check(corpus: Corpus) -> list[str]:
    """Check the sizes of all shards and read the smallest one; return the problems found."""
    present, owned = corpus.folder.list_files(), _recordings_by_shard(corpus)
    sizes = [_check_size(corpus, shard, owned[shard], present) for shard in owned]
    if found := [problem for problem in sizes if problem]:
        return found
    smallest = min(owned, key=lambda shard: corpus.shards[shard].bytes)
    problem = _check_shard(corpus, smallest, owned[smallest], present)
    return [problem] if problem else []


def _recordings_by_shard(corpus: Corpus) -> dict[str, list[Recording]]:
    owned: dict[str, list[Recording]] = {name: [] for name in corpus.shards}
    for recording in corpus.recordings:
        owned.setdefault(recording.shard, []).append(recording)
    return owned


def _check_size(
    corpus: Corpus, shard: str, owned: Sequence[Recording], present: Mapping[str, int]
) -> str | None:
    stated, size = corpus.shards.get(shard), present.get(shard)
    if stated is None:
        return (
            f"{FILE_NAME} puts {owned[0].name!r} into {shard} and does not state the SHA-256 of "
            f"that shard: run {AGAIN}."
        )
    if size is None:
        return f"{shard} is missing: run {AGAIN}."
    if size != stated.bytes:
        return f"{shard} has {size:,} bytes, {FILE_NAME} states {stated.bytes:,}: run {AGAIN}."
    return None


def _check_shard(
    corpus: Corpus, shard: str, owned: Sequence[Recording], present: Mapping[str, int]
) -> str | None:
    """Return the problem of a shard and of the recordings in it, or None."""
    if problem := _check_size(corpus, shard, owned, present):
        return problem
    # `prepare` checks a shard's name and size only, so it would keep one with damaged content.
    remedy = f"{_removal(corpus.folder, shard)}, then run {AGAIN}."
    try:
        if corpus.folder.sha256(shard) != corpus.shards[shard].sha256:
            return (
                f"{shard} is damaged: it has the size but not the SHA-256 that {FILE_NAME} "
                f"states: {remedy}"
            )
        rows = shards.read_row_groups(corpus.folder, shard)
        lost = [entry for entry in owned if not _contains(corpus.folder, rows, entry)]
    except (OSError, pa.ArrowException) as error:
        return f"{shard} cannot be read ({error}): {remedy}"
    if lost:
        return (
            f"{shard} lacks {len(lost)} of its {len(owned)} recordings as {FILE_NAME} "
            f"states them, such as {lost[0].name!r} with {lost[0].samples:,} samples from row "
            f"group {lost[0].row} on: {remedy}"
        )
    return None


def _contains(folder: Folder, rows: Sequence[tuple[str, int]], recording: Recording) -> bool:
    """Return whether the shard's row groups and codes are those of the recording."""
    offsets = range(0, recording.samples, BLOCK)
    end = recording.row + len(offsets)
    found = rows[recording.row : end]
    if not found or found != [(recording.name, offset) for offset in offsets]:
        return False
    if (recording.name, len(offsets) * BLOCK) in rows[end : end + 1]:
        return False  # The shard has more of it.
    try:
        # Reading one code compares the length of its block.
        for offset in offsets:
            shards.read(folder, recording.location, offset, 1)
    except ShardError:
        return False
    return True


def _half_written(present: Mapping[str, int]) -> dict[str, int]:
    """Return the bytes of each file or folder with a temporary name."""
    found: dict[str, int] = {}
    for name, size in present.items():
        # Deeper names are those of members of archives, which are not ours.
        place = "/".join(name.split("/")[:2])
        if place.endswith(PARTIAL):
            found[place] = found.get(place, 0) + size
    return found


def _removal(folder: Folder, name: str) -> str:
    """Return the instruction that removes a file or a folder, for the end of a sentence."""
    path = f"{folder}/{name}"
    if folder.local is None:
        return f"remove {path}"
    return f"run `{'rm -r' if (folder.local / name).is_dir() else 'rm'} {shlex.quote(path)}`"
