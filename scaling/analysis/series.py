"""Records into series: the runs that differ in one axis only, each with what is fitted to them."""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from scaling.analysis.power_law import PowerLaw, fit_power_law
from scaling.fitting.slope import FitError, Slope, fit_slope, replicate_noise
from scaling.runs.record import RunRecord, bits

CONTEXT, PANEL, SEED = "model.context", "model.layers", "seed"
SHAPE_AXES = ("model.chunk", PANEL)  # what colours and panels stand for, not the horizontal axis

WHAT_IS_TRAINED = ("model", "windows", "train")
"""Sections of a configuration whose settings can change what a run comes to."""


@dataclass(frozen=True)
class Series:
    """One curve: the runs that differ only in ``axis`` and seed, and what is fitted to them.

    ``panel`` and ``label`` name the values that they share. ``slope`` and ``law`` are None where
    the runs are too few to draw them; ``reasons`` then says so in sentences.
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
        """Final validation loss of each record, in nats a sample."""
        return [record.validation.nats for record in self.records]

    @property
    def losses(self) -> str:
        """Where these losses lie, in bits and nats."""
        low, high = min(self.nats), max(self.nats)
        if low == high:
            return f"{bits(low):.3f} bits ({low:.3f} nats)"
        return f"{bits(low):.3f} to {bits(high):.3f} bits ({low:.3f} to {high:.3f} nats)"


def setting(record: RunRecord, key: str) -> Any:
    """Value of a dotted configuration key in a record; lists as tuples."""
    return setting_of(record.config, key)


def setting_of(config: dict[str, Any], key: str) -> Any:
    """Value of a dotted key in a configuration; lists as tuples."""
    value: Any = config
    for part in key.split("."):
        value = value[part]
    return tuple(value) if isinstance(value, list) else value


def setting_name(key: str) -> str:
    """What text calls a dotted key: its last part in words."""
    return key.rpartition(".")[2].replace("_", " ")


def setting_text(value: Any) -> str:
    """A setting in text: whole numbers with thousands separators."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    return f"{value:,}" if whole else str(value)


def varied(records: Sequence[RunRecord]) -> list[str]:
    """Keys with more than one value: those of the records' axes, seed left out, and then others.

    Runs that were trained one by one have no axes, and differ in what was written for each.
    """
    keys = dict.fromkeys(key for record in records for key in record.axes if key != SEED)
    for section in WHAT_IS_TRAINED:
        parts = [record.config.get(section, {}) for record in records]
        shared = [name for name in parts[0] if all(name in part for part in parts)] if parts else []
        keys |= dict.fromkeys(f"{section}.{name}" for name in shared)
    return [key for key in keys if len({setting(record, key) for record in records}) > 1]


def configuration(record: RunRecord, keys: Iterable[str]) -> tuple[Hashable, ...]:
    """What replicates share: the values of all varied keys."""
    return tuple(setting(record, key) for key in keys)


def curve_axes(records: Sequence[RunRecord]) -> list[str]:
    """The numeric axes to draw the loss against: all that are no shape axis, else those."""
    numeric = [
        key
        for key in varied(records)
        if all(type(setting(record, key)) in (int, float) for record in records)
    ]
    return [key for key in numeric if key not in SHAPE_AXES] or numeric


def curves(records: Sequence[RunRecord], axis: str) -> list[Series]:
    """The records grouped into curves against one axis, each with its slope and power law.

    Where some groups have several values of the axis, those that have one are no curves and are
    left out.
    """
    others = [key for key in varied(records) if key != axis]
    groups: dict[tuple[Hashable, ...], list[RunRecord]] = {}
    for record in records:
        groups.setdefault(configuration(record, others), []).append(record)
    several = [
        key
        for key, members in groups.items()
        if len({setting(record, axis) for record in members}) > 1
    ]
    noise = replicate_noise(
        [record.validation.nats for record in records],
        [configuration(record, varied(records)) for record in records],
    )
    chosen = sorted(
        several or groups, key=lambda values: [setting_sort_key(value) for value in values]
    )
    told = [
        other
        for at, other in enumerate(others)
        if other == PANEL or len({key[at] for key in chosen}) > 1
    ]
    return [
        _fitted(axis, told, sorted(groups[key], key=lambda run: setting(run, axis)), noise)
        for key in chosen
    ]


def setting_sort_key(value: Any) -> tuple[bool, float, str]:
    """Sort key of a setting: numbers by size, then everything else by its text."""
    numeric = isinstance(value, int | float)
    return (not numeric, float(value) if numeric else 0.0, str(value))


def _fitted(
    axis: str,
    others: Sequence[str],
    records: list[RunRecord],
    noise: tuple[float, int] | None,
) -> Series:
    """One curve with as much of slope and power law as its runs carry."""
    x = [float(setting(record, axis)) for record in records]
    nats = [record.validation.nats for record in records]
    slope, law, reasons = None, None, []
    try:
        slope = fit_slope(x, nats)
    except FitError as error:
        reasons.append(str(error))
    try:
        law = fit_power_law(x, nats, name=setting_name(axis), noise=noise[0] if noise else None)
    except FitError as error:
        reasons.append(str(error))
    values = {
        key: f"{setting_name(key)} {setting_text(setting(records[0], key))}"
        for key in others
        if key != PANEL
    }
    return Series(
        axis=axis,
        panel="all depths"
        if axis == PANEL
        else f"{setting_name(PANEL)} {setting(records[0], PANEL)}",
        label=", ".join(values.values()) or "all runs",
        records=tuple(records),
        slope=slope,
        law=law,
        reasons=tuple(reasons),
    )
