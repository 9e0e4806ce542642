import itertools

import numpy as np
import pytest

from datasets import audio, convert, quantise, shards, takes
from datasets.convert import ShardFacts
from datasets.manifest import Shard
from datasets.splits import SplitRule
from datasets.storage import Folder
from tests.helpers.sounds import (
    RATE,
    SETTINGS,
    TIME,
    contents,
    hashed,
    in_process,
    noise,
    sound,
    state,
)

ORDER = SplitRule("order")
NAMES = ("a/1.wav", "a/2.wav", "a/10.wav", "b/1.wav", "c.wav")


@pytest.fixture(autouse=True)
def without_ray(monkeypatch):
    """Run the work in this process, the last piece first."""
    monkeypatch.setattr(takes.jobs, "run_tasks", in_process)


@pytest.fixture
def root(tmp_path):
    """Write files of slightly different lengths, ``NAMES`` and some more."""
    for number, name in enumerate((*NAMES, "d.wav", "e.wav")):
        sound(tmp_path / "root" / name, noise(1_000 + 10 * number, number))
    return tmp_path / "root"


@pytest.fixture
def folder(tmp_path):
    folder = Folder.of(tmp_path / "corpus")
    folder.make_folder("shards")
    return folder


def grouped(asked):
    return [[source.name for source in take.sources] for take in asked]


def made(root, folder, names, progress=lambda *step: None, copies=0, settings=SETTINGS):
    """Return the result of ``convert_takes`` for a take of each file."""
    files = hashed(root, *names)
    asked = takes.form_takes(files, {}, False, copies)
    return takes.convert_takes(asked, files, settings, folder, progress)


def test_each_file_is_a_take_if_none_are_joined(root):
    files = hashed(root, *NAMES)
    found = takes.form_takes(files, dict.fromkeys(NAMES, "train"), False, 0)
    assert grouped(found) == [[name] for name in NAMES]
    assert [take.sha256 for take in found] == [(file.sha256,) for file in files]
    assert {take.epoch for take in found} == {0}


@pytest.mark.parametrize(
    ("splits", "expected"),
    [
        ("ttttt", [NAMES[:3], NAMES[3:4], NAMES[4:]]),
        ("ttvvv", [NAMES[:2], NAMES[2:3], NAMES[3:4], NAMES[4:]]),
        ("tvttt", [NAMES[:1], NAMES[1:2], NAMES[2:3], NAMES[3:4], NAMES[4:]]),
        ("", [NAMES[:3], NAMES[3:4], NAMES[4:]]),
    ],
)
def test_consecutive_files_of_a_folder_and_a_split_are_joined(root, splits, expected):
    owned = dict(zip(NAMES, splits, strict=False))
    found = takes.form_takes(hashed(root, *NAMES), owned, True, 0)
    assert grouped(found) == [list(group) for group in expected]


def test_training_takes_alone_come_in_changed_copies(root):
    owned = dict(zip(NAMES, ("train", "train", "test", "validation", "train"), strict=True))
    for join, train in (
        (False, [["a/1.wav"], ["a/2.wav"], ["c.wav"]]),
        (True, [["a/1.wav", "a/2.wav"], ["c.wav"]]),
    ):
        plain = takes.form_takes(hashed(root, *NAMES), owned, join, 0)
        found = takes.form_takes(hashed(root, *NAMES), owned, join, 2)
        assert found[: len(plain)] == plain
        copies = found[len(plain) :]
        assert grouped(copies) == train * 2
        assert [take.epoch for take in copies] == [1] * len(train) + [2] * len(train)


def test_all_takes_are_copied_if_recordings_are_cut_in_time(root):
    assert len(takes.form_takes(hashed(root, *NAMES), {}, False, 3)) == 4 * len(NAMES)


def test_results_are_in_the_order_of_the_takes_with_the_codes_of_each(root, folder, monkeypatch):
    monkeypatch.setattr(takes, "SHARD_TAKES", 2)
    names = (*NAMES[::-1], "d.wav")
    steps = []
    results = made(root, folder, names, lambda *step: steps.append(step))
    assert [take.sources[0].name for take, _, _ in results] == list(names)
    for take, facts, what in results:
        (entry,) = what.entries
        place = shards.ShardLocation(facts.shard, entry.row, entry.samples)
        codes = shards.read(folder, place, 0, entry.samples)
        samples = audio.read(root / take.sources[0].name, RATE)
        assert np.array_equal(codes, quantise.encode(samples, "mulaw"))
    assert steps == [("convert", done, 6) for done in (2, 4, 6)]
    assert len(folder.list_files("shards")) == 6


@pytest.mark.parametrize(
    ("most_bytes", "most_takes", "expected"),
    [
        (10**9, 1_024, [7]),
        (10**9, 3, [3, 3, 1]),
        (10**9, 7, [7]),
        (1, 1_024, [1] * 7),
        # Each file has some 2,044 to 2,164 bytes.
        (4_080, 1_024, [2, 2, 2, 1]),
        (4_200, 1_024, [3, 2, 2]),
        (10**9, 1, [1] * 7),
    ],
)
def test_a_shard_is_full_with_so_many_bytes_or_takes(
    root, folder, monkeypatch, most_bytes, most_takes, expected
):
    monkeypatch.setattr(takes, "SHARD_BYTES", most_bytes)
    monkeypatch.setattr(takes, "SHARD_TAKES", most_takes)
    results = made(root, folder, (*NAMES, "d.wav", "e.wav"))
    groups = [len(list(group)) for _, group in itertools.groupby(results, lambda r: r[1].shard)]
    assert groups == expected


def test_takes_that_a_killed_call_did_not_finish_become_the_same(root, folder, monkeypatch):
    monkeypatch.setattr(takes, "SHARD_TAKES", 2)
    names = (*NAMES, "d.wav", "e.wav")
    results = made(root, folder, names)
    whole = state(folder.local)
    lines = list(dict.fromkeys(facts.shard for _, facts, _ in results))
    assert len(lines) == 4
    for lost in itertools.chain.from_iterable(itertools.combinations(lines, n) for n in range(5)):
        for number, shard in enumerate(lost):
            # As after a kill before the facts were written, or after somebody removed the shard.
            (folder.local / f"{shard}{'.json' if number % 2 else ''}").unlink()
        assert made(root, folder, names) == results
        after = state(folder.local)
        assert {n: c for n, (_, c) in after.items()} == {n: c for n, (_, c) in whole.items()}
        kept = [shard for shard in lines if shard not in lost]
        assert all(after[shard] == whole[shard] for shard in kept)
        whole = after


def test_files_that_come_later_are_converted_alone(root, folder):
    made(root, folder, NAMES)
    before = state(folder.local)
    names = ("d.wav", *NAMES, "e.wav")
    steps = []
    results = made(root, folder, names, lambda *step: steps.append(step))
    after = state(folder.local)
    assert {name: after[name] for name in before} == before
    assert len(after) == len(before) + 2
    assert steps == [("convert", 7, 7)]
    assert [take.sources[0].name for take, _, _ in results] == list(names)
    assert made(root, folder, names, steps.append) == results
    assert state(folder.local) == after


def test_other_settings_and_copies_lie_beside_the_first(root, folder):
    first = made(root, folder, NAMES[:2])
    before = state(folder.local)
    other = convert.Settings(8_000, "linear", 256, "none")
    made(root, folder, NAMES[:2], settings=other)
    assert {name: state(folder.local)[name] for name in before} == before
    assert made(root, folder, NAMES[:2]) == first


@pytest.mark.parametrize("damage", ["text", "facts of another version", "shard cut", "shard gone"])
def test_a_shard_whose_facts_or_size_are_not_right_is_made_again(root, folder, damage):
    results = made(root, folder, NAMES[:2])
    whole = contents(folder.local)
    shard = folder.local / results[0][1].shard
    facts = shard.with_name(f"{shard.name}.json")
    if damage == "text":
        facts.write_text("half of a JS")
    elif damage == "facts of another version":
        facts.write_text('{"samples": 3}')
    elif damage == "shard cut":
        shard.write_bytes(shard.read_bytes()[:-1])
    else:
        shard.unlink()
    assert made(root, folder, NAMES[:2]) == results
    assert contents(folder.local) == whole


def test_files_of_no_use_are_not_decoded_again(root, folder, monkeypatch):
    (root / "bad.wav").write_text("no audio")
    first = made(root, folder, ("bad.wav",))
    assert first[0][1].sha256 == "" and first[0][2].rejected[0].name == "bad.wav"
    before = state(folder.local)
    assert made(root, folder, ("bad.wav",)) == first
    assert state(folder.local) == before


def test_recordings_own_their_split_as_a_whole(root, folder):
    owned = dict(zip(NAMES, ("train", "validation", "test", "train", "test"), strict=True))
    results = made(root, folder, NAMES)
    found, named = takes.build_recordings(results, owned, ORDER)
    assert [entry.name for entry in found] == list(NAMES)
    assert [entry.ranges for entry in found] == [
        {owned[name]: (0, 1_000 + 10 * number)} for number, name in enumerate(NAMES)
    ]
    (facts,) = {facts.shard: facts for _, facts, _ in results}.values()
    assert named == {facts.shard: Shard(facts.size, facts.sha256)}
    assert {entry.shard for entry in found} == {facts.shard}
    assert [entry.row for entry in found] == [0, 1, 2, 3, 4]


def test_recordings_that_are_cut_in_time_have_copies_of_their_training_part_alone(root, folder):
    results = made(root, folder, NAMES[:1], copies=1)
    plain, copy = takes.build_recordings(results, {}, TIME)[0]
    assert plain.ranges == {"train": (0, 700), "validation": (700, 850), "test": (850, 1_000)}
    assert (copy.name, copy.epoch, copy.ranges) == ("a/1.wav copy 1", 1, {"train": (0, 700)})


def test_an_unusable_file_divides_its_take_into_the_recordings_before_and_after_it(root, folder):
    (root / "a" / "2.wav").write_text("no audio")
    files = hashed(root, *NAMES[:3])
    owned = dict.fromkeys(NAMES, "test")
    results = takes.convert_takes(
        takes.form_takes(files, owned, True, 0), files, SETTINGS, folder, lambda *step: None
    )
    found, _ = takes.build_recordings(results, owned, ORDER)
    assert [(entry.name, entry.ranges) for entry in found] == [
        ("a/1.wav", {"test": (0, 1_000)}),
        ("a/10.wav", {"test": (0, 1_020)}),
    ]
    assert [entry.name for entry in results[0][2].rejected] == ["a/2.wav"]


def test_facts_are_found_in_a_bucket(root, folder, bucket, tmp_path):
    elsewhere = Folder.of(f"{bucket}/{tmp_path.name}")
    results = made(root, elsewhere, NAMES)
    assert results == made(root, folder, NAMES)
    steps = []
    assert made(root, elsewhere, NAMES, steps.append) == results
    assert steps == []
    (name,) = (name for name in elsewhere.list_files() if name.endswith(".json"))
    assert ShardFacts.from_json(elsewhere.read_bytes(name)) == results[0][1]
