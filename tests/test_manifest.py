import dataclasses
import hashlib
import json
import subprocess
import sys

import pytest

from datasets.manifest import (
    Corpus,
    ManifestError,
    Recording,
    Reference,
    Rejected,
    SplitSummary,
)


def recording(name, samples, ranges):
    return Recording(name, f"shards/{name}.parquet", samples, 44100, 2, "ab", "cd", ranges)


CORPUS = Corpus(
    name="two takes",
    rate=16000,
    codec="mulaw",
    levels=256,
    scaling="none",
    split_rule="time 0.70/0.15/0.15",
    contexts_cross_splits=True,
    licence="public domain",
    recordings=(
        recording("a", 100, {"train": (0, 70), "validation": (70, 85)}),
        recording("b \N{MUSICAL SYMBOL G CLEF}\n", 90, {"train": (0, 90)}),
    ),
    rejected=(Rejected("c.wav", "it is truncated"),),
    splits={"train": SplitSummary(2, 160, 0.01, 7.5, 6.5)},
    linear=Reference(2, (1.5, -0.5), 0.25, 3.0),
    versions={"numpy": "2"},
)


def stored(folder):
    CORPUS.write(folder)
    return json.loads((folder / "corpus.json").read_text())


def store(folder, fields):
    (folder / "corpus.json").write_text(json.dumps(fields))


def test_a_corpus_is_read_as_it_was_written(tmp_path):
    written = CORPUS.write(tmp_path)
    assert written == CORPUS == Corpus.load(tmp_path)
    assert written.folder == tmp_path
    assert [path.name for path in tmp_path.iterdir()] == ["corpus.json"]


def test_the_fingerprint_is_the_hash_of_the_file_and_repeats(tmp_path):
    first = CORPUS.write(tmp_path).fingerprint
    assert first == hashlib.sha256((tmp_path / "corpus.json").read_bytes()).hexdigest()
    assert Corpus.load(tmp_path).write(tmp_path).fingerprint == first
    assert dataclasses.replace(CORPUS, rate=8000).write(tmp_path).fingerprint != first


def test_longest_is_what_ends_latest(tmp_path):
    assert CORPUS.longest("train").name.startswith("b")
    assert CORPUS.longest("validation").name == "a"
    with pytest.raises(ManifestError, match=r"no samples in split 'test' \(rule: time 0.70"):
        CORPUS.longest("test")


def test_a_folder_without_a_corpus_says_what_to_type(tmp_path):
    with pytest.raises(ManifestError, match=r"is not a prepared corpus.*scaling prepare --config"):
        Corpus.load(tmp_path)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda f: f.update(schema=99), "has schema 99, this version reads 1"),
        (lambda f: f.pop("rate"), r"missing fields \['rate'\]"),
        (lambda f: f.update(sped=1), r"unknown fields \['sped'\]"),
        (lambda f: f.update(rate="16000"), "rate is '16000', which is not int"),
        (lambda f: f.update(recordings=3), "recordings is 3"),
        (lambda f: f["recordings"][1].pop("shard"), r"recordings 1: missing fields \['shard'\]"),
        (lambda f: f["recordings"][0]["ranges"].update(train=[0]), r"ranges 'train' is \[0\]"),
        (lambda f: f["linear"].update(coefficients=["x"]), "coefficients 0 is 'x'"),
        (lambda f: f["splits"].update(train=[]), r"splits 'train' is \[\]"),
    ],
)
def test_damage_is_named_where_it_is(tmp_path, change, sentence):
    fields = stored(tmp_path)
    change(fields)
    store(tmp_path, fields)
    with pytest.raises(ManifestError, match=sentence):
        Corpus.load(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "3"])
def test_what_is_no_manifest_is_refused(tmp_path, text):
    (tmp_path / "corpus.json").write_text(text)
    with pytest.raises(ManifestError, match="prepare the corpus again"):
        Corpus.load(tmp_path)


def test_manifests_and_windows_load_without_heavy_libraries():
    heavy = "{'ray', 'torch', 'pyarrow', 'scipy', 'soundfile', 'soxr'}"
    program = (
        f"import sys, datasets.windows, datasets.permutation; assert not {heavy} & {{*sys.modules}}"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
