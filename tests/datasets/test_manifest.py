import dataclasses
import hashlib
import json
import subprocess
import sys

import pytest

from datasets.manifest import (
    Corpus,
    ManifestError,
)
from datasets.shards import ShardLocation
from datasets.storage import Folder
from tests.helpers.archives import CORPUS


def stored(folder):
    CORPUS.write(Folder.of(folder))
    return json.loads((folder / "corpus.json").read_text())


def store(folder, fields):
    (folder / "corpus.json").write_text(json.dumps(fields))


def test_a_corpus_is_read_as_it_was_written(tmp_path):
    written = CORPUS.write(Folder.of(tmp_path))
    assert written == CORPUS == Corpus.load(tmp_path) == Corpus.load(Folder.of(tmp_path))
    assert written.folder == Folder.of(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["corpus.json"]


def test_a_corpus_in_a_bucket_is_read_as_it_was_written(bucket, tmp_path):
    folder = Folder.of(f"{bucket}/{tmp_path.name}")
    with pytest.raises(ManifestError, match=r"is not a prepared corpus \(corpus.json: .*scaling"):
        Corpus.load(folder)
    written = CORPUS.write(folder)
    assert written == CORPUS == Corpus.load(str(folder))
    assert written.fingerprint == CORPUS.write(Folder.of(tmp_path)).fingerprint


def test_the_fingerprint_is_the_hash_of_the_file_and_repeats(tmp_path):
    folder = Folder.of(tmp_path)
    first = CORPUS.write(folder).fingerprint
    assert first == hashlib.sha256((tmp_path / "corpus.json").read_bytes()).hexdigest()
    assert Corpus.load(tmp_path).write(folder).fingerprint == first
    assert dataclasses.replace(CORPUS, rate=8000).write(folder).fingerprint != first


def test_a_manifest_has_a_line_for_each_entry(tmp_path):
    stored(tmp_path)
    lines = (tmp_path / "corpus.json").read_text().splitlines()
    for beginning in ('  {"name": "a"', '  {"name": "b ', '  {"name": "c.wav"', '  "shards/s.parq'):
        assert len([line for line in lines if line.startswith(beginning)]) == 1


def test_a_recordings_place_is_that_of_its_codes():
    assert CORPUS.recordings[1].location == ShardLocation("shards/s.parquet", 1, 90)


def test_the_longest_recording_ends_latest():
    assert CORPUS.longest_recording("train").name.startswith("b")
    assert CORPUS.longest_recording("validation").name == "a"
    with pytest.raises(ManifestError, match=r"no samples in split 'test' \(rule: time 0.70"):
        CORPUS.longest_recording("test")


@pytest.mark.fault("Corpora", "the corpus is not prepared", "an error names what to type")
def test_a_folder_without_a_corpus_is_refused_with_the_command_to_type(tmp_path):
    with pytest.raises(ManifestError, match=r"is not a prepared corpus.*scaling prepare --config"):
        Corpus.load(tmp_path)


@pytest.mark.fault("Corpora", "the manifest is damaged", "an error names the place")
@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda f: f.update(schema=1), "has schema 1, this version reads 2"),
        (lambda f: f.pop("schema"), "has schema None, this version reads 2"),
        (lambda f: f.pop("rate"), "rate: Field required"),
        (lambda f: f.update(sped=1), "sped: Unexpected"),
        (lambda f: f.update(rate="16000"), r"rate: Input should be a valid int.*'16000'"),
        (lambda f: f.update(recordings=3), "recordings: Input should be a valid"),
        (lambda f: f["recordings"][1].pop("shard"), r"recordings\.1\.shard: Field required"),
        (lambda f: f["recordings"][0]["ranges"].update(train=[0]), r"recordings\.0\.ranges\.train"),
        (lambda f: f["recordings"][0]["level"].update(peek=1), r"recordings\.0\.level\.peek: Unex"),
        (lambda f: f["recordings"][0]["level"].update(rms="1"), r"recordings\.0\.level\.rms: Inp"),
        (lambda f: f["recordings"][0]["parts"][1].pop("begin"), r"parts\.1\.begin: Field required"),
        (lambda f: f["augmentation"].update(gain=1), r"augmentation\.gain: Unexpected"),
        (lambda f: f["augmentation"].update(gain_decibels=99), "augmentation: .*not possible"),
        (lambda f: f["shards"]["shards/s.parquet"].pop("bytes"), r"shards/s\.parquet\.bytes: Fie"),
        (lambda f: f["linear"].update(coefficients=["x"]), r"linear\.coefficients\.0: Input"),
        (lambda f: f["splits"].update(train=[]), r"splits\.train: Input should be"),
    ],
)
def test_damage_is_named_where_it_is(tmp_path, change, sentence):
    fields = stored(tmp_path)
    change(fields)
    store(tmp_path, fields)
    with pytest.raises(ManifestError, match=sentence) as error:
        Corpus.load(tmp_path)
    assert str(error.value).endswith(": prepare the corpus again.")


def test_a_damaged_key_of_any_length_is_shown_in_part(tmp_path):
    fields = stored(tmp_path)
    fields["x" * 5_000] = 1
    store(tmp_path, fields)
    with pytest.raises(ManifestError, match=r"x\.\.\.: Unexpected") as error:
        Corpus.load(tmp_path)
    assert len(str(error.value)) < 1_000


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "[" * 200_000])
def test_files_that_are_no_manifest_are_refused(tmp_path, text):
    (tmp_path / "corpus.json").write_text(text)
    with pytest.raises(ManifestError, match="prepare the corpus again"):
        Corpus.load(tmp_path)


def test_manifests_and_windows_load_without_heavy_libraries():
    heavy = "{'ray', 'torch', 'scipy', 'soundfile', 'soxr', 'pandas'}"
    program = (
        f"import sys, datasets.windows, datasets.permutation; assert not {heavy} & {{*sys.modules}}"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
