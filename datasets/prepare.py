"""Prepare a corpus from audio files: Ray Data jobs over the files, then the manifest.

The steps: find the files, hash them and assign splits (:mod:`datasets.inventory`), convert new
takes (:mod:`datasets.takes`), summarise the codes (:mod:`datasets.summary`), write the manifest.

To resume a call that was killed, repeat it: finished shards stay, and the corpus equals that of an
undisturbed call bit for bit. Files that are added later are converted alone, and no file changes
its split.
"""

import dataclasses
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import version
from typing import Any

import soundfile
from natsort import natsorted

from datasets import expectations, inventory, sources, summary, takes
from datasets.inventory import EarlierSplits
from datasets.jobs import Progress
from datasets.manifest import Corpus, ManifestError, Recording, Rejected
from datasets.settings import Preparation
from datasets.storage import Folder


class PrepareError(ValueError):
    """A corpus that cannot be prepared as asked, with what to change."""


def prepare_corpus(
    asked: Preparation, root: Folder, destination: Folder, progress: Progress = lambda *step: None
) -> Corpus:
    """Prepare the audio files below ``root`` in ``destination``; Ray must be connected.

    Files that cannot be read whole are left out and listed in ``Corpus.rejected``. Only one call at
    a time may write to a destination.

    Raises:
        AudioError: No file matches.
        SplitError: A file that states the splits is malformed.
        PrepareError: Nothing usable is left, or ``strict`` forbids the findings.
        SummaryError: A split has nothing to score.
    """
    destination.make_folder("shards")
    for name in ("", "shards", "unpacked"):
        destination.remove_partial(name)
    unpacked = destination.subfolder("unpacked")
    found = sources.find_sources(root, asked.patterns, unpacked, progress)
    present: Corpus | None = None
    with suppress(ManifestError):  # no earlier call has finished
        present = Corpus.load(destination)
    own = inventory.read_stated_splits(asked.split, found)
    files, rejected, owned = inventory.select_usable(
        asked.split, found, own, _earlier_splits(asked, present), progress
    )
    wanted = takes.form_takes(files, owned, asked.join, asked.copies)
    results = takes.convert_takes(wanted, files, asked.settings, destination, progress)
    recordings, shards = takes.build_recordings(results, owned, asked.split)
    rejected += [
        dataclasses.replace(entry, split=owned.get(entry.name, ""))
        for take, _, converted in results
        for entry in converted.rejected
        if not take.epoch
    ]
    differences = expectations.find_differences(asked.expected, recordings)
    _check_allowed(asked, recordings, rejected, differences)
    settings = asked.settings
    fields: dict[str, Any] = {
        "name": asked.name,
        **vars(settings),
        "split_rule": str(asked.split),
        "contexts_cross_splits": asked.split.kind == "time",
        "licence": asked.licence,
        "differences": differences,
        "recordings": recordings,
        "rejected": tuple(natsorted(rejected, key=lambda entry: entry.name)),
        "shards": shards,
    }
    if present and all(getattr(present, name) == value for name, value in fields.items()):
        return present
    linear, summaries = summary.summarise(
        recordings, destination, settings.rate, settings.levels, progress
    )
    corpus = Corpus(**fields, splits=summaries, linear=linear, versions=_versions())
    return corpus.write(destination)


def _earlier_splits(asked: Preparation, present: Corpus | None) -> EarlierSplits:
    """Return the splits that an earlier call has assigned by the same rule."""
    if present is None or present.split_rule != str(asked.split):
        return EarlierSplits({}, {})
    used = [
        (part, split)
        for recording in present.recordings
        for split in recording.ranges
        for part in recording.parts
    ]
    names = {entry.name: entry.split for entry in present.rejected if entry.split}
    names |= {part.name: split for part, split in used}
    return EarlierSplits(names, {part.sha256: split for part, split in used})


def _check_allowed(
    asked: Preparation,
    recordings: Sequence[Recording],
    rejected: Sequence[Rejected],
    differences: Sequence[str],
) -> None:
    """Raise PrepareError if nothing is left or ``strict`` forbids the findings."""
    listing = "".join(f"\n  {entry.name}: {entry.reason}" for entry in rejected)
    if not recordings:
        raise PrepareError(
            f"{len(rejected)} of {len(rejected)} files cannot be used: fix them or leave them "
            f"out.{listing}"
        )
    if asked.strict and rejected:
        used = len({part.name for entry in recordings for part in entry.parts})
        raise PrepareError(
            f"{len(rejected)} of {len(rejected) + used} files cannot be used and strict allows "
            f"none: fix them or leave them out.{listing}"
        )
    if asked.strict and differences:
        listing = "".join(f"\n  {sentence}" for sentence in differences)
        raise PrepareError(
            "The corpus differs from its known figures, and strict allows no difference: fix the "
            f"files or the figures.{listing}"
        )


def _versions() -> dict[str, str]:
    packages = ("numpy", "pyarrow", "scipy", "soundfile", "soxr")
    return {
        **{package: version(package) for package in packages},
        "libsndfile": soundfile.__libsndfile_version__,
    }
