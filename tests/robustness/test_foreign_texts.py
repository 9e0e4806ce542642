"""10,000 damaged inputs for each loader of text files: an error, or the file's content."""

import json

import pytest
import yaml
from hypothesis import strategies as st

from datasets.manifest import Corpus, ManifestError
from datasets.storage import Folder
from scaling.comparison.table import build_comparison
from scaling.config import load
from scaling.config.load import ConfigError
from scaling.evaluation.forecast import ForecastMethod, SeriesForecast
from scaling.evaluation.scores import (
    AttentionMass,
    ContextUse,
    EvaluationError,
    Loss,
    ReplacedContext,
)
from scaling.runs.record import RecordError
from tests.helpers.archives import CORPUS
from tests.helpers.clone import CLONE
from tests.helpers.evaluations import config, evaluation, recorded, scored
from tests.helpers.fuzzing import (
    TOKENS,
    Surface,
    changed,
    changes,
    damaged,
    damages,
    tokens,
    with_token,
)
from tests.helpers.records import run

# Damage to values, to bytes and to the syntax.
some_damage = st.one_of(
    st.tuples(st.just("tree"), changes),
    st.tuples(st.just("bytes"), damages),
    st.tuples(st.just("token"), tokens),
)


def text_of(content, drawn, write=json.dumps, known=TOKENS):
    """Return the text of a tree, damaged as drawn."""
    how, damage = drawn
    if how == "tree":
        return write(changed(content, damage)).encode()
    if how == "token":
        return with_token(content, damage, write, known).encode()
    return damaged(write(content).encode(), damage)


@pytest.mark.fault(
    "Foreign bytes",
    "10,000 damaged files: manifests of corpora",
    "the loader raises its documented error or returns the file's content; it writes no "
    "file elsewhere",
)
def test_damaged_manifests_are_loaded_or_refused_with_the_reason(tmp_path):
    CORPUS.write(Folder.of(tmp_path))
    content = json.loads((tmp_path / "corpus.json").read_text())
    surface = Surface(tmp_path / "given", (ManifestError,))

    def give(drawn):
        (surface.folder / "corpus.json").write_bytes(text_of(content, drawn))
        surface.give(lambda: Corpus.load(surface.folder))

    surface.fuzz(some_damage, give)


BASE = {
    "study": "s",
    "corpus": "data/c",
    "model": {"kind": "latent", "context": 8_000, "chunk": 500, "layers": 1, "filters": [8, 8]},
    "windows": {"targets": "chunks", "per_window": 4, "polarity": True},
    "train": {"batch": 4, "steps": 8, "learning_rate": 1e-3, "second_phase": 0.5},
    "cluster": {"workers": 2, "trackers": ["mlflow"], "storage": "runs"},
}
EXTENDING = {
    "extends": "../base.yaml",
    "sweep": {
        "grid": {"model.layers": [1, 2], "seed": [0]},
        "points": [{"seed": 1, "model.chunk": 1_000}],
        "search": {"train.learning_rate": [1e-3, 1e-2]},
        "rungs": [0.25, 0.5],
        "concurrent": 2,
    },
}
COMPARED = {
    "study": "s",
    "corpus": "data/c",
    "match": ["parameters", "wall_time"],
    "budget": {"wall_time": 50},
    "scoring": {"split": "test", "positions": 1_024},
    "values": {"train.steps": 4, "validation": {"windows": 4}},
    "rows": [{"name": "a", "config": "../base.yaml", "published": 1.4, "values": {"seed": 1}}],
}
CONFIGURATIONS = {
    "run": (load.run, BASE),
    "sweep": (load.sweep, EXTENDING),
    "comparison": (load.comparison, COMPARED),
    "corpus": (load.corpus, "configs/corpora/maestro.yaml"),
    "series": (load.corpus, "configs/corpora/sf_temps.yaml"),
    "hardware": (load.hardware, "configs/hardware/a100.yaml"),
}
# Syntax of YAML that JSON lacks.
YAML_TOKENS = (
    "2001-99-99",
    "2001-01-01",
    "0x",
    "0b_",
    "0o8",
    "1:99",
    "!!int x",
    "!!float y",
    "!!null x",
)
YAML_TOKENS += (
    "!!binary 8",
    "!!timestamp q",
    "!!bool b",
    "!!set {a, b}",
    "!!omap [1]",
    "!!pairs [a: 1]",
)
YAML_TOKENS += (
    "!!python/object/apply:os.mkdir [x]",
    "!x y",
    "*a",
    "&a [*a]",
    "&a {b: *a}",
    "{<<: 3}",
)
YAML_TOKENS += (
    "{? [1] : 2}",
    "{1: 2, null: 3}",
    "=",
    "|",
    ">",
    "%",
    "@",
    "- a",
    "---",
    "[",
    "[" * 700,
)
YAML_TOKENS += ("9" * 5_000, "{a: " * 300, '"\\0"', '"\\ud800"', "\\t", "..", "[&b [0, 0], *b, *b]")


@pytest.mark.fault(
    "Foreign bytes",
    "10,000 damaged files: configurations",
    "the loader raises its documented error or returns the file's content; it writes no "
    "file elsewhere",
)
def test_damaged_configurations_are_loaded_or_refused_with_the_reason(tmp_path):
    contents = {
        name: yaml.safe_load((CLONE / content).read_text()) if isinstance(content, str) else content
        for name, (_, content) in CONFIGURATIONS.items()
    }
    (tmp_path / "base.yaml").write_text(yaml.safe_dump(BASE))
    surface = Surface(tmp_path / "given", (ConfigError,))
    path = surface.folder / "given.yaml"

    def give(drawn):
        name, damage = drawn
        path.write_bytes(text_of(contents[name], damage, yaml_of, YAML_TOKENS))
        surface.give(lambda: CONFIGURATIONS[name][0](path))

    surface.fuzz(st.tuples(st.sampled_from(sorted(contents)), some_damage), give)


def yaml_of(content):
    """Write the content as YAML in JSON syntax, which is ten times as fast."""
    text = json.dumps(content)
    return text.replace("NaN", ".nan").replace("-Infinity", "-.inf").replace("Infinity", ".inf")


@pytest.mark.fault(
    "Foreign bytes",
    "10,000 damaged files: records, evaluations, probes, forecasts and comparisons",
    "the loader raises its documented error or returns the file's content; it writes no "
    "file elsewhere",
)
def test_damaged_records_are_read_or_refused_with_the_reason(tmp_path):
    loss = Loss.of(0.1, 0.01)
    fields = {"run": "a", "split": "test", "targets": 9, "targets_hash": "h", "donors": "itself"}
    fields |= {"rate": 16_000, "context": 4_000, "chunk": 1_000, "effective": 2_000}
    method = ForecastMethod(
        name="a", mean_absolute=1, root_mean_square=2, difference=0, half_interval=0.1
    )
    whole = {
        "run": run({"model.chunk": 2_000, "model.layers": 1, "model.context": 8_000}, 3.2),
        "evaluation": evaluation("a", 3.2, seconds=3),
        "comparison": build_comparison(config(), recorded(), scored()),
        "probe": ContextUse(
            **{**fields, "loss": loss, "gain": loss, "gain_half_interval": 0.1},
            replaced=[ReplacedContext(kind="another", kept=1_000, excess=loss, half_interval=0.02)],
            attention=[AttentionMass(newest=2_000, by_layer=[0.75, 0.5])],
        ),
        "forecast": SeriesForecast(
            run="a", split="s", column="c", season=4, values=9, ways=[method]
        ),
    }
    contents = {name: json.loads(file.model_dump_json()) for name, file in whole.items()}
    surface = Surface(tmp_path / "given", (RecordError, EvaluationError))
    path = surface.folder / "record.json"

    def give(drawn):
        name, damage = drawn
        path.write_bytes(text_of(contents[name], damage))
        surface.give(lambda: type(whole[name]).read(path))

    surface.fuzz(st.tuples(st.sampled_from(sorted(contents)), some_damage), give)
