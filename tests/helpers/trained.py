"""Finished runs with random weights, for tests of programs that use runs."""

import torch
from safetensors.torch import save_file

from scaling.runs.trained_model import WEIGHTS_NAME, TrainedModel
from scaling.training.engine import build_network
from tests.helpers import records
from tests.helpers.runs import baseline_run, small_run


def trained(corpus, folder, **changes):
    """Write a run with random weights and a record of training on ``corpus``."""
    config = small_run(corpus, folder, **{"model__context": 2_000, **changes})
    network = build_network(config, corpus)
    torch.nn.init.normal_(network.head.output.weight, std=0.1)
    return _saved(config, network, corpus, folder)


def trained_baseline(corpus, folder, kind, **changes):
    """Write such a run of a baseline without trivial weights."""
    config = baseline_run(corpus, folder, kind, **changes)
    network = build_network(config, corpus)
    with torch.no_grad():
        for weight in network.parameters():
            if weight.requires_grad:
                weight += 0.2 * torch.randn_like(weight)
    return _saved(config, network, corpus, folder)


def _saved(config, network, corpus, folder):
    record = records.run({}, 3.0, config=config.resolved(), id=config.id)
    record = record.model_copy(
        update={"corpus": record.corpus.model_copy(update={"fingerprint": corpus.fingerprint})}
    )
    folder.mkdir(exist_ok=True)
    record.write(folder)
    save_file(network.state_dict(), folder / WEIGHTS_NAME)
    return TrainedModel.load(folder)
