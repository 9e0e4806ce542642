"""What a run draws at random, each a function of its seed alone."""

import torch

from datasets.manifest import Corpus
from model import build as models
from model.linear import LinearPrediction
from scaling.config.run_config import RunConfig


def build(config: RunConfig, corpus: Corpus) -> models.Model:
    """The run's model at its start: weights from the seed, linear prediction from the corpus."""
    torch.manual_seed(config.seed)
    linear = corpus.linear
    prediction = LinearPrediction(linear.coefficients, linear.intercept, linear.scale)
    return models.build(config.model, prediction)


def step_seed(config: RunConfig, step: int, rank: int) -> int:
    """The seed of a step's dropout: a run that was interrupted draws the same numbers again."""
    return (config.seed * config.train.steps + step) * 65_537 + rank
