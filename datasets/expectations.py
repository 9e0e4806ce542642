"""Compare a prepared corpus with its known figures."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from datasets.manifest import Recording, RecordingPart


@dataclass(frozen=True)
class KnownFigures:
    """Known figures of a corpus; None if a figure is unknown.

    ``rate`` is in Hz, ``shortest`` and ``longest`` are samples of one file at the corpus rate,
    ``splits`` are files in train, validation and test.
    """

    files: int | None = None
    rate: int | None = None
    channels: int | None = None
    shortest: int | None = None
    longest: int | None = None
    splits: tuple[int, int, int] | None = None


def find_differences(
    expected: KnownFigures, recordings: Iterable[Recording], splits: Sequence[int]
) -> tuple[str, ...]:
    """Return a sentence for each known figure from which these recordings differ.

    ``splits`` are their files in train, validation and test.
    """
    files = [
        (part, samples)
        for recording in recordings
        if not recording.epoch
        for part, samples in _files(recording)
    ]
    found = []
    if expected.files not in (None, len(files)):
        found.append(
            f"{len(files)} files can be used, and the corpus is known to have {expected.files}: "
            "look for files that are missing, left out or too many"
        )
    if expected.splits is not None and tuple(splits) != tuple(expected.splits):
        found.append(
            f"train, validation and test have {', '.join(map(str, splits))} files, and are known "
            f"to have {', '.join(map(str, expected.splits))}"
        )
    for quantity, wanted, values in (
        ("Hz", expected.rate, [(part.name, part.rate) for part, _ in files]),
        ("channels", expected.channels, [(part.name, part.channels) for part, _ in files]),
    ):
        others = [(name, value) for name, value in values if wanted not in (None, value)]
        if others:
            found.append(_describe(len(others), f"{wanted} {quantity}", *others[0]))
    shortest, longest = expected.shortest or 0, expected.longest
    outside = [
        (part.name, samples)
        for part, samples in files
        if samples < shortest or (longest is not None and samples > longest)
    ]
    if outside:
        bounds = f"{shortest} to {longest if longest is not None else 'any number of'} samples"
        found.append(_describe(len(outside), bounds, *outside[0]))
    return tuple(found)


def _files(recording: Recording) -> list[tuple[RecordingPart, int]]:
    """Return the files of a recording, each with its number of samples."""
    ends = [*(part.begin for part in recording.parts[1:]), recording.samples]
    return [(part, end - part.begin) for part, end in zip(recording.parts, ends, strict=True)]


def _describe(count: int, wanted: str, name: str, value: int) -> str:
    return f"{count} files do not have {wanted}, as is known of the corpus: {name} has {value}"
