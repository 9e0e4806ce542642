"""Repeated preparations: after losses, with more files or other settings, in a bucket."""

import dataclasses

import numpy as np
import pytest

from datasets import audio, quantise, shards
from datasets.manifest import Corpus
from datasets.splits import SplitRule
from datasets.storage import Folder
from tests.helpers.sounds import RATE, SETTINGS, codes_of, contents, noise, prepare, sound, state

pytestmark = pytest.mark.usefixtures("ray_session")


@pytest.fixture(scope="module")
def takes(tmp_path_factory):
    """Write a folder of two files."""
    root = tmp_path_factory.mktemp("takes")
    sound(root / "take2.wav", noise(30_000, 2))
    sound(root / "more" / "take10.flac", noise(20_000, 3), 44_100)
    return root


@pytest.fixture(scope="module")
def prepared(takes, tmp_path_factory, ray_session):
    return prepare(takes, tmp_path_factory.mktemp("prepared"))


def test_a_second_call_writes_nothing(prepared, takes):
    before = state(prepared.folder.local)
    assert prepare(takes, prepared.folder).fingerprint == prepared.fingerprint
    assert state(prepared.folder.local) == before


@pytest.mark.fault(
    "Corpora", "a part of a prepared corpus is missing", "it is made again bit for bit"
)
@pytest.mark.parametrize("lost", ["", ".json", "corpus.json", "all"])
def test_missing_parts_are_made_again_bit_for_bit(prepared, takes, lost):
    before = contents(prepared.folder.local)
    shard = prepared.recordings[0].shard
    every = [shard, f"{shard}.json", "corpus.json"]
    for name in every if lost == "all" else [lost if lost == "corpus.json" else shard + lost]:
        (prepared.folder.local / name).unlink()
    (prepared.folder.local / "shards" / "left.parquet.0123.partial").write_text("killed half-way")
    assert prepare(takes, prepared.folder).fingerprint == prepared.fingerprint
    assert contents(prepared.folder.local) == before


def test_other_settings_or_audio_leave_the_earlier_shards_alone(tmp_path):
    root, folder = tmp_path / "root", tmp_path / "corpus"
    sound(root / "a.wav", noise(4_000) / 4)
    first = prepare(root, folder)
    before = state(folder)
    louder = dataclasses.replace(SETTINGS, scaling="file", codec="linear")
    second = prepare(root, folder, settings=louder)
    assert second.recordings[0].shard != first.recordings[0].shard
    assert second.fingerprint != first.fingerprint
    samples = audio.read(root / "a.wav", RATE)
    expected = quantise.encode(samples / np.abs(samples).max(), "linear")
    assert np.array_equal(codes_of(second, second.recordings[0]), expected)
    # The files of the earlier manifest are still there.
    assert np.array_equal(codes_of(first, first.recordings[0]), quantise.encode(samples, "mulaw"))
    sound(root / "a.wav", noise(4_000, 9))
    changed = prepare(root, folder)
    assert changed.recordings[0].parts[0].sha256 != first.recordings[0].parts[0].sha256
    kept = {name: value for name, value in state(folder).items() if name in before}
    del before["corpus.json"], kept["corpus.json"]
    assert kept == before


@pytest.mark.fault(
    "Corpora",
    "files are added",
    "no file changes its split; the fingerprint changes",
)
@pytest.mark.parametrize("kind", ["order", "hash"])
def test_files_that_come_later_are_converted_alone_and_move_no_file(tmp_path, kind):
    root, folder, rule = tmp_path / "root", tmp_path / "corpus", SplitRule(kind, (0.5, 0.25, 0.25))
    for i in range(12):
        sound(root / f"{2 * i:02}.wav", noise(1_000 + i, i))
    (root / "05.wav").write_text("no audio")
    first = prepare(root, folder, split=rule)
    before = state(folder)
    for i in range(3):
        sound(root / f"{8 * i + 1:02}.wav", noise(2_000 + i, 20 + i))
    second = prepare(root, folder, split=rule)
    after = state(folder)
    del before["corpus.json"]
    assert {name: after[name] for name in before} == before
    assert len(after) == len(before) + 3
    assert len(second.recordings) == 15 and len(second.shards) == len(first.shards) + 1
    known = {entry.name: entry for entry in second.recordings}
    assert all(known[entry.name] == entry for entry in first.recordings)
    assert second.rejected == first.rejected


def test_a_corpus_that_has_grown_is_made_again_bit_for_bit(tmp_path):
    root, folder = tmp_path / "root", tmp_path / "corpus"
    for names in (("b.wav", "d.wav"), ("a.wav", "c.wav")):
        for name in names:
            sound(root / name, noise(1_000 + ord(name[0]), ord(name[0])))
        grown = prepare(root, folder)
    before = contents(folder)
    assert len(grown.shards) == 2
    for shard in grown.shards:
        (folder / shard).unlink()
        assert prepare(root, folder) == grown
        assert contents(folder) == before


def written(folder):
    """Return the time at which each object of a bucket was written."""
    system, _ = folder.filesystem_path("")
    times = {
        name: system.get_file_info(folder.filesystem_path(name)[1]).mtime_ns
        for name in folder.list_files()
    }
    assert all(times.values())
    return times


def test_audio_in_a_bucket_is_prepared_into_the_bucket(bucket, takes, prepared, tmp_path):
    base = Folder.of(f"{bucket}/{tmp_path.name}")
    root, destination = base.subfolder("audio"), base.subfolder("corpus")
    for name in ("take2.wav", "more/take10.flac"):
        root.write_bytes(name, (takes / name).read_bytes())
    corpus = prepare(root, destination)
    assert corpus == Corpus.load(str(destination)) and corpus.folder == destination
    assert corpus == prepared
    for entry in corpus.recordings:
        expected = quantise.encode(audio.read(takes / entry.name, RATE), "mulaw")
        assert np.array_equal(codes_of(corpus, entry), expected)
        part = shards.read(destination, entry.location, 1_234, 678)
        assert np.array_equal(part, expected[1_234 : 1_234 + 678])
    before = written(destination)
    assert sorted(before) == sorted(destination.list_files())
    assert prepare(root, destination).fingerprint == corpus.fingerprint
    assert written(destination) == before
