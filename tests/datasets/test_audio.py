import os

import numpy as np
import pytest
import soundfile

from datasets import audio
from datasets.level import LevelMeter
from tests.helpers.audio_files import RATE, reason, tone, write


@pytest.mark.parametrize(("name", "error"), [("a.wav", 1e-4), ("a.flac", 1e-4), ("a.ogg", 0.05)])
def test_formats_are_read_whole_and_alike(tmp_path, name, error):
    samples = tone(1.5)
    read = audio.read(write(tmp_path / name, samples), RATE)
    assert read.dtype == np.float32 and read.shape == samples.shape
    assert np.abs(read - samples).max() < error


def test_mp3_is_read_whole(tmp_path):
    path = write(tmp_path / "a.mp3", tone(2.0))
    assert len(audio.read(path, RATE)) == soundfile.info(path).frames >= 2 * RATE


@pytest.mark.fault(
    "Audio files", "a file has the ending of another format", "it is read by its content"
)
def test_a_file_is_read_by_its_content_not_its_extension(tmp_path):
    path = write(tmp_path / "really_flac.wav", tone(0.5), format="FLAC")
    assert len(audio.read(path, RATE)) == RATE // 2


@pytest.mark.fault("Audio files", "a file has two channels", "the mean of both is used")
def test_channels_are_averaged(tmp_path):
    left, right = tone(0.3), tone(0.3, hertz=1000)
    path = write(tmp_path / "s.wav", np.stack([left, right], axis=1), subtype="FLOAT")
    assert np.allclose(audio.read(path, RATE), (left + right) / 2, atol=1e-7)
    assert audio.read_properties(path) == (RATE, 2)


@pytest.mark.parametrize("channels", [1, 2, 3, 6])
def test_the_mean_of_the_channels_is_exactly_numpys(tmp_path, channels):
    draws = np.random.default_rng(channels)
    samples = draws.normal(0, 0.3, (20_000, channels)).astype("f4")
    samples[:4] = [[0.0], [-0.0], [1e-45], [1e9]]
    path = write(tmp_path / "a.wav", samples, subtype="FLOAT")
    with np.errstate(over="ignore"):
        read, expected = audio.read(path, RATE), samples.mean(axis=1)
    assert np.array_equal(read, expected)


@pytest.mark.fault(
    "Audio files",
    "rates range from 7,999 to 192,000 Hz",
    "audio is resampled without aliases; the length is exact to a sample",
)
@pytest.mark.parametrize("rate", [7999, 8000, 44100, 48000, 192000])
def test_other_rates_are_resampled_without_aliases(tmp_path, rate):
    path = write(tmp_path / "r.wav", tone(1.0, rate), rate, subtype="FLOAT")
    read = audio.read(path, RATE)
    assert abs(len(read) - RATE) <= 1
    inner = slice(2000, 14000)
    assert np.abs(read[:RATE][inner] - tone(1.0)[inner]).max() < 1e-3
    if rate > 2 * 12000:
        above = write(tmp_path / "above.wav", tone(1.0, rate, 12000), rate, subtype="FLOAT")
        assert np.abs(audio.read(above, RATE)[inner]).max() < 1e-4


@pytest.mark.parametrize("rate", [RATE, 22050])
def test_the_size_of_the_blocks_does_not_show(tmp_path, rate):
    noise = np.random.default_rng(1).uniform(-0.9, 0.9, 50_000).astype("f4")
    path = write(tmp_path / "n.wav", noise, rate, subtype="FLOAT")
    whole = audio.read(path, RATE)
    for frames in (1_000, 4_096, 49_999):
        pieces = np.concatenate(list(audio.read_blocks(path, RATE, frames)))
        assert pieces.shape == whole.shape
        assert np.abs(pieces - whole).max() < 1e-6


@pytest.mark.parametrize("rate", [RATE, 44_100])
@pytest.mark.parametrize("ratio", [0.5, 2 ** (1 / 12), 1.5])
def test_a_ratio_raises_the_pitch_and_shortens_the_file(tmp_path, rate, ratio):
    path = write(tmp_path / "r.wav", tone(1.0, rate), rate, subtype="FLOAT")
    read = np.concatenate(list(audio.read_blocks(path, RATE, ratio=ratio)))
    assert abs(len(read) - RATE / ratio) <= 1
    inner = slice(1_000, len(read) - 1_000)
    assert (
        np.abs(read - tone(len(read) / RATE + 1, hertz=440 * ratio)[: len(read)])[inner].max()
        < 1e-3
    )


def test_a_ratio_that_cancels_the_rate_keeps_the_samples(tmp_path):
    path = write(tmp_path / "r.wav", tone(0.5, 8_000), 8_000)
    read = np.concatenate(list(audio.read_blocks(path, RATE, ratio=2.0)))
    assert np.array_equal(read, audio.read(path, 8_000))


@pytest.mark.fault(
    "Audio files",
    "a name is not UTF-8",
    "the file is read; the manifest escapes the name",
)
def test_a_file_whose_name_is_not_utf_8_is_read(tmp_path):
    write(tmp_path / "a.wav", tone(0.1))
    path = tmp_path / os.fsdecode(b"caf\xe9.wav")
    (tmp_path / "a.wav").rename(path)
    assert len(audio.read(path, RATE)) == RATE // 10
    assert len(audio.file_sha256(path)) == 64


@pytest.mark.fault(
    "Audio files",
    "an empty file, or a text, is named like audio",
    "the file is left out with its reason; the other files are used",
)
def test_files_without_audio_are_refused(tmp_path):
    empty, text = tmp_path / "empty.wav", tmp_path / "text.wav"
    empty.touch()
    text.write_text("this is a text and no audio")
    for path in (empty, text):
        assert reason(path) == "it cannot be decoded: Format not recognised"


@pytest.mark.fault(
    "Audio files",
    "a file has samples without a header",
    "the file is left out with its reason; the other files are used",
)
def test_samples_without_a_header_are_refused(tmp_path):
    path = tmp_path / "a.raw"
    path.write_bytes(bytes(1000))
    assert reason(path) == "it cannot be decoded: samplerate must be specified"


@pytest.mark.fault(
    "Audio files",
    "two channels have opposite signs",
    "the result is silence, which the manifest counts and `describe` shows",
)
def test_channels_of_opposite_sign_become_silence_and_are_counted(tmp_path):
    path = write(tmp_path / "t.wav", np.stack([tone(1.0), -tone(1.0)], axis=1), subtype="FLOAT")
    read = audio.read(path, RATE)
    assert np.all(read == 0)
    meter = LevelMeter(RATE)
    list(meter.measure([read]))
    assert meter.level.silent == RATE


@pytest.mark.fault(
    "Audio files",
    "samples are NaN or infinite",
    "the file is left out with its reason; the other files are used",
)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_nan_or_infinite_are_refused(tmp_path, value):
    samples = tone(1.0)
    samples[2500:2507] = value
    path = write(tmp_path / "n.wav", samples, subtype="FLOAT")
    assert reason(path) == "7 frames after frame 2000 are NaN or infinite"


@pytest.mark.fault(
    "Audio files",
    "samples are over 2^30 times full scale",
    "the file is left out with its reason; the other files are used",
)
@pytest.mark.parametrize("value", [1e38, -3e38, 2.0**30 + 128])
def test_samples_far_beyond_full_scale_are_refused(tmp_path, value):
    samples = tone(1.0)
    samples[2500:2503] = value
    path = write(tmp_path / "l.wav", np.stack([samples, tone(1.0)], axis=1), subtype="FLOAT")
    assert reason(path) == "3 frames after frame 2000 are over 1,073,741,824 times full scale"
    samples[2500:2503] = 2.0**30
    path = write(tmp_path / "l.wav", samples, 44_100, subtype="FLOAT")
    assert np.isfinite(audio.read(path, RATE)).all()


def test_missing_files_are_refused(tmp_path):
    link = tmp_path / "link.wav"
    link.symlink_to(tmp_path / "gone.wav")
    assert reason(link) == "it cannot be opened: No such file or directory"
    with pytest.raises(audio.AudioError, match="it cannot be opened: No such file"):
        audio.file_sha256(link)
