import dataclasses

import numpy as np
import pytest
import soundfile

from datasets import audio, quantise, shards
from datasets.convert import Facts, Settings, SettingsError, convert

RATE = 16000
SETTINGS = Settings(RATE, "mulaw", 256, "none")


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "a.wav"
    samples = np.random.default_rng(0).uniform(-0.5, 0.4, (1_000, 2))
    soundfile.write(path, samples, RATE, subtype="FLOAT")
    return path


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "corpus" / "shards").mkdir(parents=True)
    return tmp_path / "corpus"


def times(folder):
    return {path.name: path.stat().st_mtime_ns for path in (folder / "shards").iterdir()}


def test_a_shard_and_its_facts(source, folder):
    facts = convert(source, "a.wav", folder, SETTINGS)
    assert (facts.samples, facts.source_rate, facts.channels) == (1_000, RATE, 2)
    assert Facts.of(facts.text()) == facts
    expected = quantise.encode(audio.read(source, RATE), "mulaw")
    assert np.array_equal(shards.read(folder / facts.shard, 0, 1_000), expected)


def test_nothing_is_written_twice(source, folder):
    first = convert(source, "a.wav", folder, SETTINGS)
    before = times(folder)
    assert convert(source, "a.wav", folder, SETTINGS) == first
    assert times(folder) == before


def test_each_name_and_setting_has_its_own_shard(source, folder):
    others = [{"rate": 8000}, {"codec": "linear"}, {"scaling": "file"}]
    made = [convert(source, "a.wav", folder, dataclasses.replace(SETTINGS, **o)) for o in others]
    made += [convert(source, name, folder, SETTINGS) for name in ("a.wav", "a/wav", "a_wav")]
    assert len({facts.shard for facts in made}) == 6
    assert len(times(folder)) == 12


@pytest.mark.parametrize("level", [0.0, 0.5])
def test_scaling_by_file_brings_the_loudest_sample_to_full_scale(tmp_path, folder, level):
    path = tmp_path / "level.wav"
    soundfile.write(path, np.linspace(-level, level / 2, 100), RATE, subtype="FLOAT")
    facts = convert(path, "level.wav", folder, Settings(RATE, "linear", 256, "file"))
    codes = shards.read(folder / facts.shard, 0, 100)
    assert (codes[0], codes[-1]) == ((0, 192) if level else (128, 128))


def test_a_refused_file_leaves_nothing(tmp_path, folder):
    path = tmp_path / "short.wav"
    soundfile.write(path, np.zeros(64), 2 * RATE)
    with pytest.raises(
        audio.AudioError, match="it holds 32 samples at 16000 Hz, fewer than the 33"
    ):
        convert(path, "short.wav", folder, SETTINGS)
    assert times(folder) == {}


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ((RATE, "alaw", 256, "none"), "Codec 'alaw' with 256 levels is not known: write mulaw or"),
        ((RATE, "mulaw", 128, "none"), "with 128 levels"),
        ((RATE, "mulaw", 256, "loud"), "Scaling 'loud' is not known: write none or file"),
    ],
)
def test_unknown_settings_are_refused(settings, sentence):
    with pytest.raises(SettingsError, match=sentence):
        Settings(*settings)
