"""Runs for tests of continuations."""

from itertools import chain, repeat
from pathlib import Path

import numpy as np
import soundfile
import torch

from model.network import LatentTransformer
from scaling.config.run_config import RunConfig
from scaling.runs.trained_model import TrainedModel
from tests.helpers import records
from tests.helpers.architectures import small

RATE = 16_000
STEPS = 200


def trained(attention="causal", **corpus):
    """Make a run with random weights."""
    torch.manual_seed(1)
    architecture = small(attention=attention)
    record = records.run({}, 3.3)
    record = record.model_copy(update={"corpus": record.corpus.model_copy(update=corpus)})
    config = RunConfig(study="demo", corpus="data/performance", model=architecture)
    return TrainedModel(
        Path("runs/demo/abc"), record, config, LatentTransformer(architecture).eval()
    )


def sound(path, samples, rate=RATE, channels=1):
    """Write a file of noise below full scale."""
    noise = np.random.default_rng(0).uniform(-0.5, 0.4, (samples, channels))
    soundfile.write(path, noise, rate, subtype="FLOAT")
    return path


def endlessly(codes):
    """Return a stand-in for ``generate``: these codes [batch] of each step, then zeros."""

    def generate(network, prompt_S, sampling, seed, batch, compiled):
        generate.prompt_S, generate.compiled = prompt_S, compiled
        for codes_B in chain(codes, repeat(torch.zeros(batch, dtype=torch.int64))):
            yield codes_B, torch.zeros(batch)

    return generate
