"""Evaluations made by hand; no number in them was measured."""

import numpy as np

from scaling.config.comparison_config import CompareConfig
from scaling.evaluation.clustered_errors import clustered_mean
from scaling.evaluation.scores import Evaluation, Loss, Quantiser, Second
from tests.helpers import records

TARGETS = 50
QUANTISER = Quantiser(rate=16_000, codec="mulaw", levels=256, scaling="none", chunk=0)


def evaluation(run, nats, protocol="full-context", linear=3.6, seconds=30, seed=0, **changes):
    """Return the evaluation of a run with a loss around ``nats``, correlated with all others."""
    common = np.random.default_rng(seed).normal(0, 0.5, seconds)
    own = np.random.default_rng([seed, len(run)]).normal(0, 0.01, seconds)
    sums = TARGETS * np.stack([nats + common + own, linear + common, np.full(seconds, 5.0)])
    counts = np.full(seconds, TARGETS)
    means = [Loss.of(*clustered_mean(values, counts)) for values in (*sums, sums[0] - sums[1])]
    rows = [
        Second(recording="a", second=i, targets=TARGETS, run=one, linear=other, histogram=third)
        for i, (one, other, third) in enumerate(sums.T.tolist())
    ]
    fields = {
        "run": run,
        "corpus_fingerprint": "9b1d" * 16,
        "quantiser": QUANTISER,
        "split": "test",
        "protocol": protocol,
        "positions": "all",
        "context": 128_000,
        "history": 1_024_000,
        "targets": seconds * TARGETS,
        "left_out": 7,
        "targets_hash": protocol * 4,
        "clusters": seconds,
        "clustered_by": "seconds",
        "loss": means[0],
        "linear": means[1],
        "histogram": means[2],
        "margin": means[3],
        "by_second": rows,
    }
    return Evaluation(**{**fields, **changes})


NATS = {"one": 3.3, "two": 3.2, "three": 3.4}


def config(**changes):
    content = {
        "study": "compare",
        "corpus": "data/x",
        "match": ("parameters", "wall_time"),
        "budget": {"wall_time": 20},
        "rows": [{"name": name, "config": "x.yaml", "published": 1.5} for name in NATS],
    }
    return CompareConfig.model_validate({**content, **changes})


def recorded(seconds=(20.0, 21.0, 21.9)):
    found = []
    for number, nats in enumerate(NATS.values()):
        one = records.run({"model.layers": 1, "seed": number}, nats)
        model = {**one.config["model"], "kind": "latent"}
        throughput = one.throughput.model_copy(update={"training_seconds": seconds[number]})
        changes = {"config": {**one.config, "model": model}, "throughput": throughput}
        found.append(one.model_copy(update=changes))
    return found


def scored():
    return [
        {
            protocol: evaluation(name, nats + shift, protocol)
            for protocol, shift in (("full-context", 0.0), ("from-silence", 0.3))
        }
        for name, nats in NATS.items()
    ]
