"""The manifest of a prepared corpus: ``corpus.json``, everything about it but the codes.

It is written last, so a folder that has one is complete. Its bytes are a pure function of what it
says (no time stamps), so their SHA-256, the fingerprint, names the corpus.
"""

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, get_args, get_origin

from datasets.files import replacing

SCHEMA = 1
FILE_NAME = "corpus.json"


class ManifestError(ValueError):
    """A folder that is not a usable prepared corpus, with the reason."""


@dataclass(frozen=True)
class Recording:
    """One recording: its shard (path relative to the corpus folder) and who owns its samples.

    ``samples`` are counted at the corpus rate, ``source_rate`` is in Hz, ``sha256`` is of the shard
    file and ``source_sha256`` of the audio file. ``ranges`` gives the sample range [begin, end)
    that each split owns; a split that owns nothing is absent.
    """

    name: str
    shard: str
    samples: int
    source_rate: int
    channels: int
    sha256: str
    source_sha256: str
    ranges: dict[str, tuple[int, int]]


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
    """One split in figures: its size and the two plain references, in bits a sample.

    ``histogram_bits`` is the entropy of the split's own code histogram; ``linear_bits`` the mean of
    the linear predictor, fitted on train, over the split's samples that have its history.
    """

    recordings: int
    samples: int
    seconds: float
    histogram_bits: float
    linear_bits: float


@dataclass(frozen=True)
class Rejected:
    """An audio file that was left out, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Corpus:
    """A prepared corpus. ``rate`` is in Hz; ``folder`` and ``fingerprint`` are known once on disk.

    ``contexts_cross_splits`` is true where a recording is cut in time, so that contexts of held-out
    targets reach back over the cut.
    """

    name: str
    rate: int
    codec: str
    levels: int
    scaling: str
    split_rule: str
    contexts_cross_splits: bool
    licence: str
    recordings: tuple[Recording, ...]
    rejected: tuple[Rejected, ...]
    splits: dict[str, SplitSummary]
    linear: Reference
    versions: dict[str, str]
    folder: Path = field(default=Path(), compare=False)
    fingerprint: str = field(default="", compare=False)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The corpus prepared in ``folder``; ManifestError where there is none or it is damaged."""
        path = Path(folder) / FILE_NAME
        try:
            content = path.read_bytes()
        except OSError as error:
            raise ManifestError(
                f"{folder} is not a prepared corpus ({FILE_NAME}: {error.strerror}): "
                "type `python -m scaling prepare --config ...`."
            ) from error
        try:
            fields = json.loads(content)
        except ValueError as error:
            raise ManifestError(
                f"{path} is not JSON ({error}): prepare the corpus again."
            ) from error
        schema = fields.pop("schema", None) if isinstance(fields, dict) else None
        if schema != SCHEMA:
            raise ManifestError(
                f"{path} has schema {schema!r}, this version reads {SCHEMA}: "
                "prepare the corpus again."
            )
        corpus: Self = _decode(cls, fields, FILE_NAME)
        return dataclasses.replace(
            corpus, folder=Path(folder), fingerprint=hashlib.sha256(content).hexdigest()
        )

    def write(self, folder: Path) -> Self:
        """Write ``corpus.json`` into ``folder``, at once or not at all; returns it as loaded."""
        fields = dataclasses.asdict(self)
        del fields["folder"], fields["fingerprint"]
        content = json.dumps({"schema": SCHEMA, **fields}, indent=1, allow_nan=False) + "\n"
        with replacing(Path(folder) / FILE_NAME) as partial:
            partial.write_text(content, encoding="ascii")
        return self.load(folder)

    def longest(self, split: str) -> Recording:
        """The recording with the most samples before the end of its part of ``split``.

        That end is what a window has to fit under. ManifestError where the split is empty.
        """
        owners = [recording for recording in self.recordings if split in recording.ranges]
        if not owners:
            raise ManifestError(
                f"Corpus {self.name!r} has no samples in split {split!r} "
                f"(rule: {self.split_rule}, recordings: {len(self.recordings)}): "
                "change the split's fractions or add recordings."
            )
        return max(owners, key=lambda recording: recording.ranges[split][1])


def _decode(kind: Any, value: Any, where: str) -> Any:
    """The JSON value as ``kind``: a dataclass of this module, or what its fields are made of.

    ManifestError names the place where a field is missing, unknown or of another type.
    """
    if isinstance(kind, type) and dataclasses.is_dataclass(kind) and isinstance(value, dict):
        stored = {entry.name: entry.type for entry in dataclasses.fields(kind) if entry.compare}
        missing, unknown = stored.keys() - value.keys(), value.keys() - stored.keys()
        if missing or unknown:
            raise ManifestError(
                f"{where}: missing fields {sorted(missing)}, unknown fields {sorted(unknown)}: "
                "prepare the corpus again."
            )
        return kind(
            **{name: _decode(stored[name], value[name], f"{where}: {name}") for name in value}
        )
    origin, parameters = get_origin(kind), get_args(kind)
    if origin is dict and isinstance(value, dict):
        return {name: _decode(parameters[1], value[name], f"{where} {name!r}") for name in value}
    if origin is tuple and isinstance(value, list):
        if parameters[-1] is Ellipsis:
            parameters = parameters[:1] * len(value)
        if len(parameters) == len(value):
            pairs = enumerate(zip(parameters, value, strict=True))
            return tuple(_decode(part, raw, f"{where} {i}") for i, (part, raw) in pairs)
    if type(value) is not kind:
        raise ManifestError(
            f"{where} is {value!r}, which is not {getattr(kind, '__name__', kind)}: "
            "prepare the corpus again."
        )
    return value
