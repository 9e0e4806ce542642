"""Setup of a study, its departures from the paper, and what identifies data and code, as text."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from model.accounting import parameters
from model.architecture import Architecture
from scaling.analysis.series import SEED, setting, setting_name, setting_text
from scaling.runs.record import RunRecord

RECENT = "model.recent"
MOST_LISTED = 8  # different numbers; of more only the ends are given


def departures(records: Sequence[RunRecord]) -> list[str]:
    """Return a sentence for each departure from the paper's model, objective or split."""
    paper = sum(parameters(Architecture()).values())
    sizes = [run.total_parameters for run in records]
    causal = any(setting(run, "model.attention") == "causal" for run in records)
    crossing = any(run.corpus.contexts_cross_splits for run in records)
    recent = sorted({setting(run, RECENT) for run in records} - {0})
    heads = {run.config["model"].get("likelihood", "categorical") for run in records}
    modes = {run.targets.mode for run in records} - {"last"}
    found = {
        f"The models are small: {min(sizes):,} to {max(sizes):,} parameters, against {paper:,} in "
        "the paper.": max(sizes) < paper / 2,
        f"The newest {_listed(recent)} codes have a separate path to the head, initialised as a "
        "linear predictor: this is not the paper's model, which has no such path.": recent,
        f"The head predicts a {_listed(heads)} distribution; the paper's has a logit for each "
        "code.": heads != {"categorical"},
        f"The targets of the runs are {_listed(modes)}; the paper trains one prediction for each "
        "full context.": modes,
        "Attention is causal with rotary positions; the paper's is bidirectional within one "
        "context. Held-out targets still see exactly their full context.": causal,
        "The split cuts recordings in time, so the contexts of the first held-out targets reach "
        "back over the cut into training audio.": crossing,
    }
    return [sentence for sentence, departs in found.items() if departs]


def setup(records: Sequence[RunRecord], keys: list[str]) -> dict[str, str]:
    """Return the setup as labels and texts; all values that differ between runs are listed."""
    swept = {key: dict.fromkeys(setting(run, key) for run in records) for key in [*keys, SEED]}
    wall = sum(run.throughput.wall_seconds for run in records)
    return {
        "Corpus": _each(
            f"{run.corpus.name}: {count_noun(run.corpus.recordings, 'recording')}, "
            f"{run.corpus.seconds:,.0f} s at {run.corpus.rate:,} Hz; {run.corpus.codec}, "
            f"{run.corpus.levels} levels, scaling {run.corpus.scaling}"
            for run in records
        ),
        "Split": _each(f"by {run.corpus.split_rule}" for run in records),
        "Varied": _each(f"{setting_name(key)} {_listed(swept[key])}" for key in swept),
        "Trained on": f"{_listed(sorted({run.targets.steps for run in records}))} steps; "
        + _each(
            f"{run.targets.per_step:,} targets per step ({run.targets.mode}, "
            f"{run.targets.positions * run.targets.phases:,} per window)"
            for run in records
        ),
        "Validated on": _each(
            f"{run.validation.targets:,} targets of the {run.validation.split} split "
            f"in {run.validation.clusters:,} {run.validation.clustered_by}, the same for every run"
            for run in records
        ),
        "Hardware": _each(_pairs(run.hardware) for run in records),
        "Time": f"{_moment(min(run.started for run in records))} to "
        f"{_moment(max(run.finished for run in records))}; {wall / 60:,.1f} minutes of runs in all",
        "Code": _each(run.code_version for run in records),
    }


def provenance(records: Sequence[RunRecord]) -> dict[str, Any]:
    """Return what identifies data, code and the settings that all runs share."""
    flat = [_flattened(run.config) for run in records]
    return {
        "Corpus fingerprint": _listed(run.corpus.fingerprint for run in records),
        "Validation targets": _listed(run.validation.targets_hash for run in records),
        "Code version": _listed(run.code_version for run in records),
        "Library versions": _each(_pairs(run.versions) for run in records),
        "Configuration": {
            key: text for key, text in flat[0].items() if all(one.get(key) == text for one in flat)
        },
    }


def _each(texts: Iterable[str]) -> str:
    return "; ".join(dict.fromkeys(texts))


def _flattened(config: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """Return a nested configuration as dotted keys and texts."""
    flat: dict[str, str] = {}
    for key, value in config.items():
        if isinstance(value, dict):
            flat |= _flattened(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = setting_text(value)
    return flat


def _listed(values: Iterable[Any]) -> str:
    """List the different values; of many numbers only the ends."""
    known = list(dict.fromkeys(values))
    if len(known) > MOST_LISTED and all(isinstance(value, int | float) for value in known):
        return f"{setting_text(min(known))} to {setting_text(max(known))} ({len(known)} values)"
    return ", ".join(dict.fromkeys(setting_text(value) for value in known))


def _pairs(values: dict[str, Any]) -> str:
    """Return labelled values as text, bytes in GiB."""
    texts = []
    for key, value in values.items():
        if key.endswith("_bytes"):
            key, value = key.removesuffix("_bytes"), f"{value / 2**30:.1f} GiB"
        texts.append(f"{key.replace('_', ' ')} {setting_text(value)}")
    return ", ".join(texts)


def count_noun(number: int, noun: str) -> str:
    """Return a number and its noun, in the plural unless the number is one."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _moment(iso: str) -> str:
    return datetime.fromisoformat(iso).astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
