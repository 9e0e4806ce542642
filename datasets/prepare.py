"""Audio files to a prepared corpus: a Ray Data job over the files, then the manifest.

Three passes, each a Ray Data map: convert (audio file to shard, where it is missing), count (code
histogram and normal equations of each recording's part of a split), score (the linear reference on
the same parts). A second call converts only what is missing or has changed, and leaves an unchanged
corpus untouched.
"""

import dataclasses
import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import ray.data
import soundfile

from datasets import audio, quantise, references, shards
from datasets.audio import AudioError
from datasets.convert import Facts, Settings, convert
from datasets.files import PARTIAL
from datasets.manifest import (
    Corpus,
    ManifestError,
    Recording,
    Reference,
    Rejected,
    SplitSummary,
)
from datasets.splits import SPLITS, Rule, assign

# One file a task up to here; beyond, tasks take several, to keep Ray's bookkeeping small.
MOST_TASKS = 4096

Row = dict[str, Any]
Progress = Callable[[str, int, int], None]


class PrepareError(ValueError):
    """A corpus that cannot be prepared as asked, with what to change."""


def prepare(
    *,
    name: str,
    files: Sequence[str],
    root: Path,
    destination: Path,
    rate: int,
    codec: str,
    levels: int,
    scaling: str,
    split: Rule,
    licence: str,
    strict: bool = False,
    progress: Progress = lambda step, done, total: None,
) -> Corpus:
    """Prepare the audio files under ``root`` that match the patterns ``files`` in ``destination``.

    Ray must be connected. ``progress`` is called with (step, parts done, parts of the step).
    Files that cannot be read whole are left out and listed in ``Corpus.rejected``. One call at a
    time may write to a destination.

    AudioError where no file matches, SettingsError for unknown settings, PrepareError where nothing
    usable is left, where ``strict`` and a file was left out, or where a split has nothing to score.
    """
    settings = Settings(rate, codec, levels, scaling)
    # The tasks run in folders of their own.
    destination = destination.absolute()
    found = {_name(path, root): path for path in audio.find(files, root)}
    (destination / "shards").mkdir(parents=True, exist_ok=True)
    for leftover in (destination / "shards").glob(f"*{PARTIAL}"):
        leftover.unlink()
    facts, rejected = _convert_all(found, destination, settings, progress)
    if not facts or (strict and rejected):
        listing = "".join(f"\n  {entry.name}: {entry.reason}" for entry in rejected)
        raise PrepareError(
            f"{len(rejected)} of {len(found)} files cannot be used"
            f"{' and strict allows none' if facts else ''}: mend them or leave them out.{listing}"
        )
    recordings = _recordings(facts, split)
    identity = {
        "name": name,
        **dataclasses.asdict(settings),
        "split_rule": str(split),
        "contexts_cross_splits": split.kind == "time",
        "licence": licence,
        "recordings": recordings,
        "rejected": rejected,
    }
    try:
        present = Corpus.load(destination)
        if all(getattr(present, field) == value for field, value in identity.items()):
            return present
    except ManifestError:
        pass
    linear, splits = _summaries(recordings, destination, rate, progress)
    corpus = Corpus(**identity, splits=splits, linear=linear, versions=_versions())
    return corpus.write(destination)


def _name(path: Path, root: Path) -> str:
    """A recording's name: its path from the root, with bytes that are not UTF-8 escaped."""
    relative = Path(os.path.relpath(path, root)).as_posix()
    return os.fsencode(relative).decode("utf-8", "backslashreplace")


def _recordings(facts: dict[str, Facts], split: Rule) -> tuple[Recording, ...]:
    ranges = assign(split, list(facts), [fact.samples for fact in facts.values()])
    return tuple(
        Recording(
            name=name,
            shard=fact.shard,
            samples=fact.samples,
            source_rate=fact.source_rate,
            channels=fact.channels,
            sha256=fact.sha256,
            source_sha256=fact.source_sha256,
            ranges=owned,
        )
        for (name, fact), owned in zip(facts.items(), ranges, strict=True)
    )


def _versions() -> dict[str, str]:
    """The libraries that the codes depend on."""
    packages = ("numpy", "pyarrow", "scipy", "soundfile", "soxr")
    return {
        **{package: version(package) for package in packages},
        "libsndfile": soundfile.__libsndfile_version__,
    }


def _map(
    step: str, rows: list[Row], function: Callable[[Row], Row], progress: Progress
) -> Iterator[Row]:
    """The rows through ``function`` as a Ray Data job, in any order."""
    dataset = ray.data.from_items(rows, override_num_blocks=min(len(rows), MOST_TASKS))
    for done, row in enumerate(dataset.map(function).iter_rows(), start=1):
        progress(step, done, len(rows))
        yield row


# Pass 1: audio files to shards.


def _convert_all(
    found: dict[str, Path], destination: Path, settings: Settings, progress: Progress
) -> tuple[dict[str, Facts], tuple[Rejected, ...]]:
    """The facts of all recordings that could be converted, and the others, both in file order."""
    rows = [{"name": name, "path": os.fsencode(path.absolute())} for name, path in found.items()]

    def converted(row: Row) -> Row:
        path = Path(os.fsdecode(row["path"]))
        try:
            facts = convert(path, row["name"], destination, settings)
        except AudioError as error:
            return {"name": row["name"], "facts": "", "reason": str(error)}
        return {"name": row["name"], "facts": facts.text(), "reason": ""}

    results = {row["name"]: row for row in _map("convert", rows, converted, progress)}
    facts = {name: Facts.of(results[name]["facts"]) for name in found if results[name]["facts"]}
    rejected = (Rejected(name, results[name]["reason"]) for name in found if name not in facts)
    return facts, tuple(rejected)


# Passes 2 and 3: what the codes hold.


def _summaries(
    recordings: Iterable[Recording], destination: Path, rate: int, progress: Progress
) -> tuple[Reference, dict[str, SplitSummary]]:
    """The linear reference, fitted on train, and the figures of every split that is not empty."""
    parts: list[Row] = [
        {"shard": str(destination / entry.shard), "split": split, "begin": begin, "end": end}
        for entry in recordings
        for split, (begin, end) in entry.ranges.items()
    ]
    histograms = {split: np.zeros(quantise.LEVELS, dtype=np.int64) for split in SPLITS}
    gram = np.zeros((references.ORDER + 2, references.ORDER + 2))
    for row in _map("count", parts, _count, progress):
        histograms[row["split"]] += row["histogram"]
        gram += row["gram"]
    train = [part for part in parts if part["split"] == "train"]
    linear = _fitted(gram, train)

    def score(row: Row) -> Row:
        nats, count = references.score(Path(row["shard"]), row["begin"], row["end"], linear)
        return {"split": row["split"], "nats": nats, "count": count}

    scores = list(_map("score", parts, score, progress))
    summaries = {}
    for split in SPLITS:
        samples = int(histograms[split].sum())
        scored = sum(row["count"] for row in scores if row["split"] == split)
        if not samples:
            continue
        if not scored:
            raise PrepareError(_too_short(split, samples))
        # fsum is exact, so the order in which Ray hands over the parts does not show.
        nats = math.fsum(row["nats"] for row in scores if row["split"] == split)
        summaries[split] = SplitSummary(
            recordings=sum(part["split"] == split for part in parts),
            samples=samples,
            seconds=samples / rate,
            histogram_bits=references.histogram_bits(histograms[split]),
            linear_bits=nats / scored / math.log(2),
        )
    return linear, summaries


def _count(row: Row) -> Row:
    """The histogram of a part and, in train, its sums for the least squares (else zeros)."""
    shard, begin, end = Path(row["shard"]), row["begin"], row["end"]
    return {
        "split": row["split"],
        "histogram": references.histogram(shard, begin, end),
        "gram": references.range_gram(shard, begin, end if row["split"] == "train" else begin),
    }


def _fitted(gram: np.ndarray, train: list[Row]) -> Reference:
    """The linear reference with its scale, from train's sums and an even sample of its parts."""
    order = references.ORDER
    total = int(gram[order, order])
    if not total:
        raise PrepareError(_too_short("train", sum(row["end"] - row["begin"] for row in train)))
    linear = references.solve(gram)
    share = min(1.0, references.SCALE_RESIDUALS / total)
    codes, centres = [], []
    for row in train:
        begin = max(row["begin"], order)
        if begin < row["end"]:
            length = math.ceil(share * (row["end"] - begin))
            block = shards.read(Path(row["shard"]), begin - order, order + length)
            codes.append(block[order:])
            centres.append(references.predict(block, linear))
    most = slice(references.SCALE_RESIDUALS)
    scale = references.fit_scale(np.concatenate(codes)[most], np.concatenate(centres)[most])
    return dataclasses.replace(linear, scale=scale)


def _too_short(split: str, samples: int) -> str:
    return (
        f"None of the {samples} samples of split {split!r} has {references.ORDER} samples before "
        "it in its recording: change the split's fractions or add recordings."
    )
