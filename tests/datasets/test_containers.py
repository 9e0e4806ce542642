"""Files that differ from the size or the checksums that their container states."""

import numpy as np
import pytest

from datasets import audio
from tests.helpers.audio_files import RATE, cut, reason, tone, write


@pytest.mark.fault(
    "Audio files",
    "a file has a header and no sound",
    "the file is left out with its reason; the other files are used",
)
def test_a_header_without_audio_is_refused(tmp_path):
    assert reason(write(tmp_path / "h.wav", np.zeros(0))) == "it has no audio (0 frames)"


@pytest.mark.fault(
    "Audio files",
    "a WAV is cut",
    "the file is left out with its reason; the other files are used",
)
@pytest.mark.parametrize("share", [0.5, 0.999])
def test_a_truncated_wav_is_refused(tmp_path, share):
    path = cut(write(tmp_path / "t.wav", tone(1.0)), share)
    assert (
        reason(path)
        == f"it is truncated: {int(32044 * share)} bytes of the 32044 that its header states"
    )


@pytest.mark.fault("Audio files", "a WAV from a pipe states no size", "it is read whole")
@pytest.mark.parametrize("size", [b"\x00\x00\x00\x00", b"\xff\xff\xff\xff"])
def test_a_wav_from_a_pipe_without_a_size_is_read_whole(tmp_path, size):
    path = write(tmp_path / "p.wav", tone(1.0))
    content = path.read_bytes()
    path.write_bytes(content[:4] + size + content[8:])
    assert len(audio.read(path, RATE)) == RATE


@pytest.mark.fault(
    "Audio files",
    "a FLAC is cut",
    "the file is left out with its reason; the other files are used",
)
def test_a_truncated_flac_is_refused(tmp_path):
    noise = np.random.default_rng(0).uniform(-1, 1, 20_000)
    path = cut(write(tmp_path / "t.flac", noise), 0.5)
    assert "of 20000" in reason(path)


@pytest.mark.fault(
    "Audio files",
    "an MP3 is cut",
    "the file is left out with its reason; the other files are used",
)
def test_a_truncated_mp3_is_refused(tmp_path):
    path = cut(write(tmp_path / "t.mp3", tone(3.0)), 0.4)
    assert "frames promised can be read" in reason(path)


@pytest.mark.fault(
    "Audio files",
    "an AIFF, AU, RF64 or W64 is cut",
    "the file is left out with its reason; the other files are used",
)
@pytest.mark.parametrize("name", ["t.aiff", "t.au", "t.rf64", "t.w64", "t.wav"])
def test_a_file_shorter_than_its_header_states_is_refused(tmp_path, name):
    noise = np.random.default_rng(0).uniform(-1, 1, 20_000)
    path = write(tmp_path / name, noise, format=name[2:].upper())
    size = path.stat().st_size
    assert len(audio.read(path, RATE)) == 20_000
    cut(path, 0.5)
    assert (
        reason(path) == f"it is truncated: {size // 2} bytes of the {size} that its header states"
    )


@pytest.mark.fault(
    "Audio files",
    "an Ogg file is cut, or has a changed byte",
    "the file is left out with its reason; the other files are used",
)
@pytest.mark.parametrize("share", [0.3, 0.5, 0.9])
def test_an_ogg_with_a_changed_byte_or_without_its_end_is_refused(tmp_path, share):
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


@pytest.mark.fault(
    "Audio files",
    "a FLAC has a changed byte",
    "the file is left out with its reason; the other files are used",
)
def test_a_flac_with_a_changed_byte_is_refused(tmp_path):
    noise = np.random.default_rng(0).uniform(-1, 1, 20_000)
    path = write(tmp_path / "t.flac", noise)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 16
    path.write_bytes(content)
    assert reason(path).startswith("it cannot be decoded after frame ")


@pytest.mark.fault("Audio files", "a WAV states an absurd length of sound", "it is read to its end")
@pytest.mark.parametrize("length", [b"\xff\xff\xff\xff", b"\xf0\xff\xff\x7f"])
def test_a_wav_that_states_an_absurd_length_is_read_to_its_end(tmp_path, length):
    path = write(tmp_path / "t.wav", tone(1.0))
    content = path.read_bytes()
    place = content.index(b"data") + 4
    path.write_bytes(content[:place] + length + content[place + 4 :])
    assert len(audio.read(path, RATE)) == RATE


@pytest.mark.fault(
    "Audio files",
    "a file states a rate of 0 or 1 Hz, or no channels",
    "the file is left out with its reason; the other files are used",
)
@pytest.mark.parametrize(
    ("place", "number", "words"),
    [(24, 0, "it cannot be decoded"), (24, 1, "its rate is 1 Hz, below 1000 Hz"), (22, 0, "zero")],
)
def test_a_header_with_an_impossible_rate_or_channel_count_is_refused(
    tmp_path, place, number, words
):
    path = write(tmp_path / "t.wav", tone(1.0))
    content = bytearray(path.read_bytes())
    content[place : place + 2] = number.to_bytes(2, "little")
    path.write_bytes(content)
    assert words in reason(path)
