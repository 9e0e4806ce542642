"""Audio files: whole, cut or damaged."""

import numpy as np
import pytest
import soundfile

from datasets import audio

RATE = 16000


def tone(seconds, rate=RATE, hertz=440.0):
    return (0.4 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)).astype("f4")


def write(path, samples, rate=RATE, **options):
    soundfile.write(path, samples, rate, **options)
    return path


def cut(path, share):
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    return path


def reason(path):
    with pytest.raises(audio.AudioError) as error:
        list(audio.read_blocks(path, RATE, 1000))
    return str(error.value)
