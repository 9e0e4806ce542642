"""Compare a prepared corpus with its known figures."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from datasets.manifest import Recording, RecordingPart
from datasets.splits import SPLITS


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


def find_differences(expected: KnownFigures, recordings: Iterable[Recording]) -> tuple[str, ...]:
    """Return a sentence for each known figure from which these recordings differ."""
    own = [recording for recording in recordings if not recording.epoch]
    files = [pair for recording in own for pair in _files(recording)]
    splits = [sum(len(entry.parts) for entry in own if split in entry.ranges) for split in SPLITS]
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
    shortest, longest = expected.shortest or 0, expected.longest
    most = math.inf if longest is None else longest
    bounds = f"{shortest} to {'any number of' if longest is None else longest} samples"
    rates = [(p, p.rate) for p, _ in files if expected.rate not in (None, p.rate)]
    channels = [(p, p.channels) for p, _ in files if expected.channels not in (None, p.channels)]
    lengths = [(p, samples) for p, samples in files if not shortest <= samples <= most]
    for wanted, others in (
        (f"{expected.rate} Hz", rates),
        (f"{expected.channels} channels", channels),
        (bounds, lengths),
    ):
        if others:
            part, value = others[0]
            found.append(
                f"{len(others)} files do not have {wanted}, unlike the known corpus: "
                f"{part.name} has {value}"
            )
    return tuple(found)


def _files(recording: Recording) -> list[tuple[RecordingPart, int]]:
    """Return the files of a recording, each with its number of samples."""
    ends = [*(part.begin for part in recording.parts[1:]), recording.samples]
    return [(part, end - part.begin) for part, end in zip(recording.parts, ends, strict=True)]
