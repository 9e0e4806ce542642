"""The verb generate: its prompts, the order of its lines, and its alarms."""

from itertools import repeat
from pathlib import Path

import numpy as np
import pytest
import torch

from model.inference.dense import dense_nats
from model.sampling import Sampling
from scaling.cli.main import app
from scaling.inference import continuation
from scaling.inference.continuation import (
    Continuation,
    GenerationRequest,
    continue_prompt,
    summary_lines,
)
from scaling.runs.trained_model import TrainedModel
from tests.helpers.continuations import RATE, STEPS, endlessly, sound, trained


def made(run, prompt, out, batch=1, seconds=STEPS / RATE, **how):
    asked = GenerationRequest(seconds, Sampling(**how), 7, batch)
    return continue_prompt(run, prompt, asked, out, lambda done, total: None)[0]


@pytest.mark.parametrize("codec", ["mulaw", "linear"])
def test_without_a_prompt_a_whole_context_of_silence_is_continued(tmp_path, monkeypatch, codec):
    generate = endlessly([])
    monkeypatch.setattr(continuation, "generate", generate)
    run = trained(codec=codec)
    (only,) = made(run, None, tmp_path)
    assert generate.prompt_S.tolist() == [128] * run.config.model.context
    assert only.wav.name == "unprompted-seed7-0.wav"
    assert only.picture.exists()


def test_unconditional_samples_are_fixed_by_the_seed(tmp_path):
    run = trained()
    first, again = (made(run, None, tmp_path / name, batch=2) for name in "ab")
    assert [one.wav.read_bytes() for one in first] == [one.wav.read_bytes() for one in again]
    assert first[0].wav.read_bytes() != first[1].wav.read_bytes()


@pytest.mark.parametrize(
    "how", [{}, {"temperature": 0.5}, {"temperature": 0}, {"top_k": 9, "top_p": 0.8}], ids=str
)
def test_the_likelihood_of_a_continuation_equals_its_evaluation_for_any_sampling(
    tmp_path, monkeypatch, how
):
    run, kept = trained("bidirectional"), []
    blocks = continuation.generate_blocks

    def keeping(run, codes_S, *others):
        for codes_BT, nats_BT in blocks(run, codes_S, *others):
            kept.append((codes_S, codes_BT))
            yield codes_BT, nats_BT

    monkeypatch.setattr(continuation, "generate_blocks", keeping)
    prompt = sound(tmp_path / "prompt.wav", samples=3_000)
    found = made(run, prompt, tmp_path / "out", batch=2, **how)
    codes_BT = np.concatenate([codes for _, codes in kept], 1)
    for one, codes_T in zip(found, codes_BT, strict=True):
        known = np.concatenate([kept[0][0][-run.config.model.context :], codes_T])
        nats = torch.cat(list(dense_nats(run.network, [torch.from_numpy(known)])))
        assert len(nats) == STEPS
        assert one.nats == pytest.approx(float(nats.double().mean()), abs=1e-5)


def test_the_likeliest_is_named_first_and_each_alarm_below_its_file():
    each = [
        Continuation(Path(f"{name}.wav"), Path(f"{name}.png"), 0, number, nats, alarms)
        for number, (name, nats, alarms) in enumerate(
            [("a", 2.0, ()), ("b", 1.0, ("clips", "became noise")), ("c", 1.5, ())]
        )
    ]
    assert summary_lines(each) == [
        "b.wav b.png 1.443 bits (1.000 nats) a sample",
        "warning: b.wav clips",
        "warning: b.wav became noise",
        "c.wav c.png 2.164 bits (1.500 nats) a sample",
        "a.wav a.png 2.885 bits (2.000 nats) a sample",
    ]


def test_generate_without_a_prompt_prints_a_likelihood_and_an_alarm(tmp_path, monkeypatch, capsys):
    def generate(network, prompt_S, sampling, seed, batch, compiled):
        """Yield silence whose nats decrease from one continuation to the next."""
        yield from repeat((torch.full((batch,), 128), 3.0 - torch.arange(batch)))

    monkeypatch.setattr(continuation, "generate", generate)
    monkeypatch.setattr(TrainedModel, "load", lambda folder: trained())
    app(["generate", str(tmp_path), "--seconds", "1", "--batch", "2"], standalone_mode=False)
    *lines, last = capsys.readouterr().out.splitlines()
    stem = tmp_path / "generated" / "unprompted-seed0"
    quiet = "became silence: its last second is below -60 dB of full scale"
    assert lines == [
        f"{stem}-1.wav {stem}-1.png 2.885 bits (2.000 nats) a sample",
        f"warning: unprompted-seed0-1.wav {quiet}",
        f"{stem}-0.wav {stem}-0.png 4.328 bits (3.000 nats) a sample",
        f"warning: unprompted-seed0-0.wav {quiet}",
    ]
    assert last.startswith("1 s of audio each")
