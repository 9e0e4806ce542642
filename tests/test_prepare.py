import hashlib
import math
import os

import numpy as np
import pytest
import soundfile

from datasets import audio, quantise, references, shards
from datasets.manifest import Corpus
from datasets.prepare import PrepareError, prepare
from datasets.splits import Rule

pytestmark = pytest.mark.usefixtures("ray_session")

RATE = 16000
TIME = Rule("time", (0.7, 0.15, 0.15))


def noise(samples, seed=0):
    """Low-passed noise: a signal that a linear predictor can tell something about."""
    white = np.random.default_rng(seed).normal(0, 0.05, samples + 31)
    return np.convolve(white, np.hanning(32), "valid").clip(-1, 1)


def call(root, destination, **changes):
    arguments = {
        "name": "test",
        "files": ["**/*.wav", "**/*.flac"],
        "root": root,
        "destination": destination,
        "rate": RATE,
        "codec": "mulaw",
        "levels": 256,
        "scaling": "none",
        "split": TIME,
        "licence": "CC0",
    }
    return prepare(**{**arguments, **changes})


def state(folder):
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in files
    }


@pytest.fixture(scope="module")
def takes(tmp_path_factory):
    """A folder of three good files: mono WAV, stereo FLAC at 44.1 kHz, one in a folder."""
    root = tmp_path_factory.mktemp("takes")
    (root / "more").mkdir()
    soundfile.write(root / "take2.wav", noise(300_000, 2), RATE)
    stereo = np.stack([noise(88_200, 10), noise(88_200, 11)], axis=1)
    soundfile.write(root / "take10.flac", stereo, 44100)
    soundfile.write(root / "more" / "it's a \N{GRINNING FACE}\n.wav", noise(20_000, 3), RATE)
    return root


@pytest.fixture(scope="module")
def prepared(takes, tmp_path_factory, ray_session):
    return call(takes, tmp_path_factory.mktemp("prepared"))


def test_the_manifest_says_what_is_there(prepared):
    assert prepared == Corpus.load(prepared.folder)
    names = ["more/it's a \N{GRINNING FACE}\n.wav", "take2.wav", "take10.flac"]
    assert [entry.name for entry in prepared.recordings] == names
    assert [entry.samples for entry in prepared.recordings] == [20_000, 300_000, 32_000]
    assert [entry.source_rate for entry in prepared.recordings] == [RATE, RATE, 44100]
    assert [entry.channels for entry in prepared.recordings] == [1, 1, 2]
    assert prepared.recordings[1].ranges == {
        "train": (0, 210_000),
        "validation": (210_000, 255_000),
        "test": (255_000, 300_000),
    }
    assert (prepared.split_rule, prepared.contexts_cross_splits) == ("time 0.70/0.15/0.15", True)
    assert prepared.rejected == ()


def test_shards_hold_the_codes_of_the_files(prepared, takes):
    for entry in prepared.recordings:
        samples = audio.read(takes / entry.name, RATE)
        shard = prepared.folder / entry.shard
        expected = quantise.encode(samples, "mulaw")
        assert np.array_equal(shards.read(shard, 0, entry.samples), expected)
        assert hashlib.sha256(shard.read_bytes()).hexdigest() == entry.sha256
        assert audio.digest(takes / entry.name) == entry.source_sha256


def test_the_references_are_those_of_the_whole_corpus_done_directly(prepared):
    rows, targets = {}, {}
    for entry in prepared.recordings:
        codes = shards.read(prepared.folder / entry.shard, 0, entry.samples)
        runs = np.lib.stride_tricks.sliding_window_view(codes.astype(float), 33)
        for split, (begin, end) in entry.ranges.items():
            first = max(begin, 32)
            rows.setdefault(split, []).append(runs[first - 32 : end - 32])
            targets.setdefault(split, []).append(codes[begin:end])
    train = np.concatenate(rows["train"])
    design = np.hstack([train[:, 31::-1], np.ones((len(train), 1))])
    solution = np.linalg.lstsq(design, train[:, 32], rcond=None)[0]
    linear = prepared.linear
    assert np.allclose(linear.coefficients, solution[:-1], atol=1e-8)
    assert linear.intercept == pytest.approx(solution[-1], abs=1e-6)
    assert linear.scale == pytest.approx(
        references.fit_scale(train[:, 32], design @ solution), rel=1e-4
    )
    for split, summary in prepared.splits.items():
        owned = np.concatenate(targets[split])
        shares = np.unique(owned, return_counts=True)[1] / len(owned)
        assert summary.samples == len(owned)
        assert summary.seconds == len(owned) / RATE
        assert summary.recordings == 3
        assert summary.histogram_bits == pytest.approx(-(shares * np.log2(shares)).sum())
        nats = references.linear_nats(np.concatenate(rows[split]), linear)
        assert summary.linear_bits == pytest.approx(nats.mean() / math.log(2))
        assert summary.linear_bits < summary.histogram_bits


def test_a_second_call_writes_nothing(prepared, takes):
    before = state(prepared.folder)
    assert call(takes, prepared.folder).fingerprint == prepared.fingerprint
    assert state(prepared.folder) == before


def test_what_is_missing_is_made_again_bit_for_bit(prepared, takes):
    before = state(prepared.folder)
    lost = [prepared.recordings[0].shard, prepared.recordings[2].shard + ".json", "corpus.json"]
    for name in lost:
        (prepared.folder / name).unlink()
    (prepared.folder / "shards" / "left.parquet.0123.partial").write_text("killed half-way")
    assert call(takes, prepared.folder).fingerprint == prepared.fingerprint
    after = state(prepared.folder)
    assert {name: content for name, (_, content) in after.items()} == {
        name: content for name, (_, content) in before.items()
    }
    kept = prepared.recordings[1].shard
    assert after[kept][0] == before[kept][0]


def test_other_settings_or_audio_leave_the_earlier_shards_alone(takes, tmp_path):
    root, folder = tmp_path / "root", tmp_path / "corpus"
    root.mkdir()
    soundfile.write(root / "a.wav", noise(4_000) / 4, RATE)
    first = call(root, folder)
    before = state(folder)
    louder = call(root, folder, scaling="file", codec="linear")
    assert louder.recordings[0].shard != first.recordings[0].shard
    assert louder.fingerprint != first.fingerprint
    codes = shards.read(folder / louder.recordings[0].shard, 0, 4_000)
    samples = audio.read(root / "a.wav", RATE)
    assert np.array_equal(codes, quantise.encode(samples / np.abs(samples).max(), "linear"))
    soundfile.write(root / "a.wav", noise(4_000, 9), RATE)
    changed = call(root, folder)
    assert changed.recordings[0].source_sha256 != first.recordings[0].source_sha256
    kept = {name: value for name, value in state(folder).items() if name in before}
    del before["corpus.json"], kept["corpus.json"]
    assert kept == before


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """Four good files between bad ones of every kind."""
    root = tmp_path_factory.mktemp("mixed")
    for i in range(4):
        soundfile.write(root / f"{3 * i:02}_good.wav", noise(3_000 + i, i), RATE)
    (root / "01_empty.wav").touch()
    (root / "02_text.wav").write_text("no audio at all")
    soundfile.write(root / "04_cut.wav", noise(3_000), RATE)
    soundfile.write(root / "05_cut.flac", noise(20_000), RATE)
    for name in ("04_cut.wav", "05_cut.flac"):
        content = (root / name).read_bytes()
        (root / name).write_bytes(content[: len(content) // 2])
    broken = noise(3_000)
    broken[17] = np.nan
    soundfile.write(root / "07_nan.wav", broken, RATE, subtype="FLOAT")
    soundfile.write(root / "08_short.wav", noise(32), RATE)
    (root / "10_gone.wav").symlink_to(root / "nowhere.wav")
    return root


@pytest.fixture(scope="module")
def sifted(mixed, tmp_path_factory, ray_session):
    return call(mixed, tmp_path_factory.mktemp("sifted"), split=Rule("order", (0.5, 0.25, 0.25)))


def test_good_files_are_all_there_and_bad_ones_not_at_all(sifted, mixed):
    assert [entry.name for entry in sifted.recordings] == [f"{3 * i:02}_good.wav" for i in range(4)]
    assert len(list((sifted.folder / "shards").iterdir())) == 8
    for entry in sifted.recordings:
        codes = shards.read(sifted.folder / entry.shard, 0, entry.samples)
        assert np.array_equal(codes, quantise.encode(audio.read(mixed / entry.name, RATE), "mulaw"))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("01_empty.wav", "it cannot be decoded: Format not recognised"),
        ("02_text.wav", "it cannot be decoded: Format not recognised"),
        ("04_cut.wav", "it is truncated: 3022 bytes of the 6044 that its header states"),
        ("05_cut.flac", "of 20000"),
        ("07_nan.wav", "1 frames after frame 0 are NaN or infinite"),
        ("08_short.wav", "it holds 32 samples at 16000 Hz, fewer than the 33 that"),
        ("10_gone.wav", "it cannot be opened: No such file or directory"),
    ],
)
def test_each_bad_file_has_its_reason(sifted, name, reason):
    assert len(sifted.rejected) == 7
    assert reason in {entry.name: entry.reason for entry in sifted.rejected}[name]


def test_file_order_splits_whole_recordings_that_can_be_used(sifted):
    assert [entry.ranges for entry in sifted.recordings] == [
        {"train": (0, 3000)},
        {"train": (0, 3001)},
        {"validation": (0, 3002)},
        {"test": (0, 3003)},
    ]
    assert not sifted.contexts_cross_splits
    assert {split: entry.recordings for split, entry in sifted.splits.items()} == {
        "train": 2,
        "validation": 1,
        "test": 1,
    }


def test_strict_allows_no_bad_file(mixed, tmp_path):
    with pytest.raises(PrepareError, match="7 of 11 files cannot be used and strict") as error:
        call(mixed, tmp_path, strict=True)
    assert "\n  02_text.wav: it cannot be decoded" in str(error.value)
    assert not (tmp_path / "corpus.json").exists()


def test_nothing_usable_is_an_error(mixed, tmp_path):
    with pytest.raises(PrepareError, match="2 of 2 files cannot be used: mend them"):
        call(mixed, tmp_path, files=["01*", "02*"])


def test_no_file_is_an_error(tmp_path):
    with pytest.raises(audio.AudioError, match="No file under"):
        call(tmp_path, tmp_path / "out")


def test_a_split_without_history_is_an_error(tmp_path):
    soundfile.write(tmp_path / "a.wav", noise(40), RATE)
    with pytest.raises(PrepareError, match="None of the 28 samples of split 'train' has 32"):
        call(tmp_path, tmp_path / "out")


def test_names_that_are_not_utf8_are_escaped(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    soundfile.write(root / "a.wav", noise(400), RATE)
    os.rename(root / "a.wav", os.fsencode(root) + b"/caf\xe9.wav")
    assert [entry.name for entry in call(root, tmp_path / "out").recordings] == [r"caf\xe9.wav"]


def test_progress_counts_every_step(tmp_path):
    soundfile.write(tmp_path / "a.wav", noise(4_000), RATE)
    soundfile.write(tmp_path / "b.wav", noise(4_000), RATE)
    steps = []
    call(tmp_path, tmp_path / "out", progress=lambda *step: steps.append(step))
    assert steps == [
        *[("convert", done, 2) for done in (1, 2)],
        *[("count", done, 6) for done in range(1, 7)],
        *[("score", done, 6) for done in range(1, 7)],
    ]
