import dataclasses
import hashlib

import numpy as np
import pytest

from datasets import audio, augment, convert, quantise, shards
from datasets.augment import Augmentation
from datasets.convert import ShardFacts, encode_file
from datasets.manifest import Rejected
from datasets.settings import Settings
from datasets.shards import ShardLocation
from datasets.storage import Folder
from tests.helpers.sounds import RATE, SETTINGS, contents, noise, sound, state, take

FULL = Augmentation(gain_decibels=12.0, pitch_semitones=5.0, polarity=True, seed=2)


@pytest.fixture
def root(tmp_path):
    """Write files of several formats, rates and lengths, all different."""
    for seed, (name, rate) in enumerate([("a.wav", RATE), ("b/c.flac", 44_100), ("d.wav", 8_000)]):
        stereo = np.stack([noise(3_000 + seed, seed), noise(3_000 + seed, 9 - seed)], axis=1)
        sound(tmp_path / "root" / name, stereo, rate)
    return tmp_path / "root"


@pytest.fixture
def folder(tmp_path):
    folder = Folder.of(tmp_path / "corpus")
    folder.make_folder("shards")
    return folder


def codes_of(folder, facts, entry):
    return shards.read(
        folder, ShardLocation(facts.shard, entry.row, entry.samples), 0, entry.samples
    )


def converted(folder, takes, settings=SETTINGS):
    """Return the facts, and the entries of all takes with their codes."""
    facts = convert.write_shard(takes, folder, settings)
    return facts, [(e, codes_of(folder, facts, e)) for made in facts.made for e in made.entries]


def test_a_shard_has_the_codes_of_its_takes_and_the_facts_of_their_files(root, folder):
    names = ("a.wav", "b/c.flac", "d.wav")
    facts, found = converted(folder, [take(root, name) for name in names])
    path = folder.local / facts.shard
    assert facts.size == path.stat().st_size
    assert facts.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    for (entry, codes), name, rate in zip(found, names, (RATE, 44_100, 8_000), strict=True):
        samples = audio.read(root / name, RATE)
        assert np.array_equal(codes, quantise.encode(samples, "mulaw"))
        (part,) = entry.parts
        assert (entry.name, part.name, part.rate, part.channels, part.begin) == (
            name,
            name,
            rate,
            2,
            0,
        )
        assert part.sha256 == audio.file_sha256(root / name)
        assert entry.level.peak == float(np.abs(samples).max())
        assert entry.level.rms == pytest.approx(np.sqrt(np.mean(samples.astype(float) ** 2)))
        assert (entry.samples, entry.epoch) == (len(samples), 0)


def test_facts_are_read_as_they_were_written(root, folder):
    (root / "bad.wav").write_text("no audio")
    facts = convert.write_shard([take(root, "a.wav"), take(root, "bad.wav")], folder, SETTINGS)
    assert ShardFacts.from_json(folder.read_bytes(f"{facts.shard}.json")) == facts
    assert sorted(folder.list_files()) == [facts.shard, f"{facts.shard}.json"]


def test_the_same_takes_give_the_same_bytes(root, folder, tmp_path):
    takes = [take(root, "a.wav"), take(root, "b/c.flac")]
    facts = convert.write_shard(takes, folder, SETTINGS)
    other = Folder.of(tmp_path / "other")
    other.make_folder("shards")
    assert convert.write_shard(takes, other, SETTINGS) == facts
    assert contents(other.local) == contents(folder.local)


def test_each_name_content_copy_and_setting_has_its_own_shard(root, folder):
    before = {}
    for name in ("a.wav", "a_wav", "a.wav/a.wav", "\N{GRINNING FACE}.wav", "x" * 200 + ".wav"):
        other = take(root, "a.wav")
        source = dataclasses.replace(other.sources[0], name=name)
        before[name] = convert.write_shard(
            [dataclasses.replace(other, sources=(source,))], folder, SETTINGS
        )
    changes = [{"rate": 8000}, {"codec": "linear"}, {"scaling": "file"}, {"augmentation": FULL}]
    for change in changes:
        settings = dataclasses.replace(SETTINGS, **change)
        before[str(change)] = convert.write_shard([take(root, "a.wav")], folder, settings)
    before["copy"] = convert.write_shard([take(root, "a.wav", epoch=1)], folder, SETTINGS)
    before["joined"] = convert.write_shard([take(root, "a.wav", "d.wav")], folder, SETTINGS)
    before["two"] = convert.write_shard(
        [take(root, "a.wav"), take(root, "d.wav")], folder, SETTINGS
    )
    first = take(root, "a.wav")
    sound(root / "a.wav", 900)
    assert take(root, "a.wav").identity(SETTINGS) != first.identity(SETTINGS)
    before["content"] = convert.write_shard([take(root, "a.wav")], folder, SETTINGS)
    assert len({facts.shard for facts in before.values()}) == len(before) == 13
    assert len(folder.list_files("shards")) == 26
    for facts in before.values():
        assert folder.sha256(facts.shard) == facts.sha256


@pytest.mark.parametrize("levels", [256, 65_536])
@pytest.mark.parametrize("level", [0.0, 0.5])
def test_scaling_by_file_brings_the_loudest_sample_to_full_scale(tmp_path, folder, level, levels):
    sound(tmp_path / "level.wav", np.linspace(-level, level / 2, 100), subtype="FLOAT")
    settings = Settings(RATE, "linear", levels, "file")
    _, ((_, codes),) = converted(folder, [take(tmp_path, "level.wav")], settings)
    ends = (0, levels * 3 // 4) if level else (levels // 2, levels // 2)
    assert (codes[0], codes[-1]) == ends


@pytest.mark.parametrize("codec", ["mulaw", "linear"])
@pytest.mark.parametrize("chunk", [1, 700, 4_000, 10**6])
def test_scaling_by_chunk_scales_consecutive_chunks_of_each_file_alone(root, folder, codec, chunk):
    settings = Settings(RATE, codec, 256, "chunk", chunk)
    _, ((entry, codes),) = converted(folder, [take(root, "a.wav", "b/c.flac", "d.wav")], settings)
    expected = []
    for part in entry.parts:
        samples = audio.read(root / part.name, RATE)
        for begin in range(0, len(samples), chunk):
            expected.append(quantise.encode_min_max(samples[begin : begin + chunk], codec))
    assert np.array_equal(codes, np.concatenate(expected))


def test_sixteen_bit_codes_are_those_of_the_samples(root, folder):
    settings = Settings(RATE, "linear", 65_536, "none")
    _, found = converted(folder, [take(root, "a.wav", "d.wav"), take(root, "b/c.flac")], settings)
    for entry, codes in found:
        samples = np.concatenate([audio.read(root / part.name, RATE) for part in entry.parts])
        assert codes.dtype == np.uint16 and codes.max() > 255
        assert np.array_equal(codes, quantise.encode(samples, "linear", 65_536))


@pytest.mark.parametrize("scaling", ["none", "file"])
def test_a_changed_copy_is_the_change_applied_by_hand(root, folder, scaling):
    settings = dataclasses.replace(SETTINGS, scaling=scaling, augmentation=FULL)
    takes = [take(root, name, epoch=epoch) for epoch in (0, 1, 2) for name in ("a.wav", "d.wav")]
    _, found = converted(folder, takes, settings)
    assert len({codes.tobytes() for _, codes in found}) == 6
    for (entry, codes), each in zip(found, takes, strict=True):
        name = each.sources[0].name
        change = FULL.draw_change(each.epoch, name)
        samples = np.concatenate(list(audio.read_blocks(root / name, RATE, ratio=change.ratio)))
        if scaling == "file":
            samples = samples / np.float32(np.abs(samples).max())
        (samples,) = augment.apply_change(iter([samples]), change)
        assert np.array_equal(codes, quantise.encode(samples, "mulaw"))
        assert entry.level.peak == pytest.approx(float(np.abs(samples).max()))
        assert (entry.epoch, entry.name) == (
            each.epoch,
            name + (f" copy {each.epoch}" if each.epoch else ""),
        )


def test_a_changed_copy_of_joined_files_has_one_change(root, folder):
    settings = dataclasses.replace(SETTINGS, augmentation=FULL)
    _, ((entry, codes),) = converted(folder, [take(root, "a.wav", "d.wav", epoch=1)], settings)
    assert entry.name == "a.wav..d.wav copy 1"
    change = FULL.draw_change(1, "a.wav")
    expected = [
        np.concatenate(list(encode_file(root / n, settings, change))) for n in ("a.wav", "d.wav")
    ]
    assert np.array_equal(codes, np.concatenate(expected))
    assert entry.parts[1].begin == len(expected[0])


def test_joined_files_begin_at_their_stated_offsets(root, folder):
    names = ("a.wav", "b/c.flac", "d.wav")
    _, ((entry, codes),) = converted(folder, [take(root, *names)])
    assert entry.name == "a.wav..d.wav"
    assert [part.name for part in entry.parts] == [*names]
    ends = [*(part.begin for part in entry.parts[1:]), entry.samples]
    levels = []
    for part, end in zip(entry.parts, ends, strict=True):
        samples = audio.read(root / part.name, RATE)
        assert np.array_equal(codes[part.begin : end], quantise.encode(samples, "mulaw"))
        levels.append((float(np.abs(samples).max()), samples))
    assert entry.level.peak == max(peak for peak, _ in levels)
    whole = np.concatenate([samples for _, samples in levels]).astype(float)
    assert entry.level.rms == pytest.approx(np.sqrt(np.mean(whole**2)))


def broken(path):
    """Write a FLAC that fails after two decoded blocks, when codes are already written."""
    sound(path, np.random.default_rng(0).uniform(-0.9, 0.9, 3 * audio.BLOCK_FRAMES))
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * 0.8)])


@pytest.mark.parametrize("in_memory", [100, 2**24])
def test_a_file_that_fails_half_way_leaves_no_codes(root, folder, monkeypatch, in_memory):
    monkeypatch.setattr(convert, "SPOOL_BYTES", in_memory)
    broken(root / "x.flac")
    decoded = []
    with pytest.raises(audio.AudioError, match="after frame"):
        decoded.extend(audio.read_blocks(root / "x.flac", RATE))
    assert [len(block) for block in decoded] == [audio.BLOCK_FRAMES] * 2
    takes = [take(root, "x.flac"), take(root, "a.wav", "x.flac", "b/c.flac", "d.wav")]
    takes += [take(root, "d.wav", "x.flac")]
    facts, found = converted(folder, takes)
    assert [[e.name for e in made.entries] for made in facts.made] == [
        [],
        ["a.wav", "b/c.flac..d.wav"],
        ["d.wav"],
    ]
    for entry, codes in found:
        samples = [audio.read(root / part.name, RATE) for part in entry.parts]
        assert np.array_equal(codes, quantise.encode(np.concatenate(samples), "mulaw"))
        assert entry.parts[0].begin == 0
    for made in facts.made:
        (rejected,) = made.rejected
        assert rejected.name == "x.flac" and "it cannot be decoded after frame" in rejected.reason
    assert sorted(folder.list_files()) == [facts.shard, f"{facts.shard}.json"]


def test_takes_without_any_use_leave_their_reasons_and_no_shard(tmp_path, folder):
    sound(tmp_path / "short.wav", np.zeros(64), 2 * RATE)
    sound(tmp_path / "enough.wav", np.zeros(66), 2 * RATE)
    facts = convert.write_shard([take(tmp_path, "short.wav")], folder, SETTINGS)
    assert (facts.size, facts.sha256) == (0, "")
    reason = "it has 32 samples at 16000 Hz, fewer than the 33 that the linear reference needs"
    assert facts.made[0].rejected == (Rejected("short.wav", reason),)
    assert list(folder.list_files()) == [f"{facts.shard}.json"]
    assert converted(folder, [take(tmp_path, "enough.wav")])[1][0][0].samples == 33


def test_a_machines_error_is_not_blamed_on_the_file(root, folder, monkeypatch):
    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(convert.tempfile.SpooledTemporaryFile, "write", full)
    with pytest.raises(OSError, match="No space left"):
        convert.write_shard([take(root, "a.wav")], folder, SETTINGS)
    assert folder.list_files() == {}


def test_a_call_that_fails_leaves_no_shard_and_changes_none(root, folder, monkeypatch):
    convert.write_shard([take(root, "a.wav"), take(root, "d.wav")], folder, SETTINGS)
    before = state(folder.local)

    takes = [take(root, "d.wav"), take(root, "a.wav")]

    def killed(path):
        raise KeyboardInterrupt

    # The last step before a shard is renamed.
    monkeypatch.setattr(audio, "file_sha256", killed)
    with pytest.raises(KeyboardInterrupt):
        convert.write_shard(takes, folder, SETTINGS)
    assert state(folder.local) == before


def test_a_take_in_a_bucket_has_the_codes_of_its_file(root, bucket, tmp_path):
    folder = Folder.of(f"{bucket}/{tmp_path.name}")
    folder.write_bytes("audio/a.wav", (root / "a.wav").read_bytes())
    local = take(root, "a.wav")
    source = dataclasses.replace(local.sources[0], folder_uri=str(folder.subfolder("audio")))
    facts, ((_, codes),) = converted(folder, [dataclasses.replace(local, sources=(source,))])
    assert np.array_equal(codes, quantise.encode(audio.read(root / "a.wav", RATE), "mulaw"))
    assert facts.sha256 == folder.sha256(facts.shard)


def test_a_prompt_is_encoded_as_a_file_is(root):
    settings = Settings(RATE, "linear", 256, "chunk", 1_000)
    codes = np.concatenate(list(encode_file(root / "a.wav", settings)))
    chunks = np.split(audio.read(root / "a.wav", RATE), [1_000, 2_000])
    assert np.array_equal(
        codes, np.concatenate([quantise.encode_min_max(c, "linear") for c in chunks])
    )
