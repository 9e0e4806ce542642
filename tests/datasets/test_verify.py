"""Problems that `verify` reports, locally and in a bucket; following its advice mends them."""

import dataclasses
import json
import re
import subprocess
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

from datasets import jobs, shards, takes
from datasets.manifest import Corpus, Shard
from datasets.prepare import prepare_corpus
from datasets.storage import Folder
from datasets.verify import verify_corpus
from scaling.cli.main import app
from tests.helpers.sounds import asked, in_process, noise, sound

SAMPLES = 2_000
AGAIN = "run `python -m scaling prepare --config ...`, which makes it again."


@pytest.fixture(autouse=True)
def without_ray(monkeypatch):
    monkeypatch.setattr(jobs, "run_tasks", in_process)
    monkeypatch.setattr(takes, "SHARD_TAKES", 2)


@pytest.fixture
def root(tmp_path):
    """Write four recordings of one length, and an unusable file."""
    for seed, name in enumerate("abcd"):
        sound(tmp_path / f"audio/{name}.wav", noise(SAMPLES, seed))
    (tmp_path / "audio/e.wav").write_text("no audio")
    return tmp_path / "audio"


@pytest.fixture(params=["local", "s3"])
def corpus(request, tmp_path, root):
    """Prepare the recordings in two shards, beside the facts of a third one without recordings."""
    place = tmp_path / "corpus"
    if request.param == "s3":
        place = f"{request.getfixturevalue('bucket')}/{tmp_path.name}"
    return prepare_corpus(asked(), Folder.of(root), Folder.of(place))


@pytest.fixture
def local(tmp_path, root):
    return prepare_corpus(asked(), Folder.of(root), Folder.of(tmp_path / "corpus"))


def problems(corpus):
    return verify_corpus(corpus, lambda step, done, total: None).problems


def remove(folder, name):
    system, path = folder.filesystem_path(name)
    system.delete_file(path)


def flip(folder, name, byte):
    content = bytearray(folder.read_bytes(name))
    content[byte] ^= 1
    folder.write_bytes(name, bytes(content))


def changed(corpus, name, /, **fields):
    """Return the corpus with changed fields of one recording in its manifest."""
    recordings = [
        dataclasses.replace(entry, **fields) if entry.name == name else entry
        for entry in corpus.recordings
    ]
    return dataclasses.replace(corpus, recordings=tuple(recordings))


def test_a_corpus_as_it_was_prepared_is_whole(corpus):
    steps = []
    found = verify_corpus(corpus, lambda *step: steps.append(step))
    assert (found.problems, found.notes, found.unnamed) == ((), (), {})
    assert steps == [("verify", 1, 2), ("verify", 2, 2)]


@pytest.mark.fault(
    "Corpora",
    "one bit of a shard changes",
    "`verify` names the shard and the remedy",
)
@pytest.mark.parametrize("byte", [0, SAMPLES, -1])
def test_one_flipped_bit_is_found_and_the_shard_named(local, byte):
    damaged = list(local.shards)[1]
    flip(local.folder, damaged, byte)
    (problem,) = problems(local)
    assert problem.startswith(f"{damaged} is damaged: it has the size but not the SHA-256")
    assert problem.endswith(AGAIN)


def test_a_damaged_shard_has_to_be_removed_before_prepare_makes_it_again(corpus, root):
    damaged = next(iter(corpus.shards))
    flip(corpus.folder, damaged, SAMPLES)
    assert prepare_corpus(asked(), Folder.of(root), corpus.folder) == corpus
    (problem,) = problems(corpus)
    assert f"{corpus.folder}/{damaged}" in problem
    assert re.search("run `rm /|: remove s3://", problem)
    remove(corpus.folder, damaged)
    assert problems(prepare_corpus(asked(), Folder.of(root), corpus.folder)) == ()


@pytest.mark.fault(
    "Corpora", "a shard is cut", "`verify` finds it, and `prepare` makes it again bit for bit"
)
def test_a_truncated_shard_is_found_and_prepare_makes_it_again(corpus, root):
    damaged = next(iter(corpus.shards))
    content = corpus.folder.read_bytes(damaged)
    corpus.folder.write_bytes(damaged, content[:-100])
    assert problems(corpus) == (
        f"{damaged} has {len(content) - 100:,} bytes, corpus.json states {len(content):,}: {AGAIN}",
    )
    assert problems(prepare_corpus(asked(), Folder.of(root), corpus.folder)) == ()


@pytest.mark.fault(
    "Corpora", "shards are missing", "`verify` finds it, and `prepare` makes it again bit for bit"
)
def test_missing_shards_are_each_found_and_prepare_makes_them_again(corpus, root):
    for shard in corpus.shards:
        remove(corpus.folder, shard)
    assert problems(corpus) == tuple(f"{shard} is missing: {AGAIN}" for shard in corpus.shards)
    assert problems(prepare_corpus(asked(), Folder.of(root), corpus.folder)) == ()


@pytest.mark.parametrize(
    "fields",
    [
        {"row": 0},
        {"row": 2},
        {"samples": SAMPLES - 1},
        {"samples": SAMPLES + 1},
        {"samples": 10**6},
        {"samples": 10**9},
        {"samples": 0},
        {"name": "another.wav"},
    ],
)
def test_a_recording_at_another_place_than_in_the_manifest_is_found(local, fields):
    owned = local.recordings[1]
    (problem,) = problems(changed(local, owned.name, **fields))
    stated = dataclasses.replace(owned, **fields)
    assert problem.startswith(
        f"{owned.shard} lacks 1 of its 2 recordings as corpus.json states them, such as "
        f"{stated.name!r} with {stated.samples:,} samples from row group {stated.row} on: "
    )


def test_every_row_group_of_a_long_recording_is_looked_at(local):
    place = local.folder.local / "shards/long.parquet"
    blocks = [np.zeros(shards.BLOCK, dtype=np.uint8), np.ones(5, dtype=np.uint8)]
    writer = shards.ShardWriter(place, 256)
    writer.add("long", blocks)
    writer.close()
    name = "shards/long.parquet"
    shard = Shard(place.stat().st_size, local.folder.sha256(name))
    entry = dataclasses.replace(
        local.recordings[0], name="long", shard=name, row=0, samples=shards.BLOCK + 5
    )
    whole = dataclasses.replace(local, recordings=(entry,), shards={name: shard})
    assert problems(whole) == ()
    assert len(problems(changed(whole, "long", samples=shards.BLOCK + 4))) == 1
    assert len(problems(changed(whole, "long", samples=shards.BLOCK))) == 1


def test_a_recording_in_a_shard_but_not_in_the_manifest_is_found(local):
    owned = local.recordings[0]
    shard = next(name for name in local.shards if name != owned.shard)
    forgotten = dataclasses.replace(local, shards={shard: local.shards[shard]})
    (problem,) = problems(forgotten)
    assert problem.startswith(f"corpus.json puts {owned.name!r} into {owned.shard} and does not")


def test_a_file_that_is_no_shard_is_reported_even_if_the_manifest_has_its_hash(corpus):
    shard = corpus.recordings[0].shard
    corpus.folder.write_bytes(shard, b"no shard")
    stated = Shard(len(b"no shard"), corpus.folder.sha256(shard))
    (problem,) = problems(dataclasses.replace(corpus, shards={**corpus.shards, shard: stated}))
    assert problem.startswith(f"{shard} cannot be read (")


def test_half_written_files_are_found_by_their_temporary_names(local):
    for name in (
        "corpus.json.0a.partial",
        "shards/x.parquet.0b.partial",
        "unpacked/01ab.0c.partial/one.wav",
        "unpacked/01ab.0c.partial/two.wav",
        "unpacked/23cd/a member.partial",
    ):
        local.folder.write_bytes(name, b"half")
    found = problems(local)
    assert [problem.split(" is half-written")[0] for problem in sorted(found)] == [
        "corpus.json.0a.partial (4 bytes)",
        "shards/x.parquet.0b.partial (4 bytes)",
        "unpacked/01ab.0c.partial (8 bytes)",
    ]
    for problem in found:
        command = re.search("run `(.*)`", problem).group(1)
        subprocess.run(command, shell=True, check=True)
    assert problems(local) == ()


def test_files_that_the_manifest_does_not_name_are_a_note_with_their_bytes(corpus):
    left = {"shards/old.parquet": 7, "shards/old.parquet.json": 3, "shards/read me.txt": 5}
    for name, size in left.items():
        corpus.folder.write_bytes(name, bytes(size))
    found = verify_corpus(corpus, lambda step, done, total: None)
    assert (found.problems, found.unnamed) == ((), {**left})
    (note,) = found.notes
    assert "3 files in shards (15 bytes), such as 'shards/old.parquet'" in note


def test_shards_of_earlier_settings_can_be_deleted(local, root):
    other = asked(settings=dataclasses.replace(asked().settings, codec="linear"))
    newer = prepare_corpus(other, Folder.of(root), local.folder)
    found = verify_corpus(newer, lambda step, done, total: None)
    assert {name.removesuffix(".json") for name in found.unnamed} == set(local.shards)
    for name in found.unnamed:
        remove(local.folder, name)
    assert verify_corpus(newer, lambda step, done, total: None).notes == ()
    assert prepare_corpus(other, Folder.of(root), local.folder) == newer


def test_the_exit_code_is_0_for_a_whole_corpus_and_1_otherwise(local):
    well = CliRunner().invoke(app, ["verify", str(local.folder)])
    assert well.exit_code == 0
    assert well.stdout == f"{local.folder} is whole: recordings 4, shards 2\n"
    remove(local.folder, next(iter(local.shards)))
    local.folder.write_bytes("shards/other", b"1234")
    ill = CliRunner().invoke(app, ["verify", str(local.folder)])
    assert ill.exit_code == 1
    assert [line.split(":")[0] for line in ill.stdout.splitlines()] == ["note", "problem"]


def test_the_verb_prints_json_when_asked(local):
    remove(local.folder, next(iter(local.shards)))
    local.folder.write_bytes("shards/other", b"1234")
    done = CliRunner().invoke(app, ["verify", str(local.folder), "--json"])
    assert done.exit_code == 1
    found = json.loads(done.stdout)
    assert found["problems"] == list(problems(local))
    assert found["unnamed"] == {"shards/other": 4}
    assert len(found["notes"]) == 1


@pytest.mark.parametrize("content", [None, b"{", b'{"schema": 1}'])
def test_a_manifest_that_is_missing_or_damaged_is_the_problem(local, content):
    if content is None:
        remove(local.folder, "corpus.json")
    else:
        local.folder.write_bytes("corpus.json", content)
    done = CliRunner().invoke(app, ["verify", str(local.folder)])
    assert done.exit_code == 1
    assert done.stdout.startswith("problem: ") and "corpus.json" in done.stdout
    assert "prepare" in done.stdout
    (problem,) = json.loads(
        CliRunner().invoke(app, ["verify", str(local.folder), "--json"]).stdout
    )["problems"]
    assert f"problem: {problem}\n" == done.stdout


def test_a_bucket_is_verified_by_its_uri(bucket, root, tmp_path):
    place = f"{bucket}/{tmp_path.name}"
    prepare_corpus(asked(), Folder.of(root), Folder.of(place))
    done = CliRunner().invoke(app, ["verify", place])
    assert (done.exit_code, done.stdout) == (0, f"{place} is whole: recordings 4, shards 2\n")
    assert Corpus.load(place).folder == Folder.of(place)


def test_corpora_are_verified_and_described_without_ray():
    program = (
        "import sys, datasets.verify, scaling.reporting.corpus_description; "
        "import scaling.reporting.corpus_picture, scaling.cli.corpus_tables; "
        "assert 'ray' not in sys.modules and 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
