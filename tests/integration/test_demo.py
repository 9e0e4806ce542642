"""Scores and sound of the shipped demo model after a short training."""

import json

import numpy as np
import pytest
import soundfile

from datasets import quantise, shards
from scaling.config import load
from scaling.inference.degeneration import flatness, spectrum
from scaling.orchestration.train import make_job, train
from tests.helpers.clone import CLONE
from tests.helpers.command import scaling
from tests.helpers.sounds import decibels

pytestmark = pytest.mark.slow

DEMO = CLONE / "configs/runs/demo.yaml"
RATE = 16_000
SECONDS = 1


@pytest.fixture(scope="module")
def demo(embedded_corpus, tmp_path_factory):
    """Return the folder of a run of the demo's model with a context of one second."""
    storage = tmp_path_factory.mktemp("runs")
    overrides = [
        f"corpus={embedded_corpus.folder}",
        f"cluster.storage={storage}",
        "model.context=16000",
        "windows.history=16000",
        "train.steps=60",
    ]
    config = load.run(DEMO, overrides)
    train(make_job(config, {}))
    return config.folder


@pytest.fixture(scope="module")
def prompt(embedded_corpus, tmp_path_factory):
    """Return a WAV file of the first second of the test split."""
    (recording,) = embedded_corpus.recordings
    begin, _ = recording.ranges["test"]
    codes = shards.read(embedded_corpus.folder, recording.location, begin, SECONDS * RATE)
    path = tmp_path_factory.mktemp("audio") / "prompt.wav"
    soundfile.write(path, quantise.decode(codes, "mulaw"), RATE)
    return path


def test_the_run_beats_the_linear_predictor_at_samples_that_it_never_saw(demo):
    done = scaling("evaluate", demo, "--split", "test", "--positions", "512", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["targets"] >= 512
    assert found["margin"]["nats"] < 0
    assert found["loss"]["nats"] < found["linear"]["nats"]


def test_continuations_have_the_prompts_level_and_are_neither_silence_nor_white_noise(
    demo, prompt, tmp_path
):
    words = ["--prompt", prompt, "--seconds", SECONDS, "--temperature", "0.9", "--batch", "2"]
    done = scaling("generate", demo, *words, "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    prompt_samples, _ = soundfile.read(prompt)
    paths = sorted(tmp_path.glob("*.wav"))
    assert len(paths) == len(list(tmp_path.glob("*.png"))) == 2
    noise = np.random.default_rng(0).normal(size=SECONDS * RATE)
    assert flatness(noise, RATE) > 0.9
    for path in paths:
        continuation, rate = soundfile.read(path)
        assert (len(continuation), rate) == (SECONDS * RATE, RATE)
        assert abs(decibels(continuation) - decibels(prompt_samples)) < 10
        # After a minute of training they are far noisier than the prompt, but far from white.
        assert flatness(prompt_samples, RATE) < flatness(continuation, RATE) < 0.8
        # White noise has a quarter of its power below 2 kHz, the prompt nearly all.
        power = spectrum(continuation, RATE)
        assert power[: len(power) // 4].sum() / power.sum() > 0.45


def test_an_unknown_split_and_a_prompt_without_audio_are_refused_with_the_reason(demo, tmp_path):
    done = scaling("evaluate", demo, "--split", "tset")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "tset" in done.stderr
    done = scaling("evaluate", demo, "--positions", "none")
    assert done.returncode == 2
    assert "write all, or 1 or more" in done.stderr
    (tmp_path / "no.wav").write_text("no audio")
    done = scaling("generate", demo, "--prompt", tmp_path / "no.wav")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "no.wav" in done.stderr
