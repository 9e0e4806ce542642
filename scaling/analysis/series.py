"""Series of records: runs that differ in one setting and the seed, with the fits to them."""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from scaling.analysis.power_law import PowerLaw, fit_power_law
from scaling.fitting.slope import FitError, Slope, fit_slope, replicate_noise
from scaling.runs.record import RunRecord, bits, in_both_units

CONTEXT, CHUNK, PANEL = "model.context", "model.chunk", "model.layers"
WIDTH, RATE, SEED = "model.width", "train.learning_rate", "seed"
SHAPE_AXES = (CHUNK, PANEL)
"""Settings drawn as colours and panels, not along the horizontal axis."""
TRAINED_SECTIONS = ("model", "windows", "train")
"""Sections of a configuration whose settings can change the loss of a run."""


@dataclass(frozen=True)
class Series:
    """One curve: the runs that differ only in ``axis`` and seed, and the fits to them.

    ``panel`` and ``label`` name the settings that the runs share. ``slope`` and ``law`` are None
    if the runs are too few to fit them; ``reasons`` then explains why, in sentences.
    """

    axis: str
    panel: str
    label: str
    records: tuple[RunRecord, ...]
    slope: Slope | None
    law: PowerLaw | None
    reasons: tuple[str, ...]

    @property
    def positions(self) -> list[float]:
        """Value of the axis for each record."""
        return [float(setting(record, self.axis)) for record in self.records]

    @property
    def nats(self) -> list[float]:
        """Final held-out loss of each record, in nats a sample."""
        return [record.validation.nats for record in self.records]

    @property
    def losses(self) -> str:
        """Range of these losses as text, in bits and nats."""
        low, high = min(self.nats), max(self.nats)
        if low == high:
            return in_both_units(low, 3)
        return f"{bits(low):.3f} to {bits(high):.3f} bits ({low:.3f} to {high:.3f} nats)"


def setting(record: RunRecord, key: str) -> Any:
    """Return the value of a dotted configuration key of a record; lists as tuples."""
    return setting_of(record.config, key)


def setting_of(config: dict[str, Any], key: str) -> Any:
    """Return the value of a dotted key of a configuration; lists as tuples."""
    value: Any = config
    for part in key.split("."):
        value = value[part]
    return tuple(value) if isinstance(value, list) else value


def setting_name(key: str) -> str:
    """Return the name of a dotted key in text: its last part in words."""
    return key.rpartition(".")[2].replace("_", " ")


def setting_text(value: Any) -> str:
    """Return a setting as text, whole numbers with thousands separators."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    return f"{value:,}" if whole else str(value)


def setting_sort_key(value: Any) -> tuple[bool, float, str]:
    """Return the sort key of a setting: numbers by size, then all else by its text."""
    numeric = isinstance(value, int | float)
    return (not numeric, float(value) if numeric else 0.0, str(value))


def varied(records: Sequence[RunRecord]) -> list[str]:
    """Return the keys with more than one value, the axes of the records first, the seed left out.

    Runs that were trained one by one have no axes; their configurations are compared.
    """
    keys = dict.fromkeys(key for record in records for key in record.axes if key != SEED)
    for section in TRAINED_SECTIONS:
        parts = [record.config.get(section, {}) for record in records]
        shared = [name for name in parts[0] if all(name in part for part in parts)] if parts else []
        keys |= dict.fromkeys(f"{section}.{name}" for name in shared)
    return [key for key in keys if len({setting(record, key) for record in records}) > 1]


def configuration(record: RunRecord, keys: Iterable[str]) -> tuple[Hashable, ...]:
    """Return the values of these keys, which replicates share."""
    return tuple(setting(record, key) for key in keys)


def seed_noise(records: Sequence[RunRecord]) -> tuple[float, int] | None:
    """Return the standard deviation between seeds (nats) with its degrees of freedom, or None."""
    keys = varied(records)
    return replicate_noise(
        [record.validation.nats for record in records],
        [configuration(record, keys) for record in records],
    )


def curve_axes(records: Sequence[RunRecord]) -> list[str]:
    """Return the numeric settings to draw the loss against.

    Settings in ``SHAPE_AXES`` are returned only if no other numeric setting was varied.
    """
    numeric = [
        key
        for key in varied(records)
        if all(type(setting(record, key)) in (int, float) for record in records)
    ]
    return [key for key in numeric if key not in SHAPE_AXES] or numeric


def study_curves(records: Sequence[RunRecord]) -> dict[str, list[Series]]:
    """Return the curves of each axis for which some group of runs has three values.

    If no axis has such a group, return those of the first axis. The context comes first.
    """
    swept = sorted(curve_axes(records) or [CONTEXT], key=lambda axis: axis != CONTEXT)
    found = {axis: curves(records, axis) for axis in swept}
    drawn = {a: s for a, s in found.items() if any(len(set(one.positions)) > 2 for one in s)}
    return drawn or {swept[0]: found[swept[0]]}


def curves(records: Sequence[RunRecord], axis: str) -> list[Series]:
    """Group the records into curves against one axis, each with its slope and power law.

    If some groups have several values of the axis, groups with one value are left out.
    """
    others = [key for key in varied(records) if key != axis]
    groups: dict[tuple[Hashable, ...], list[RunRecord]] = {}
    for record in records:
        groups.setdefault(configuration(record, others), []).append(record)
    for members in groups.values():
        members.sort(key=lambda run: setting(run, axis))
    several = [
        key for key, runs in groups.items() if setting(runs[0], axis) != setting(runs[-1], axis)
    ]
    chosen = sorted(several or groups, key=lambda values: [*map(setting_sort_key, values)])
    named = [
        other
        for index, other in enumerate(others)
        if other == PANEL or len({key[index] for key in chosen}) > 1
    ]
    noise = seed_noise(records)
    return [_fit_series(axis, named, groups[key], noise[0] if noise else None) for key in chosen]


def _fit_series(
    axis: str, others: Sequence[str], records: list[RunRecord], noise: float | None
) -> Series:
    """Fit a slope and a power law to one curve, as far as its runs allow."""
    x = [float(setting(record, axis)) for record in records]
    nats = [record.validation.nats for record in records]
    slope, law, reasons = None, None, []
    try:
        slope = fit_slope(x, nats)
    except FitError as error:
        reasons.append(str(error))
    try:
        law = fit_power_law(x, nats, name=setting_name(axis), noise=noise)
    except FitError as error:
        reasons.append(str(error))
    first, labels = records[0], [key for key in others if key != PANEL]
    texts = [f"{setting_name(key)} {setting_text(setting(first, key))}" for key in labels]
    depth = f"{setting_name(PANEL)} {setting(first, PANEL)}" if axis != PANEL else "all depths"
    return Series(
        axis=axis,
        panel=depth,
        label=", ".join(texts) or "all runs",
        records=tuple(records),
        slope=slope,
        law=law,
        reasons=tuple(reasons),
    )
