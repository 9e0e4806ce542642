"""Each kind of bad file beside twenty good ones: it is used, or left out with a reason."""

import os
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import soundfile

from datasets import audio, quantise, shards
from datasets.manifest import Corpus
from datasets.prepare import prepare_corpus
from datasets.settings import Preparation, Settings
from datasets.splits import SplitRule
from datasets.storage import Folder
from scaling.common.paths import CLONE

RATE = 16_000
GOOD = 20
BOMB_BYTES = 200 * 2**20
ODD = ("with space.wav", 'it\'s "quoted".wav', "two\nlines.wav", "\N{GRINNING FACE}.wav")

LEFT_OUT = {
    "empty.wav": "it cannot be decoded: Format not recognised",
    "cut.flac": "it cannot be decoded after frame",
    "text.wav": "it cannot be decoded: Format not recognised",
    "nan.wav": "1 frames after frame 0 are NaN or infinite",
    "infinite.wav": "1 frames after frame 0 are NaN or infinite",
    "three.wav": "it has 3 samples at 16000 Hz, fewer than the 33",
    "dangling.wav": "it cannot be opened: No such file or directory",
    "loop.wav": "it cannot be opened: Too many levels of symbolic links",
    "outside.wav": "outside of",
    "unreadable.wav": "it cannot be opened: ",
    "evil.zip": "it is refused: ",
    "bomb.zip": "it is refused: ",
}
USED = {
    "eight_channels.wav": (RATE, 8, 2_000),
    "7999.wav": (7_999, 1, 4_001),
    "192000.wav": (192_000, 1, 2_000),
    "zeros.wav": (RATE, 1, 2_000),
    "here/same.wav": (RATE, 1, 2_100),
    "there/same.wav": (RATE, 1, 2_200),
    "good.zip/inside.wav": (RATE, 1, 2_300),
    **dict.fromkeys(ODD, (RATE, 1, 2_000)),
}


def noise(samples, seed):
    return np.random.default_rng(seed).normal(0, 0.05, samples).clip(-1, 1)


def write(path, samples, rate=RATE, **options):
    path.parent.mkdir(exist_ok=True)
    soundfile.write(os.fsencode(path), samples, rate, **options)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return the folder; a link and an archive member in it try to reach the file beside it."""
    root = tmp_path_factory.mktemp("bad") / "root"
    for i in range(GOOD):
        write(root / f"good{i}.wav", noise(3_000 + i, i))
    (root / "empty.wav").touch()
    (root / "text.wav").write_text("no audio at all")
    write(root / "cut.flac", noise(20_000, 30))
    os.truncate(root / "cut.flac", (root / "cut.flac").stat().st_size // 2)
    for name, value in (("nan.wav", np.nan), ("infinite.wav", np.inf)):
        broken = noise(2_000, 31)
        broken[17] = value
        write(root / name, broken, subtype="FLOAT")
    write(root / "three.wav", noise(3, 32))
    (root / "dangling.wav").symlink_to(root / "nowhere.wav")
    (root / "loop.wav").symlink_to(root / "loop.wav")
    write(root.parent / "secret.wav", noise(2_000, 33))
    (root / "outside.wav").symlink_to(root.parent / "secret.wav")
    write(root / "eight_channels.wav", np.stack([noise(2_000, 40 + c) for c in range(8)], axis=1))
    write(root / "7999.wav", noise(2_000, 50), 7_999)
    write(root / "192000.wav", noise(24_000, 51), 192_000)
    write(root / "zeros.wav", np.zeros(2_000))
    write(root / "here" / "same.wav", noise(2_100, 52))
    write(root / "there" / "same.wav", noise(2_200, 53))
    for i, name in enumerate(ODD):
        write(root / name, noise(2_000, 60 + i))
    write(root.parent / "inside.wav", noise(2_300, 54))
    with zipfile.ZipFile(root / "good.zip", "w") as archive:
        archive.write(root.parent / "inside.wav", "inside.wav")
    with zipfile.ZipFile(root / "evil.zip", "w") as archive:
        archive.write(root.parent / "inside.wav", "../evil.wav")
    with zipfile.ZipFile(root / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.wav", bytes(BOMB_BYTES))
    if os.geteuid():
        write(root / "unreadable.wav", noise(2_000, 55))
        (root / "unreadable.wav").chmod(0)
    return root


def ask(root, destination, **changes):
    settings = {
        "name": "bad",
        "licence": "CC0",
        "settings": Settings(RATE, "mulaw", 256, "none"),
        "split": SplitRule("hash", (0.6, 0.2, 0.2)),
    }
    return prepare_corpus(
        Preparation(**{**settings, **changes}), Folder.of(root), Folder.of(destination)
    )


@pytest.fixture(scope="module")
def prepared(folder, tmp_path_factory, ray_session):
    return ask(folder, tmp_path_factory.mktemp("prepared"))


@pytest.mark.fault(
    "Audio files",
    "twelve bad files are among the good ones",
    "all good files are used, sample for sample",
)
def test_all_good_files_are_there_sample_for_sample(prepared, folder):
    found = {entry.name: entry for entry in prepared.recordings}
    for i in range(GOOD):
        place = found[f"good{i}.wav"].location
        codes = shards.read(prepared.folder, place, 0, place.samples)
        expected = quantise.encode(audio.read(folder / f"good{i}.wav", RATE), "mulaw")
        assert np.array_equal(codes, expected)


@pytest.mark.parametrize("name", USED)
def test_unusual_audio_is_used(prepared, name):
    (entry,) = [entry for entry in prepared.recordings if entry.name == name]
    part = entry.parts[0]
    assert (part.rate, part.channels, entry.samples) == USED[name]


@pytest.mark.parametrize("name", LEFT_OUT)
def test_files_without_audio_are_left_out_with_the_reason(prepared, name):
    if name == "unreadable.wav" and not os.geteuid():
        pytest.skip("root reads every file")
    assert LEFT_OUT[name] in {entry.name: entry.reason for entry in prepared.rejected}[name]


def test_nothing_else_is_used_left_out_or_written(prepared, folder):
    assert len(prepared.recordings) == GOOD + len(USED)
    assert len(prepared.rejected) == len(LEFT_OUT) - (not os.geteuid())
    assert sorted(path.name for path in folder.parent.iterdir()) == [
        "inside.wav",
        "root",
        "secret.wav",
    ]
    written = sum(path.stat().st_size for path in prepared.folder.local.rglob("*"))
    assert written < 2**20
    assert not list(prepared.folder.local.rglob("*evil*"))


@pytest.mark.fault("Audio files", "all samples are zero", "the file is used, and counted as silent")
def test_files_of_zeros_are_counted_as_silent(prepared):
    (zeros,) = [entry for entry in prepared.recordings if entry.name == "zeros.wav"]
    assert (zeros.level.peak, zeros.level.silent) == (0.0, 2_000)


def command(*words):
    """Run ``python -m scaling prepare`` on the session's Ray."""
    arguments = [sys.executable, "-m", "scaling", "prepare", *map(str, words)]
    return subprocess.run(arguments, cwd=CLONE, capture_output=True, text=True, timeout=300)


def test_the_command_lists_bad_files_and_fails_if_strict(folder, tmp_path):
    config = tmp_path / "bad.yaml"
    config.write_text(
        f"name: bad\nroot: {folder}\ndestination: {tmp_path / 'corpus'}\nlicence: CC0\n"
        "split: {rule: hash, fractions: [0.6, 0.2, 0.2]}\n"
    )
    done = command(config)
    assert done.returncode == 0, done.stderr
    for name in LEFT_OUT:
        there = name != "unreadable.wav" or os.geteuid() > 0
        assert (f"left out {name!r}" in done.stdout) == there
    assert len(Corpus.load(tmp_path / "corpus").recordings) == GOOD + len(USED)
    refused = command(config, "strict=true", f"destination={tmp_path / 'other'}")
    assert refused.returncode == 1
    assert "strict allows none" in refused.stderr
    assert "text.wav: it cannot be decoded" in refused.stderr
    assert not (tmp_path / "other" / "corpus.json").exists()
