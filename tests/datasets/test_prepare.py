import dataclasses
import hashlib
import math
import os

import numpy as np
import pytest

from datasets import audio, quantise, references
from datasets.augment import Augmentation
from datasets.convert import encode_file
from datasets.expectations import KnownFigures
from datasets.manifest import Corpus, Rejected
from datasets.prepare import PrepareError
from datasets.sources import Patterns
from datasets.splits import SPLITS, SplitRule
from datasets.summary import SummaryError
from tests.helpers.sounds import RATE, SETTINGS, codes_of, noise, prepare, sound

pytestmark = pytest.mark.usefixtures("ray_session")

ORDER = SplitRule("order", (0.5, 0.25, 0.25))
SMILE = "more/it's a \N{GRINNING FACE}\n.wav"


@pytest.fixture(scope="module")
def takes(tmp_path_factory):
    """Write three good files: mono WAV, stereo FLAC at 44.1 kHz, one in a folder."""
    root = tmp_path_factory.mktemp("takes")
    sound(root / "take2.wav", noise(300_000, 2))
    sound(root / "take10.flac", np.stack([noise(88_200, 10), noise(88_200, 11)], axis=1), 44100)
    sound(root / SMILE, noise(20_000, 3))
    return root


@pytest.fixture(scope="module")
def prepared(takes, tmp_path_factory, ray_session):
    return prepare(takes, tmp_path_factory.mktemp("prepared"))


def test_the_manifest_describes_the_corpus(prepared, takes):
    assert prepared == Corpus.load(prepared.folder)
    names = [SMILE, "take2.wav", "take10.flac"]
    assert [entry.name for entry in prepared.recordings] == names
    assert [entry.samples for entry in prepared.recordings] == [20_000, 300_000, 32_000]
    parts = [part for entry in prepared.recordings for part in entry.parts]
    assert [(part.name, part.rate, part.channels, part.begin) for part in parts] == [
        (SMILE, RATE, 1, 0),
        ("take2.wav", RATE, 1, 0),
        ("take10.flac", 44100, 2, 0),
    ]
    assert [part.sha256 for part in parts] == [audio.file_sha256(takes / name) for name in names]
    assert prepared.recordings[1].ranges == {
        "train": (0, 210_000),
        "validation": (210_000, 255_000),
        "test": (255_000, 300_000),
    }
    assert (prepared.split_rule, prepared.contexts_cross_splits) == ("time 0.70/0.15/0.15", True)
    assert (prepared.rejected, prepared.differences) == ((), ())
    assert (prepared.scaling, prepared.chunk, prepared.augmentation) == ("none", 0, Augmentation())


def test_shards_have_the_codes_of_the_files(prepared, takes):
    (name,) = {entry.shard for entry in prepared.recordings}
    content = (prepared.folder.local / name).read_bytes()
    assert prepared.shards[name].bytes == len(content)
    assert prepared.shards[name].sha256 == hashlib.sha256(content).hexdigest()
    for entry in prepared.recordings:
        expected = quantise.encode(audio.read(takes / entry.name, RATE), "mulaw")
        assert np.array_equal(codes_of(prepared, entry), expected)


def test_a_recordings_level_is_that_of_its_file(prepared, takes):
    for entry in prepared.recordings:
        samples = audio.read(takes / entry.name, RATE).astype(float)
        assert entry.level.peak == pytest.approx(np.abs(samples).max())
        assert entry.level.rms == pytest.approx(np.sqrt(np.mean(samples**2)))


def test_the_references_are_those_of_the_whole_corpus_done_directly(prepared):
    rows, targets = {}, {}
    for entry in prepared.recordings:
        codes = codes_of(prepared, entry)
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
        assert summary.histogram == tuple(np.bincount(owned, minlength=256).tolist())
        assert summary.histogram_bits == pytest.approx(-(shares * np.log2(shares)).sum())
        nats = references.linear_nats(np.concatenate(rows[split]), linear)
        assert summary.linear_bits == pytest.approx(nats.mean() / math.log(2))
        assert summary.linear_samples == len(nats)
        assert max(summary.linear_bits, summary.pair_bits) < summary.histogram_bits


def test_joined_files_and_changed_copies_are_recordings_like_others(tmp_path):
    root = tmp_path / "root"
    for i in range(8):
        sound(root / f"{i}.wav", noise(900 + i, i))
    settings = dataclasses.replace(
        SETTINGS, scaling="chunk", chunk=500, augmentation=Augmentation(6.0, 2.0, True, 1)
    )
    corpus = prepare(root, tmp_path / "corpus", split=ORDER, settings=settings, join=True, copies=2)
    assert [(entry.name, entry.epoch) for entry in corpus.recordings] == [
        ("0.wav..3.wav", 0),
        ("4.wav..5.wav", 0),
        ("6.wav..7.wav", 0),
        ("0.wav..3.wav copy 1", 1),
        ("0.wav..3.wav copy 2", 2),
    ]
    for entry in corpus.recordings:
        change = settings.augmentation.draw_change(entry.epoch, entry.parts[0].name)
        codes = [
            block
            for part in entry.parts
            for block in encode_file(root / part.name, settings, change)
        ]
        assert np.array_equal(codes_of(corpus, entry), np.concatenate(codes))
    assert [next(iter(entry.ranges)) for entry in corpus.recordings] == [*SPLITS, "train", "train"]
    assert corpus.splits["train"].samples == sum(corpus.recordings[i].samples for i in (0, 3, 4))
    assert corpus.augmentation == settings.augmentation and corpus.chunk == 500


def test_sixteen_bit_codes_are_prepared_and_summed(tmp_path):
    sound(tmp_path / "a.wav", 4_000)
    settings = dataclasses.replace(SETTINGS, codec="linear", levels=65_536)
    corpus = prepare(tmp_path, tmp_path / "corpus", settings=settings)
    samples = audio.read(tmp_path / "a.wav", RATE)
    expected = quantise.encode(samples, "linear", 65_536)
    assert np.array_equal(codes_of(corpus, corpus.recordings[0]), expected)
    assert corpus.splits["train"].pair_bits is None
    assert corpus.splits["train"].linear_bits < 16


def test_a_table_beside_the_audio_decides_the_splits(tmp_path):
    root = tmp_path / "root"
    for i, split in enumerate(SPLITS):
        sound(root / f"{split}.wav", noise(900 + i, i))
    sound(root / "other.wav", noise(950, 9))
    lines = [f"{split},{split}.wav\n" for split in SPLITS]
    (root / "split.csv").write_text("part,file\n" + "".join(lines))
    rule = SplitRule("table", files=("*.csv",), columns=("file", "part"))
    corpus = prepare(root, tmp_path / "corpus", split=rule)
    assert {entry.name: list(entry.ranges) for entry in corpus.recordings} == {
        f"{split}.wav": [split] for split in SPLITS
    }
    reason = "the split table *.csv does not name it"
    assert corpus.rejected == (Rejected("other.wav", reason),)
    assert corpus.split_rule == "table *.csv"


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """Write four good files between bad ones of every kind."""
    root = tmp_path_factory.mktemp("mixed")
    for i in range(4):
        sound(root / f"{3 * i:02}_good.wav", noise(3_000 + i, i))
    (root / "01_empty.wav").touch()
    (root / "02_text.wav").write_text("no audio at all")
    sound(root / "04_cut.wav", 3_000)
    sound(root / "05_cut.flac", 20_000)
    for name in ("04_cut.wav", "05_cut.flac"):
        content = (root / name).read_bytes()
        (root / name).write_bytes(content[: len(content) // 2])
    broken = noise(3_000)
    broken[17] = np.nan
    sound(root / "07_nan.wav", broken, subtype="FLOAT")
    sound(root / "08_short.wav", 32)
    (root / "10_gone.wav").symlink_to(root / "nowhere.wav")
    (root / "11_copy.wav").write_bytes((root / "00_good.wav").read_bytes())
    return root


@pytest.fixture(scope="module")
def sifted(mixed, tmp_path_factory, ray_session):
    return prepare(mixed, tmp_path_factory.mktemp("sifted"), split=ORDER)


def test_good_files_are_all_there_and_bad_ones_not_at_all(sifted, mixed):
    assert [entry.name for entry in sifted.recordings] == [f"{3 * i:02}_good.wav" for i in range(4)]
    assert len(list((sifted.folder.local / "shards").iterdir())) == 2
    for entry in sifted.recordings:
        expected = quantise.encode(audio.read(mixed / entry.name, RATE), "mulaw")
        assert np.array_equal(codes_of(sifted, entry), expected)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("01_empty.wav", "it cannot be decoded: Format not recognised"),
        ("02_text.wav", "it cannot be decoded: Format not recognised"),
        ("04_cut.wav", "it is truncated: 3022 bytes of the 6044 that its header states"),
        ("05_cut.flac", "of 20000"),
        ("07_nan.wav", "1 frames after frame 0 are NaN or infinite"),
        ("08_short.wav", "it has 32 samples at 16000 Hz, fewer than the 33 that"),
        ("10_gone.wav", "it cannot be opened: No such file or directory"),
        ("11_copy.wav", "its bytes are those of 00_good.wav, and a recording counts once"),
    ],
)
def test_each_bad_file_has_its_reason(sifted, name, reason):
    assert len(sifted.rejected) == 8
    assert reason in {entry.name: entry.reason for entry in sifted.rejected}[name]


def test_file_order_counts_every_file_and_splits_those_that_can_be_used(sifted):
    # 12 files, usable or not: six in train, three in validation, three in test.
    assert [entry.ranges for entry in sifted.recordings] == [
        {"train": (0, 3000)},
        {"train": (0, 3001)},
        {"validation": (0, 3002)},
        {"test": (0, 3003)},
    ]
    assert {entry.name[:2]: entry.split for entry in sifted.rejected} == {
        **dict.fromkeys(("01", "02", "04", "05"), "train"),
        **dict.fromkeys(("07", "08"), "validation"),
        **dict.fromkeys(("10", "11"), "test"),
    }
    assert not sifted.contexts_cross_splits
    assert {split: entry.recordings for split, entry in sifted.splits.items()} == {
        "train": 2,
        "validation": 1,
        "test": 1,
    }


@pytest.mark.fault(
    "Corpora",
    "there are bad files, and `strict` is set",
    "an error names them, and no corpus is written",
)
def test_strict_allows_no_bad_file(mixed, tmp_path):
    with pytest.raises(PrepareError, match="8 of 12 files cannot be used and strict") as error:
        prepare(mixed, tmp_path, strict=True)
    assert "\n  02_text.wav: it cannot be decoded" in str(error.value)
    assert not (tmp_path / "corpus.json").exists()


def test_differences_from_known_figures_are_stored_and_strict_allows_none(
    takes, prepared, tmp_path
):
    expected = KnownFigures(files=3, channels=1, longest=200_000)
    sentences = (
        "1 files do not have 1 channels, unlike the known corpus: take10.flac has 2",
        "1 files do not have 0 to 200000 samples, unlike the known corpus: take2.wav has 300000",
    )
    assert prepare(takes, tmp_path, expected=expected).differences == sentences
    with pytest.raises(PrepareError, match="differs from its known figures, and strict") as error:
        prepare(takes, tmp_path, expected=expected, strict=True)
    assert all(f"\n  {sentence}" in str(error.value) for sentence in sentences)
    known = KnownFigures(files=3, shortest=20_000, longest=300_000, splits=(3, 3, 3))
    assert prepare(takes, tmp_path, expected=known, strict=True).fingerprint == prepared.fingerprint


@pytest.mark.fault(
    "Corpora", "no file can be used", "`prepare` ends with an error, and no corpus is written"
)
def test_nothing_usable_is_an_error(mixed, tmp_path):
    with pytest.raises(PrepareError, match="2 of 2 files cannot be used: fix them"):
        prepare(mixed, tmp_path, patterns=Patterns(("01*.wav", "02*.wav")))


@pytest.mark.fault("Archives and folders", "the folder is empty", "`prepare` ends with an error")
def test_no_file_is_an_error(tmp_path):
    with pytest.raises(audio.AudioError, match="No file under"):
        prepare(tmp_path, tmp_path / "out")


@pytest.mark.fault(
    "Corpora",
    "a split is too short for any target",
    "`prepare` ends with an error, and no corpus is written",
)
def test_a_split_without_history_is_an_error(tmp_path):
    sound(tmp_path / "a.wav", 40)
    with pytest.raises(SummaryError, match="None of the 28 samples of split 'train' has 32"):
        prepare(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out" / "corpus.json").exists()


def test_names_that_are_not_utf8_are_escaped(tmp_path):
    root = tmp_path / "root"
    sound(root / "a.wav", 400)
    os.rename(root / "a.wav", os.fsencode(root) + b"/caf\xe9.wav")
    assert [entry.name for entry in prepare(root, tmp_path / "out").recordings] == [r"caf\xe9.wav"]


def test_progress_counts_every_step(tmp_path):
    sound(tmp_path / "a.wav", noise(4_000, 0))
    sound(tmp_path / "b.wav", noise(4_000, 1))
    steps = []
    prepare(tmp_path, tmp_path / "out", lambda *step: steps.append(step))
    assert steps == [("hash", 2, 2), ("convert", 2, 2), ("count", 6, 6), ("score", 6, 6)]
