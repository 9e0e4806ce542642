import os

import numpy as np
import pytest
import soundfile

from datasets import audio
from datasets.level import Meter

RATE = 16000


def tone(seconds, rate=RATE, hertz=440.0):
    return (0.4 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)).astype("f4")


def write(path, samples, rate=RATE, **options):
    soundfile.write(path, samples, rate, **options)
    return path


def cut(path, share):
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    return path


@pytest.mark.parametrize(("name", "error"), [("a.wav", 1e-4), ("a.flac", 1e-4), ("a.ogg", 0.05)])
def test_formats_are_read_whole_and_alike(tmp_path, name, error):
    samples = tone(1.5)
    read = audio.read(write(tmp_path / name, samples), RATE)
    assert read.dtype == np.float32 and read.shape == samples.shape
    assert np.abs(read - samples).max() < error


def test_mp3_is_read_whole(tmp_path):
    path = write(tmp_path / "a.mp3", tone(2.0))
    assert len(audio.read(path, RATE)) == soundfile.info(path).frames >= 2 * RATE


def test_content_decides_not_the_extension(tmp_path):
    path = write(tmp_path / "really_flac.wav", tone(0.5), format="FLAC")
    assert len(audio.read(path, RATE)) == RATE // 2


def test_channels_are_averaged(tmp_path):
    left, right = tone(0.3), tone(0.3, hertz=1000)
    path = write(tmp_path / "s.wav", np.stack([left, right], axis=1), subtype="FLOAT")
    assert np.allclose(audio.read(path, RATE), (left + right) / 2, atol=1e-7)
    assert audio.properties(path) == (RATE, 2)


@pytest.mark.parametrize("channels", [1, 2, 3, 6])
def test_the_mean_of_the_channels_is_exactly_numpys(tmp_path, channels):
    draws = np.random.default_rng(channels)
    samples = draws.normal(0, 0.3, (20_000, channels)).astype("f4")
    samples[:4] = [[0.0], [-0.0], [1e-45], [1e9]]
    path = write(tmp_path / "a.wav", samples, subtype="FLOAT")
    with np.errstate(over="ignore"):
        read, expected = audio.read(path, RATE), samples.mean(axis=1)
    assert np.array_equal(read, expected)


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
        pieces = np.concatenate(list(audio.blocks(path, RATE, frames)))
        assert pieces.shape == whole.shape
        assert np.abs(pieces - whole).max() < 1e-6


@pytest.mark.parametrize("rate", [RATE, 44_100])
@pytest.mark.parametrize("ratio", [0.5, 2 ** (1 / 12), 1.5])
def test_a_ratio_raises_the_pitch_and_shortens_the_file(tmp_path, rate, ratio):
    path = write(tmp_path / "r.wav", tone(1.0, rate), rate, subtype="FLOAT")
    read = np.concatenate(list(audio.blocks(path, RATE, ratio=ratio)))
    assert abs(len(read) - RATE / ratio) <= 1
    inner = slice(1_000, len(read) - 1_000)
    assert (
        np.abs(read - tone(len(read) / RATE + 1, hertz=440 * ratio)[: len(read)])[inner].max()
        < 1e-3
    )


def test_a_ratio_that_makes_up_for_the_rate_leaves_the_samples_as_they_are(tmp_path):
    path = write(tmp_path / "r.wav", tone(0.5, 8_000), 8_000)
    read = np.concatenate(list(audio.blocks(path, RATE, ratio=2.0)))
    assert np.array_equal(read, audio.read(path, 8_000))


def test_a_file_whose_name_is_no_text_is_read(tmp_path):
    write(tmp_path / "a.wav", tone(0.1))
    path = tmp_path / os.fsdecode(b"caf\xe9.wav")
    (tmp_path / "a.wav").rename(path)
    assert len(audio.read(path, RATE)) == RATE // 10
    assert len(audio.digest(path)) == 64


def reason(path):
    with pytest.raises(audio.AudioError) as error:
        list(audio.blocks(path, RATE, 1000))
    return str(error.value)


def test_files_that_are_no_audio(tmp_path):
    empty, text = tmp_path / "empty.wav", tmp_path / "text.wav"
    empty.touch()
    text.write_text("this is a text and no audio")
    for path in (empty, text):
        assert reason(path) == "it cannot be decoded: Format not recognised"


def test_samples_without_a_header(tmp_path):
    path = tmp_path / "a.raw"
    path.write_bytes(bytes(1000))
    assert reason(path) == "it cannot be decoded: samplerate must be specified"


def test_a_header_without_audio(tmp_path):
    assert reason(write(tmp_path / "h.wav", np.zeros(0))) == "it holds no audio (0 frames)"


@pytest.mark.parametrize("share", [0.5, 0.999])
def test_a_truncated_wav(tmp_path, share):
    path = cut(write(tmp_path / "t.wav", tone(1.0)), share)
    assert (
        reason(path)
        == f"it is truncated: {int(32044 * share)} bytes of the 32044 that its header states"
    )


@pytest.mark.parametrize("size", [b"\x00\x00\x00\x00", b"\xff\xff\xff\xff"])
def test_a_wav_from_a_pipe_states_no_size(tmp_path, size):
    path = write(tmp_path / "p.wav", tone(1.0))
    content = path.read_bytes()
    path.write_bytes(content[:4] + size + content[8:])
    assert len(audio.read(path, RATE)) == RATE


def test_a_truncated_flac(tmp_path):
    noise = np.random.default_rng(0).uniform(-1, 1, 20_000)
    path = cut(write(tmp_path / "t.flac", noise), 0.5)
    assert "of 20000" in reason(path)


def test_a_truncated_mp3(tmp_path):
    path = cut(write(tmp_path / "t.mp3", tone(3.0)), 0.4)
    assert "frames promised can be read" in reason(path)


@pytest.mark.parametrize("name", ["t.aiff", "t.au", "t.rf64", "t.w64", "t.wav"])
def test_a_file_that_is_shorter_than_its_header_states(tmp_path, name):
    noise = np.random.default_rng(0).uniform(-1, 1, 20_000)
    path = write(tmp_path / name, noise, format=name[2:].upper())
    size = path.stat().st_size
    assert len(audio.read(path, RATE)) == 20_000
    cut(path, 0.5)
    assert (
        reason(path) == f"it is truncated: {size // 2} bytes of the {size} that its header states"
    )


@pytest.mark.parametrize("share", [0.3, 0.5, 0.9])
def test_an_ogg_with_a_changed_byte_or_without_its_end(tmp_path, share):
    noise = np.random.default_rng(0).uniform(-1, 1, 40_000)
    path = write(tmp_path / "t.ogg", noise)
    content = path.read_bytes()
    damaged = bytearray(content)
    damaged[int(len(damaged) * share)] ^= 16
    path.write_bytes(damaged)
    assert reason(path).startswith("it is damaged: the page of Ogg at its byte ")
    path.write_bytes(content[: int(len(content) * share)])
    assert reason(path).startswith("it is damaged: no whole page of Ogg begins at its byte ")
    path.write_bytes(content)
    assert len(audio.read(path, RATE)) == 40_000


def test_a_flac_with_a_changed_byte(tmp_path):
    noise = np.random.default_rng(0).uniform(-1, 1, 20_000)
    path = write(tmp_path / "t.flac", noise)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 16
    path.write_bytes(content)
    assert reason(path).startswith("it cannot be decoded after frame ")


@pytest.mark.parametrize("length", [b"\xff\xff\xff\xff", b"\xf0\xff\xff\x7f"])
def test_a_wav_that_promises_more_sound_than_its_riff_holds_is_read_to_its_end(tmp_path, length):
    path = write(tmp_path / "t.wav", tone(1.0))
    content = path.read_bytes()
    place = content.index(b"data") + 4
    path.write_bytes(content[:place] + length + content[place + 4 :])
    assert len(audio.read(path, RATE)) == RATE


@pytest.mark.parametrize(
    ("place", "number", "words"),
    [(24, 0, "it cannot be decoded"), (24, 1, "its rate is 1 Hz, below 1000 Hz"), (22, 0, "zero")],
)
def test_a_header_with_an_impossible_rate_or_number_of_channels(tmp_path, place, number, words):
    path = write(tmp_path / "t.wav", tone(1.0))
    content = bytearray(path.read_bytes())
    content[place : place + 2] = number.to_bytes(2, "little")
    path.write_bytes(content)
    assert words in reason(path)


def test_channels_of_opposite_sign_are_silence_and_counted_as_that(tmp_path):
    path = write(tmp_path / "t.wav", np.stack([tone(1.0), -tone(1.0)], axis=1), subtype="FLOAT")
    read = audio.read(path, RATE)
    assert np.all(read == 0)
    meter = Meter(RATE)
    list(meter.through([read]))
    assert meter.level.silent == RATE


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_amplitudes(tmp_path, value):
    samples = tone(1.0)
    samples[2500:2507] = value
    path = write(tmp_path / "n.wav", samples, subtype="FLOAT")
    assert reason(path) == "7 frames after frame 2000 are NaN or infinite"


@pytest.mark.parametrize("value", [1e38, -3e38, 2.0**30 + 128])
def test_numbers_that_are_too_large_to_be_amplitudes(tmp_path, value):
    samples = tone(1.0)
    samples[2500:2503] = value
    path = write(tmp_path / "l.wav", np.stack([samples, tone(1.0)], axis=1), subtype="FLOAT")
    assert reason(path) == "3 frames after frame 2000 are over 1,073,741,824 times full scale"
    samples[2500:2503] = 2.0**30
    path = write(tmp_path / "l.wav", samples, 44_100, subtype="FLOAT")
    assert np.isfinite(audio.read(path, RATE)).all()


def test_files_that_are_not_there(tmp_path):
    link = tmp_path / "link.wav"
    link.symlink_to(tmp_path / "gone.wav")
    assert reason(link) == "it cannot be opened: No such file or directory"
    with pytest.raises(audio.AudioError, match="it cannot be opened: No such file"):
        audio.digest(link)
