"""16-bit audio from the corpus to the continuation, with the shipped configurations."""

import json

import numpy as np
import pytest
import soundfile

from datasets import quantise, shards
from datasets.prepare import prepare_corpus
from datasets.storage import Folder
from scaling.config import load
from scaling.inference.degeneration import flatness, spectrum
from scaling.orchestration.train import make_job, train
from tests.helpers.clone import CLONE
from tests.helpers.command import scaling
from tests.helpers.sounds import decibels

pytestmark = pytest.mark.slow

RATE = 16_000
CONTEXT = 8_000


@pytest.fixture(scope="module")
def corpus(ray_session, tmp_path_factory):
    preparation = load.corpus(CLONE / "configs/corpora/sixteen_bits.yaml").preparation()
    destination = tmp_path_factory.mktemp("corpora") / "embedded-16"
    return prepare_corpus(preparation, Folder.of(CLONE), Folder.of(destination))


@pytest.fixture(scope="module")
def runs(corpus, tmp_path_factory):
    """Return the folders of a run of each likelihood with a context of half a second."""
    storage, folders = tmp_path_factory.mktemp("runs"), {}
    for likelihood in ("logistic_mixture", "mean_square"):
        overrides = [
            f"corpus={corpus.folder}",
            f"cluster.storage={storage}",
            f"model.likelihood={likelihood}",
            f"model.context={CONTEXT}",
            f"windows.history={CONTEXT}",
            "train.steps=50",
        ]
        config = load.run(CLONE / "configs/runs/sixteen_bits.yaml", overrides)
        train(make_job(config, {}))
        folders[likelihood] = config.folder
    return folders


def evaluation(folder):
    done = scaling("evaluate", folder, "--split", "validation", "--positions", "512", "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_mixture_beats_the_linear_predictor_and_both_are_scored_on_the_same_targets(runs):
    mixture, square = (evaluation(folder) for folder in runs.values())
    assert mixture["targets_hash"] == square["targets_hash"]
    assert mixture["quantiser"] == square["quantiser"]
    assert mixture["margin"]["nats"] < 0
    assert mixture["loss"]["nats"] < square["loss"]["nats"]
    assert mixture["root_mean_square"] is None
    # A linear predictor's error on this recording is some hundred of the 65,536 codes.
    assert 50 < square["root_mean_square"] < 5_000


def test_a_mixtures_continuation_has_the_prompts_level_and_spectrum(corpus, runs, tmp_path):
    (recording,) = corpus.recordings
    begin, _ = recording.ranges["validation"]
    codes = shards.read(corpus.folder, recording.location, begin, 2 * RATE)
    prompt_samples = quantise.decode(codes, "linear", 65_536)
    prompt = tmp_path / "prompt.wav"
    soundfile.write(prompt, prompt_samples, RATE)
    words = ["--prompt", prompt, "--seconds", "0.25", "--out", tmp_path / "made"]
    done = scaling("generate", runs["logistic_mixture"], *words)
    assert done.returncode == 0, done.stderr
    (path,) = (tmp_path / "made").glob("*.wav")
    continuation, rate = soundfile.read(path, dtype="int16")
    assert (len(continuation), rate) == (RATE // 4, RATE)
    # Codes of 8 bits have 256 values at most.
    assert len(np.unique(continuation)) > 500
    continuation = continuation / 2**15
    assert abs(decibels(continuation) - decibels(prompt_samples)) < 10
    assert flatness(continuation, RATE) < 0.5
    power = spectrum(continuation, RATE)
    assert power[: len(power) // 4].sum() / power.sum() > 0.6
