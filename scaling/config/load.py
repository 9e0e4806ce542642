"""Configurations from YAML files and dotted overrides, with all problems reported together."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from itertools import product
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from model.architecture import KINDS, Shape
from scaling.config.comparison_config import CompareConfig
from scaling.config.corpus_config import CorpusConfig
from scaling.config.hardware import Hardware
from scaling.config.run_config import SEARCHABLE, RunConfig, SweepSection

MOST_VALUES = 100_000
"""Values of one file: an alias repeats all values below it, so a few lines can give 2^64."""
LONGEST_SHOWN = 200
"""Characters of a value, or of one part of a key, in a sentence."""

Built = TypeVar("Built")
Section = TypeVar("Section", bound=BaseModel)


class ConfigError(ValueError):
    """All problems of a configuration, one sentence each, or the only one."""

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))


@dataclass(frozen=True)
class Sweep:
    """Runs of a sweep, each with its values of the axes.

    Runs that differ only in ``searched`` axes are the candidates of one cell.
    """

    runs: list[tuple[dict[str, Any], RunConfig]]
    concurrent: int | None
    searched: tuple[str, ...] = ()
    rungs: tuple[float, ...] = ()

    @property
    def study_folder(self) -> Path:
        """Folder of the study, which all runs share."""
        return self.runs[0][1].study_folder

    @property
    def cells(self) -> list[list[RunConfig]]:
        """Runs by cell; without a search each is a cell of its own."""
        if not self.searched:
            return [[config] for _, config in self.runs]
        cells: dict[str, list[RunConfig]] = {}
        for axes, config in self.runs:
            cells.setdefault(repr(self.cell_axes(axes)), []).append(config)
        return list(cells.values())

    def cell_axes(self, axes: dict[str, Any]) -> dict[str, Any]:
        """Return the axes of a run that are not searched."""
        return {name: value for name, value in axes.items() if name not in self.searched}


def corpus(path: Path, overrides: Sequence[str] = ()) -> CorpusConfig:
    """Return the corpus configuration of a YAML file; ConfigError lists all problems."""
    return _or_raise(*_build(CorpusConfig, content(path, overrides)))


def hardware(path: Path) -> Hardware:
    """Return the hardware of a YAML file; ConfigError lists all problems."""
    return _or_raise(*_build(Hardware, _read(path)))


def run(path: Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Return the run configuration of a YAML file; ConfigError lists all problems."""
    values = content(path, overrides)
    if "sweep" in values:
        raise ConfigError([f"{path} has a sweep section: run `python -m scaling sweep` with it"])
    return _or_raise(*_build(RunConfig, values))


def content(path: Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Return the keys of a YAML file and of the file it extends, with overrides, unchecked."""
    return _overridden(_read(path), overrides)


def sweep(path: Path, overrides: Sequence[str] = ()) -> Sweep:
    """Return the runs of the sweep in a YAML file; ConfigError lists all problems.

    A file without a ``sweep`` section is a sweep of one run.
    """
    content = _overridden(_read(path), overrides)
    section, problems = _build(SweepSection, content.pop("sweep", {}), "sweep.")
    section = section or SweepSection()
    combinations = _combinations(section.grid) if section.grid or not section.points else []
    problems += _search_problems(section)
    points = [
        cell | values
        for cell in (*combinations, *section.points)
        for values in _combinations(section.search)
    ]
    names = list(dict.fromkeys(name for point in points for name in point))
    runs = []
    for point in points:
        built, found = _build(RunConfig, with_values(content, point))
        problems += found
        if built:
            runs.append(({name: _at(built, name) for name in names}, built))
    if section.search and any(config.validation.patience for _, config in runs):
        problems.append(
            "validation.patience ends a run early, but sweep.search compares runs at the same "
            "shares of their schedule: write one of the two"
        )
    _or_raise(runs, list(dict.fromkeys(problems)))
    unique = {config.id: (axes, config) for axes, config in runs}
    return Sweep(
        runs=list(unique.values()),
        concurrent=section.concurrent,
        searched=tuple(section.search),
        rungs=section.rungs if section.search else (),
    )


def _combinations(axes: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Return every combination of the values of the axes; one empty combination without axes."""
    return [dict(zip(axes, values, strict=True)) for values in product(*axes.values())]


def _search_problems(section: SweepSection) -> list[str]:
    found = [
        f"sweep.search has {name}, but only {', '.join(SEARCHABLE)} can be searched inside a cell: "
        "write it in sweep.grid, whose runs all train to their end"
        for name in section.search
        if name not in SEARCHABLE
    ]
    rungs = list(section.rungs)
    if section.search and (not rungs or rungs != sorted(set(rungs))):
        found.append(
            f"sweep.rungs is {rungs}, but must have one or more shares of the schedule in rising "
            "order: write, for example, [0.25, 0.5]"
        )
    return found


def comparison(path: Path, overrides: Sequence[str] = ()) -> tuple[CompareConfig, list[RunConfig]]:
    """Return a comparison and the run of each row; ConfigError lists all problems."""
    found = _or_raise(*_build(CompareConfig, content(path, overrides)))
    runs, problems = [], []
    for row in found.rows:
        values = {**found.values, **row.values, "study": found.study, "corpus": found.corpus}
        built, wrong = _build(RunConfig, with_values(_read(path.parent / row.config), values))
        problems += [f"row {row.name!r}: {sentence}" for sentence in wrong]
        if built:
            runs.append(built)
    return found, _or_raise(runs, problems)


def with_values(content: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of ``content`` with these values by dotted key."""
    merged = dict(content)
    for dotted, value in values.items():
        for key in reversed(dotted.split(".")):
            value = {key: value}
        merged = _merged(merged, value)
    return merged


def parse_yaml(text: str) -> Any:
    """Return the values of a YAML text; ValueError if it has none or over ``MOST_VALUES``."""
    try:
        content = yaml.safe_load(text)
    except Exception as error:
        # PyYAML raises its own errors, and those of Python when it builds a value.
        raise ValueError(str(error) or type(error).__name__) from error
    waiting, count = [content], 0
    while waiting and count <= MOST_VALUES:
        value = waiting.pop()
        count += 1
        if isinstance(value, dict):
            waiting += [*value, *value.values()]
        elif isinstance(value, list | tuple | set):
            waiting += value
    if waiting:
        raise ValueError(f"with its aliases it has over {MOST_VALUES:,} values")
    return content


def _or_raise(built: Built | None, problems: list[str]) -> Built:
    if problems or built is None:
        raise ConfigError(problems)
    return built


def _read(path: Path, *, extended: bool = False) -> dict[str, Any]:
    try:
        content = parse_yaml(path.read_text())
    except OSError as error:
        raise ConfigError([f"{_cut(str(path))} cannot be read: {error.strerror}"]) from error
    except ValueError as error:
        raise ConfigError([f"{path} is not valid YAML: {error}"]) from error
    if not isinstance(content, dict):
        raise ConfigError([f"{path} has no keys and values: write lines such as `seed: 0`"])
    parent = content.pop("extends", None)
    if parent is None:
        return content
    if not isinstance(parent, str):
        raise ConfigError(
            [f"{path} extends {_shown(parent)}, which is no path: write the path of a file"]
        )
    if extended:
        raise ConfigError(
            [f"{path} is extended and extends {parent}, but one level is allowed: merge them"]
        )
    return _merged(_read(path.parent / parent, extended=True), content)


def _merged(base: Mapping[str, Any], top: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in top.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merged(merged[key], value) if both else value
    return merged


def _overridden(content: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    values = {}
    for override in overrides:
        key, separator, text = override.partition("=")
        if not separator or not key:
            raise ConfigError(
                [f"`{override}` is no override: write key=value, such as model.layers=6"]
            )
        try:
            values[key] = parse_yaml(text)
        except ValueError as error:
            raise ConfigError([f"`{override}` has no valid YAML value: {error}"]) from error
    return with_values(content, values)


def _at(config: RunConfig, dotted: str) -> Any:
    value: Any = config
    for key in dotted.split("."):
        # A point may set a key that only its kind of model has.
        value = getattr(value, key, None)
    return value


def _build(
    kind: type[Section], content: Mapping[str, Any], prefix: str = ""
) -> tuple[Section | None, list[str]]:
    """Return the section, or None and a sentence for each problem."""
    try:
        return kind.model_validate(content), []
    except ValidationError as error:
        return None, [_sentence(kind, detail, prefix) for detail in error.errors()]


def _sentence(kind: type[BaseModel], detail: Mapping[str, Any], prefix: str) -> str:
    location = [str(part)[:LONGEST_SHOWN] for part in detail["loc"]]
    if detail["type"] == "union_tag_invalid":
        kinds = ", ".join(KINDS)
        return (
            f"{prefix}{location[-1]}.kind is {_shown(detail['ctx']['tag'])}: write one of {kinds}"
        )
    if detail["type"] == "union_tag_not_found":
        if isinstance(detail["input"], dict):
            return f"{prefix}{location[-1]}.kind is null: write one of {', '.join(KINDS)}"
        return f"{prefix}{location[-1]} is {_shown(detail['input'])}: write keys and values"
    model: type[Shape] | None = None
    if kind is RunConfig and location[0] == "model" and len(location) > 1:
        # Pydantic adds the kind of the model to the location.
        model = KINDS[location.pop(1)]
    name = prefix + ".".join(location)
    value = detail["input"]
    if detail["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        known = _keys_at(kind, location[:-1], model)
        nearest = difflib.get_close_matches(location[-1], known, n=1, cutoff=0)
        parent = prefix + "".join(f"{part}." for part in location[:-1])
        return (
            f"{name} = {_shown(value)} is not a key of the configuration: "
            f"the nearest is {parent}{nearest[0]}"
        )
    if detail["type"] == "missing":
        return f"{name} is missing: write a value for it"
    message = detail["msg"].removeprefix("Value error, ")
    message = _cut(message[0].lower() + message[1:], 5 * LONGEST_SHOWN)
    # A message without a name is about several keys, which it names.
    return f"{name} is {_shown(value)}: {message}" if name else message


def _shown(value: Any) -> str:
    return _cut(repr(value))


def _cut(text: str, longest: int = LONGEST_SHOWN) -> str:
    return text if len(text) <= longest else f"{text[:longest]}..."


def _keys_at(kind: Any, location: Iterable[str], model: type[Shape] | None) -> list[str]:
    for key in location:
        if key.isdecimal():  # an element of a list, whose kind is known
            continue
        kind = model if model and key == "model" else kind.model_fields[key].annotation
        # Unwrap an optional section or a list of sections.
        while inner := get_args(kind):
            kind = inner[0]
    if is_dataclass(kind):
        return [field.name for field in fields(kind)]
    return list(kind.model_fields)
