"""Find the audio files of a corpus: those that patterns match, below a folder or in archives.

A file's name in a corpus is its path from the root, ``archive.zip/member.wav`` in an archive.
Archives are unpacked once, into a folder named by their content.
"""

import itertools
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from fsspec.utils import glob_translate
from natsort import natsorted

from datasets import archives, audio
from datasets.archives import ArchiveError
from datasets.audio import AudioError
from datasets.manifest import Rejected
from datasets.storage import Folder

AUDIO_SUFFIXES = frozenset(
    ".aif .aifc .aiff .au .caf .flac .mp3 .oga .ogg .opus .rf64 .w64 .wav .wave".split()
)
EVERYTHING = ("**/*",)


@dataclass(frozen=True)
class Source:
    """An audio file: its name in the corpus, and its path (bytes) below a folder.

    The path is bytes because a local file's name may be invalid text.
    """

    name: str
    folder_uri: str
    path: bytes

    @property
    def folder(self) -> Folder:
        """The folder that ``path`` is relative to."""
        return Folder(self.folder_uri)


@dataclass(frozen=True)
class FoundFiles:
    """The audio files in natural order of their names, and the files refused before reading.

    ``folders`` are the root and the unpacked archives, each with the prefix of its names.
    """

    sources: tuple[Source, ...]
    refused: tuple[Rejected, ...]
    folders: tuple[tuple[str, Folder], ...]

    def read_texts(self, pattern: str) -> list[tuple[str, str]]:
        """Return the one text that ``pattern`` matches in folders with audio, with each's prefix.

        The prefix is "" or ends with a slash. Several folders may have the same text, such as an
        archive and its unpacked copy. AudioError if no file matches, or different texts do.
        """
        matches = {}
        for prefix, folder in self.folders:
            for name in folder.list_files():
                directory = prefix + name[: name.rfind("/") + 1]
                audio_inside = any(entry.name.startswith(directory) for entry in self.sources)
                if re.match(glob_translate(pattern), name) and audio_inside:
                    matches[prefix + name] = (directory, folder.read_bytes(name))
        if len({text for _, text in matches.values()}) != 1:
            raise AudioError(
                f"{len(matches)} files match {pattern!r} {sorted(matches)}: place the one file "
                "that comes with the corpus in the folder of its audio, or write a pattern that "
                "only it matches."
            )
        try:
            # utf-8-sig drops a byte order mark, which some programs write.
            return [(folder, text.decode("utf-8-sig")) for folder, text in matches.values()]
        except UnicodeDecodeError as error:
            raise AudioError(f"{sorted(matches)[0]} is no UTF-8 text: {error}.") from error


@dataclass(frozen=True)
class Patterns:
    """Patterns of the files below the root, and of the ``members`` of archives among them.

    Files that ``exclude`` matches, and files in folders that it matches, are left out. Patterns are
    relative (``*.wav``, ``**/*.flac``). If the last part of a pattern has no ending, it matches
    only archives and files with an audio ending.
    """

    files: tuple[str, ...] = EVERYTHING
    exclude: tuple[str, ...] = ()
    members: tuple[str, ...] = EVERYTHING


def find_sources(
    root: Folder, patterns: Patterns, unpacked: Folder, progress: Callable[[str, int, int], None]
) -> FoundFiles:
    """Find the audio files below ``root``; unpack archives below ``unpacked``, a local folder.

    A file that is reached twice (overlapping patterns, links) is listed once. Hidden files and
    links out of the root are not listed, and ``**`` does not follow links to folders. AudioError if
    nothing matches.
    """
    # ``unpacked`` is left out, as it may lie below the root.
    matches, refused = _match(root, patterns.files, patterns.exclude, unpacked)
    sources = []
    folders = [("", root)]
    number = 0
    for match in matches:
        if not archives.is_archive(Path(match.name)):
            sources.append(match)
            continue
        progress(f"unpack {match.name}", number, number + 1)
        number += 1
        try:
            inside = _unpack(match, unpacked)
        except (ArchiveError, AudioError, OSError) as error:
            refused.append(Rejected(match.name, str(error)))
            continue
        folders.append((f"{match.name}/", inside))
        members, more = _match(inside, patterns.members, patterns.exclude)
        sources += [Source(f"{match.name}/{m.name}", m.folder_uri, m.path) for m in members]
        refused += [Rejected(f"{match.name}/{entry.name}", entry.reason) for entry in more]
    if not sources and not refused:
        raise AudioError(
            f"No file under {root} matches {list(patterns.files)}: "
            "place the audio there, or write patterns such as '**/*.wav', relative to that folder."
        )
    return FoundFiles(
        tuple(natsorted(sources, key=lambda source: source.name)),
        tuple(natsorted(refused, key=lambda entry: entry.name)),
        tuple(folders),
    )


def _match(
    root: Folder, include: Sequence[str], exclude: Sequence[str], unpacked: Folder | None = None
) -> tuple[list[Source], list[Rejected]]:
    if absolute := [pattern for pattern in include if pattern.startswith("/")]:
        raise AudioError(
            f"The patterns {absolute} do not begin below {root}: write them relative to that "
            "folder, and the folder as `root`."
        )
    for pattern in (*include, *exclude):
        parts = PurePosixPath(pattern).parts
        if not parts or any("**" in part and part != "**" for part in parts):
            raise AudioError(
                f"{pattern!r} is no pattern: write one such as '**/*.wav', with nothing else "
                "beside ** between two slashes."
            )
    if root.local is None:
        return _match_remote(root, include, exclude), []
    left_out = {path for pattern in exclude for path in root.local.glob(pattern)}
    if unpacked and unpacked.local:
        left_out.add(unpacked.local)
    return _match_local(root, include, left_out)


def _match_local(
    root: Folder, include: Sequence[str], left_out: set[Path]
) -> tuple[list[Source], list[Rejected]]:
    assert root.local is not None
    top = os.path.realpath(root.local)
    unique: dict[str, Source] = {}
    refused: dict[str, Rejected] = {}
    for pattern in include:
        for match in natsorted(root.local.glob(pattern), key=str):
            real = os.path.realpath(match)
            # Skip folders, and pipes, whose reading would never end; dangling links are reported.
            if match.name.startswith(".") or (os.path.exists(real) and not os.path.isfile(real)):
                continue
            if not left_out.isdisjoint([match, *match.parents]):
                continue
            if not _is_wanted(match.name, pattern):
                continue
            relative = match.relative_to(root.local)
            name = os.fsencode(relative.as_posix()).decode("utf-8", "backslashreplace")
            if os.path.commonpath([top, real]) != top:
                reason = (
                    f"it is a link to {real}, outside of {root}: copy the file, or write the "
                    "folder that contains both as `root`"
                )
                refused[name] = Rejected(name, reason)
                continue
            unique.setdefault(real, Source(name, root.uri, os.fsencode(relative)))
    return list(unique.values()), list(refused.values())


def _match_remote(root: Folder, include: Sequence[str], exclude: Sequence[str]) -> list[Source]:
    # fsspec's translation, because Python 3.11 has none for `**`.
    left_out = [re.compile(glob_translate(pattern)) for pattern in exclude]
    wanted = [(pattern, re.compile(glob_translate(pattern))) for pattern in include]
    names = [
        name
        for name in root.list_files()
        if not name.rpartition("/")[2].startswith(".")
        and not any(pattern.match(part) for pattern in left_out for part in _with_parents(name))
        and any(regex.match(name) and _is_wanted(name, pattern) for pattern, regex in wanted)
    ]
    return [Source(name, root.uri, name.encode()) for name in names]


def _with_parents(name: str) -> list[str]:
    return list(itertools.accumulate(name.split("/"), lambda above, part: f"{above}/{part}"))


def _is_wanted(name: str, pattern: str) -> bool:
    """Return whether the pattern has an ending, or the name that of audio or an archive."""
    if os.path.splitext(pattern)[1]:
        return True
    return os.path.splitext(name)[1].lower() in AUDIO_SUFFIXES or archives.is_archive(Path(name))


def _unpack(archive: Source, unpacked: Folder) -> Folder:
    """Return the folder with the archive's members; unpack them if it is missing."""
    if unpacked.local is None:
        raise ArchiveError(
            f"an archive cannot be unpacked in {unpacked}: unpack it yourself and write the "
            "folder as `root`, or prepare into a folder of this machine"
        )
    with archive.folder.reading(os.fsdecode(archive.path)) as path:
        unpacked.local.mkdir(parents=True, exist_ok=True)
        target = unpacked.local / audio.file_sha256(path)[:16]
        archives.unpack(path, target)
    return Folder.of(target)
