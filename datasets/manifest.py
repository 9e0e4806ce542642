"""The manifest of a prepared corpus: ``corpus.json``, everything about it except the codes.

It is written last, so a folder with a manifest is complete. Its bytes are a pure function of its
content (no time stamps). Their SHA-256, the fingerprint, therefore names the corpus.
"""

import dataclasses
import hashlib
import json
import os
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Self

from pydantic import TypeAdapter, ValidationError

from datasets.augment import Augmentation
from datasets.columns import Series
from datasets.level import Level
from datasets.shards import ShardLocation
from datasets.storage import Folder

SCHEMA = 2
FILE_NAME = "corpus.json"


class ManifestError(ValueError):
    """A folder that is no usable prepared corpus, with the reason."""


@dataclass(frozen=True)
class RecordingPart:
    """An audio file from the recording's sample ``begin`` on; ``rate`` is its own, in Hz."""

    name: str
    sha256: str
    rate: int
    channels: int
    begin: int


@dataclass(frozen=True)
class Recording:
    """One recording: the location of its codes, its audio files, and the split of its samples.

    ``shard`` is a path below the corpus folder, ``row`` the recording's first row group there.
    ``samples`` are counted at the corpus rate. ``parts`` are the audio files: several if
    consecutive files of one take are joined. ``epoch`` is 0, or the number of the changed copy
    (:mod:`datasets.augment`). ``ranges`` is the sample range [begin, end) of each split; splits
    without samples are absent.
    """

    name: str
    shard: str
    row: int
    samples: int
    parts: tuple[RecordingPart, ...]
    level: Level
    epoch: int
    ranges: dict[str, tuple[int, int]]

    @property
    def location(self) -> ShardLocation:
        """The location of its codes."""
        return ShardLocation(self.shard, self.row, self.samples)


@dataclass(frozen=True)
class Shard:
    """A shard's size in bytes and its SHA-256 (hex)."""

    bytes: int
    sha256: str


@dataclass(frozen=True)
class Reference:
    """A linear predictor on the codes, with a discretised logistic residual.

    The centre is ``intercept + sum_k coefficients[k] * code[t - 1 - k]`` (newest sample first), in
    codes; ``scale`` is the logistic's, in codes.
    """

    order: int
    coefficients: tuple[float, ...]
    intercept: float
    scale: float


@dataclass(frozen=True)
class SplitSummary:
    """Size of one split, and its plain references in bits per sample.

    ``histogram`` counts the codes by 256ths of the scale. ``histogram_bits`` is the entropy of the
    split's own codes (order 0). ``pair_bits`` is the entropy of a code given the one before it
    (order 1; None for 16-bit codes). ``linear_bits`` is the mean of the linear predictor, fitted on
    train, over ``linear_samples`` samples: all with enough history, or an even choice of them.
    """

    recordings: int
    samples: int
    seconds: float
    histogram: tuple[int, ...]
    histogram_bits: float
    pair_bits: float | None
    linear_bits: float
    linear_samples: int


@dataclass(frozen=True)
class Rejected:
    """An audio file that was left out, with the reason and the split that it would be in."""

    name: str
    reason: str
    split: str = ""


@dataclass(frozen=True)
class Corpus:
    """A prepared corpus.

    ``rate`` is in Hz. ``chunk`` is the number of samples scaled together, 0 if none are.
    ``contexts_cross_splits`` is true if recordings are cut in time: contexts of held-out targets
    then reach back over the cut. ``differences`` are sentences about known figures that the corpus
    does not match. ``series`` gives the meaning of the codes if they are not audio. ``folder`` and
    ``fingerprint`` are set once the corpus is on disk.
    """

    name: str
    rate: int
    codec: str
    levels: int
    scaling: str
    chunk: int
    split_rule: str
    contexts_cross_splits: bool
    licence: str
    augmentation: Augmentation
    differences: tuple[str, ...]
    recordings: tuple[Recording, ...]
    rejected: tuple[Rejected, ...]
    shards: dict[str, Shard]
    splits: dict[str, SplitSummary]
    linear: Reference
    versions: dict[str, str]
    series: Series | None = None
    folder: Folder = field(default=Folder(""), compare=False)
    fingerprint: str = field(default="", compare=False)

    @classmethod
    def load(cls, folder: "str | os.PathLike[str] | Folder") -> Self:
        """Load the corpus of ``folder``; ManifestError if there is none or it is damaged."""
        place = Folder.of(folder)
        try:
            content = place.read_bytes(FILE_NAME)
        except OSError as error:
            reason = error.strerror or str(error).splitlines()[0]
            raise ManifestError(
                f"{folder} is not a prepared corpus ({FILE_NAME}: {reason}): "
                "run `python -m scaling prepare --config ...`."
            ) from error
        return cls._parse(content, place)

    @classmethod
    def _parse(cls, content: bytes, folder: Folder) -> Self:
        path = f"{folder}/{FILE_NAME}"
        try:
            fields = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise ManifestError(
                f"{path} is not JSON ({error}): prepare the corpus again."
            ) from error
        schema = fields.pop("schema", None) if isinstance(fields, dict) else None
        if schema != SCHEMA:
            raise ManifestError(
                f"{path} has schema {schema!r}, this version reads {SCHEMA}: "
                "prepare the corpus again."
            )
        try:
            # From JSON text: strict validation of Python values would refuse a list for a tuple.
            text = json.dumps(fields)
            corpus: Self = _reader(Corpus).validate_json(text, strict=True, extra="forbid")
        except ValidationError as error:
            problems = (
                f"{_shorten('.'.join(map(str, entry['loc'])))}: {entry['msg']} "
                f"({_shorten(repr(entry['input']))})"
                for entry in error.errors()[:3]
            )
            raise ManifestError(
                f"{path} is damaged ({'; '.join(problems)}): prepare the corpus again."
            ) from error
        return dataclasses.replace(
            corpus, folder=folder, fingerprint=hashlib.sha256(content).hexdigest()
        )

    def write(self, folder: Folder) -> Self:
        """Write ``corpus.json`` into ``folder`` atomically; return the corpus as loaded."""
        fields = dataclasses.asdict(self)
        del fields["folder"], fields["fingerprint"]
        if self.series is None:
            del fields["series"]
        folder.write_bytes(FILE_NAME, _format({"schema": SCHEMA, **fields}).encode("ascii"))
        return self.load(folder)

    def longest_recording(self, split: str) -> Recording:
        """Return the recording that fits the longest window of ``split``; ManifestError if none."""
        owners = [recording for recording in self.recordings if split in recording.ranges]
        if not owners:
            raise ManifestError(
                f"Corpus {self.name!r} has no samples in split {split!r} "
                f"(rule: {self.split_rule}, recordings: {len(self.recordings)}): "
                "change the split's fractions or add recordings."
            )
        return max(owners, key=lambda recording: recording.ranges[split][1])


@cache
def _reader(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _shorten(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:60]}..."


def _format(fields: dict[str, Any]) -> str:
    """Return JSON with a line per field, and per entry of a field that is a list or an object."""

    def value(content: Any) -> str:
        if isinstance(content, dict) and content:
            lines = (f"{json.dumps(key)}: {_json(entry)}" for key, entry in content.items())
            return "{\n  " + ",\n  ".join(lines) + "\n }"
        if isinstance(content, tuple) and content:
            return "[\n  " + ",\n  ".join(map(_json, content)) + "\n ]"
        return _json(content)

    lines = (f"{json.dumps(key)}: {value(content)}" for key, content in fields.items())
    return "{\n " + ",\n ".join(lines) + "\n}\n"


def _json(content: Any) -> str:
    return json.dumps(content, allow_nan=False)
