"""A finished run that was never trained, for tests of what is done with one."""

import torch
from safetensors.torch import save_file

from model.linear import LinearPrediction
from model.network import LatentTransformer
from scaling.trained import WEIGHTS_NAME, Trained
from tests import records
from tests.runs import small_run


def trained(corpus, folder, **changes):
    """A run with random weights whose record says that it was trained on ``corpus``."""
    config = small_run(corpus, folder, model__context=2_000, **changes)
    torch.manual_seed(0)
    linear = corpus.linear
    network = LatentTransformer(
        config.model, LinearPrediction(linear.coefficients, linear.intercept, linear.scale)
    )
    torch.nn.init.normal_(network.head.output.weight, std=0.1)
    record = records.run({}, 3.0, config=config.resolved(), id=config.id)
    record = record.model_copy(
        update={"corpus": record.corpus.model_copy(update={"fingerprint": corpus.fingerprint})}
    )
    record.write(folder)
    save_file(network.state_dict(), folder / WEIGHTS_NAME)
    return Trained.load(folder)
