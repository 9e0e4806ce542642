"""The small models of the comparison memorise a clip, and learn a process to its entropy rate."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from scipy.special import ndtr

from datasets import references, shards
from model.build import build, parameter_groups
from model.inference.dense import nats_from_silence
from model.linear import LinearPrediction
from model.targets import Targets
from scaling.config import load
from tests.helpers.clone import CLONE

CLIP = 4_096
KINDS = ("wavenet", "samplernn", "sashimi", "longwave")


def twin(kind, **changes):
    """Return a model's architecture, and targets that cover a window which begins with silence.

    Longwave has eight shorter chunks, so that a window is the clip.
    """
    shape = load.run(CLONE / f"configs/runs/twins/{kind}.yaml").model
    if kind == "longwave":
        shape = dataclasses.replace(shape, context=CLIP, chunk=CLIP // 8)
        return shape, Targets("samples", shape.chunk, shape.chunk)
    return dataclasses.replace(shape, **changes), Targets("sequence", 1)


def linear_prediction(codes):
    """Fit the linear predictor of a corpus of these codes."""
    found = references.fit_linear(references.gram_matrix(codes))
    runs = np.lib.stride_tricks.sliding_window_view(codes.astype(float), found.order + 1)
    centres = found.intercept + runs[:, -2::-1] @ np.array(found.coefficients)
    scale = references.fit_scale(codes[found.order :], centres)
    return LinearPrediction(found.coefficients, found.intercept, scale)


def after_silence(codes_BT, targets, shape):
    """Pad the codes with silence to windows of these targets."""
    return torch.nn.functional.pad(codes_BT, (targets.history(shape), 0), value=128)


def learned(model, windows, targets, rate, steps, enough=0.0):
    """Train on the windows (steps or 1, B, T) in turn, until a loss is below ``enough`` bits."""
    groups = parameter_groups(model)
    optimizer = torch.optim.Adam([{"params": own, "lr": rate * f} for f, own in groups.items()])
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, [rate * factor for factor in groups], total_steps=steps, pct_start=0.1
    )
    for step in range(steps):
        optimizer.zero_grad()
        loss, _ = model(windows[step % len(windows)], targets)
        if loss.item() < enough * math.log(2):
            return
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_twin_learns_a_clip_by_heart(embedded_corpus, kind):
    place = embedded_corpus.recordings[0].location
    codes = shards.read(embedded_corpus.folder, place, 1_000_000, CLIP).copy()
    clip = torch.from_numpy(codes)
    shape, targets = twin(kind)
    torch.manual_seed(0)
    model = build(shape, linear_prediction(codes))
    windows = after_silence(clip, targets, shape)[None, None]
    learned(model, windows, targets, 8e-3, steps=400, enough=0.07)
    assert nats_from_silence(model, clip).mean() / math.log(2) < 0.1


def process(sequences, samples, seed):
    """Return codes (sequences, samples) of a nonlinear process, and the exact bits of each.

    The process is x(t) = round(6 - |x(t-1)| + 0.4 x(t-2) + noise). It continues from its own
    codes, so a code's probability is that of the noise in its bin.
    """
    noise = np.random.default_rng(seed).normal(0, 1, (sequences, samples + 200))
    x, mean = np.zeros_like(noise), np.zeros_like(noise)
    for t in range(2, noise.shape[1]):
        mean[:, t] = 6 - np.abs(x[:, t - 1]) + 0.4 * x[:, t - 2]
        x[:, t] = np.round(mean[:, t] + noise[:, t])
    # The process diverges from below this value.
    assert x.min() > -15
    codes, mean = x[:, 200:], mean[:, 200:]
    share = ndtr(codes + 0.5 - mean) - ndtr(codes - 0.5 - mean)
    return (codes + 128).astype(np.uint8), -np.log2(share)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "samples", "batch", "rate", "steps"),
    [
        ("samplernn", 256, 8, 8e-3, 200),
        ("wavenet", 256, 8, 8e-3, 150),
        ("sashimi", 256, 8, 6e-3, 350),
        ("longwave", CLIP, 1, 8e-3, 200),
    ],
)
def test_small_models_reach_a_known_entropy_rate_to_a_twentieth_of_a_bit_unlike_linear_ones(
    kind, samples, batch, rate, steps
):
    shape, targets = twin(kind, **({"codec": "linear"} if kind == "samplernn" else {}))
    codes, _ = process(batch * steps, samples, seed=1)
    held_out, bits = process(4, CLIP, seed=2)

    def gap():
        scored = [nats_from_silence(model, torch.from_numpy(row)).numpy() for row in held_out]
        # The first samples have little context.
        return (np.stack(scored)[:, 500:] / math.log(2) - bits[:, 500:]).mean()

    torch.manual_seed(0)
    model = build(shape, linear_prediction(codes.ravel()[:100_000]))
    # Longwave is initialised as a linear predictor.
    assert gap() > 0.5
    windows = torch.from_numpy(codes).view(steps, batch, samples)
    learned(model, after_silence(windows, targets, shape), targets, rate, steps)
    assert -0.02 < gap() < 0.05
