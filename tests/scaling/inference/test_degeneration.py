"""Alarms for degenerate continuations, and none for music or a prompt of the same kind."""

import numpy as np
import pytest

from datasets import audio, quantise
from scaling.inference.degeneration import FEWEST_SAMPLES, degeneration_alarms, flatness
from tests.helpers import records
from tests.helpers.clone import CLONE

RATE = 16_000
SECONDS_T = np.arange(RATE) / RATE
TONE = 0.1 * np.sin(2 * np.pi * 440 * SECONDS_T) + 0.05 * np.sin(2 * np.pi * 1_320 * SECONDS_T)
NOISE = np.random.default_rng(0).normal(0, 0.05, RATE)
SQUARE = np.sign(TONE)
SILENCE = np.zeros(RATE)

EVERY_CODEC = pytest.mark.parametrize(
    ("codec", "levels"), [("mulaw", 256), ("linear", 256), ("linear", 65_536)]
)


def alarms(samples, prompt, codec="mulaw", levels=256):
    """Return the first one or two words of each alarm, for these samples after the prompt."""
    corpus = records.run({}, 3.3).corpus
    corpus = corpus.model_copy(update={"rate": RATE, "codec": codec, "levels": levels})
    codes, prompt_codes = (quantise.encode(each, codec, levels) for each in (samples, prompt))
    return [
        " ".join(sentence.split()[:2]).split(":")[0]
        for sentence in degeneration_alarms(codes, prompt_codes, corpus)
    ]


@EVERY_CODEC
@pytest.mark.parametrize(
    ("samples", "prompt", "expected"),
    [
        (TONE, TONE, []),
        (TONE, SILENCE, []),
        (NOISE, TONE, ["became noise"]),
        (NOISE, SILENCE, ["became noise"]),
        (NOISE, NOISE, []),
        (SQUARE, 0.5 * SQUARE, ["clips"]),
        (SQUARE, SILENCE, ["clips"]),
        (SQUARE, SQUARE, []),
        (SILENCE, TONE, ["became silence"]),
        (SILENCE, SILENCE, ["became silence"]),
        (8 * TONE, 0.3 * TONE, ["became loud"]),
        (0.3 * TONE, 8 * TONE, []),
        (3 * TONE, 0.5 * TONE, []),
    ],
)
def test_only_silence_noise_clipping_and_a_high_level_raise_alarms(
    samples, prompt, expected, codec, levels
):
    assert alarms(samples, prompt, codec, levels) == expected


def test_an_alarm_has_the_number_and_its_limit():
    corpus = records.run({}, 3.3).corpus
    (sentence,) = degeneration_alarms(
        quantise.encode(8 * TONE, "mulaw"), quantise.encode(0.3 * TONE, "mulaw"), corpus
    )
    assert sentence == (
        "became loud: its last second is 29 dB above its prompt's level, more than 20 dB"
    )


@pytest.mark.parametrize("name", ["sunflower_slow_drag", "salamander_notes"])
def test_real_recordings_raise_no_alarm_except_for_silence(name):
    samples = audio.read(CLONE / f"datasets/embedded/{name}.flac", RATE)
    found = {
        sentence
        for at in range(RATE, len(samples) - RATE, 3 * RATE)
        for sentence in alarms(samples[at : at + RATE], samples[max(0, at - 8 * RATE) : at])
    }
    assert found <= {"became silence"}


def test_the_last_second_is_judged_and_less_than_one_is_not():
    assert alarms(np.concatenate([NOISE, TONE]), TONE) == []
    assert alarms(np.concatenate([TONE, NOISE]), TONE) == ["became noise"]
    assert alarms(NOISE[:-1], TONE) == []


@EVERY_CODEC
def test_codes_on_both_sides_of_zero_are_silence(codec, levels):
    corpus = records.run({}, 3.3).corpus.model_copy(update={"codec": codec, "levels": levels})
    codes = levels // 2 - np.arange(RATE) % 2
    (sentence,) = degeneration_alarms(codes, codes, corpus)
    assert sentence.startswith("became silence")


@pytest.mark.parametrize("samples", [FEWEST_SAMPLES, 16_000])
def test_spectral_flatness_of_white_noise_of_a_tone_and_of_silence(samples):
    generator = np.random.default_rng(1)
    assert all(flatness(generator.normal(size=samples), RATE) > 0.85 for _ in range(20))
    assert flatness(TONE[:samples], RATE) < 0.01
    assert flatness(np.zeros(samples), RATE) == flatness(np.ones(1), RATE) == 0
