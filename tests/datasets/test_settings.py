import dataclasses

import pytest

from datasets.augment import Augmentation
from datasets.settings import Settings, SettingsError
from tests.helpers.sounds import asked

RATE = 16_000


@pytest.mark.parametrize(
    ("codec", "levels", "scaling", "chunk"),
    [
        ("mulaw", 256, "none", 0),
        ("linear", 256, "file", 0),
        ("linear", 65_536, "none", 0),
        ("linear", 65_536, "file", 0),
        ("mulaw", 256, "chunk", 131_072),
        ("linear", 256, "chunk", 1),
    ],
)
def test_settings_that_codes_can_be_made_with_are_accepted(codec, levels, scaling, chunk):
    assert Settings(RATE, codec, levels, scaling, chunk).chunk == chunk


@pytest.mark.parametrize(
    ("codec", "levels", "scaling", "chunk", "sentence"),
    [
        ("alaw", 256, "none", 0, "Codec 'alaw' is unknown: write one of mulaw, linear"),
        ("mulaw", 128, "none", 0, "128 levels are not known: write 256 or 65536"),
        ("mulaw", 65_536, "none", 0, "write 256 levels, or the codec 'linear'"),
        ("mulaw", 256, "loud", 0, "Scaling 'loud' is not known: write none or file or chunk"),
        ("mulaw", 256, "chunk", 0, "'chunk' with a chunk of 0 samples is not possible.*131072"),
        ("mulaw", 256, "chunk", -5, "chunk of -5 samples is not possible"),
        ("mulaw", 256, "none", 9, "'none' with a chunk of 9 samples is not possible.*others none"),
        ("mulaw", 256, "file", 9, "'file' with a chunk of 9 samples is not possible"),
        ("linear", 65_536, "chunk", 9, "'chunk' has 256 levels by definition, not 65536: write"),
    ],
)
def test_impossible_settings_of_codes_are_refused_with_the_allowed_ones(
    codec, levels, scaling, chunk, sentence
):
    with pytest.raises(SettingsError, match=sentence):
        Settings(RATE, codec, levels, scaling, chunk)


@pytest.mark.parametrize(
    ("augmentation", "copies", "possible"),
    [
        (Augmentation(), 0, True),
        (Augmentation(seed=4), 0, True),
        (Augmentation(polarity=True), 2, True),
        (Augmentation(gain_decibels=3.0, seed=1), 1, True),
        (Augmentation(polarity=True), 0, False),
        (Augmentation(pitch_semitones=1.0), 0, False),
        (Augmentation(), 1, False),
        (Augmentation(seed=4), 2, False),
        (Augmentation(polarity=True), -1, False),
    ],
)
def test_copies_need_a_change_and_a_change_needs_copies(augmentation, copies, possible):
    settings = dataclasses.replace(asked().settings, augmentation=augmentation)
    if possible:
        assert asked(settings=settings, copies=copies).copies == copies
        return
    with pytest.raises(SettingsError, match=f"{copies} changed copies with .*: write both, copies"):
        asked(settings=settings, copies=copies)
