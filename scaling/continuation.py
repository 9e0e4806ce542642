"""A prompt's continuations as files: each a WAV of what was generated, and its spectrogram."""

import math
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import torch
from matplotlib.figure import Figure
from scipy.signal import ShortTimeFFT
from scipy.signal.windows import hann

from datasets import quantise
from datasets.audio import AudioError
from datasets.convert import encode
from datasets.files import replacing
from datasets.settings import Settings
from model.architecture import Architecture
from model.generation import generate
from model.sampling import Sampling
from scaling.trained import Trained

Progress = Callable[[int, int], None]

COMPILED_STEPS = 20_000
PROGRESS_SECONDS = 0.1
MOST_SEEDS = 2**32
LEAD_SECONDS = 1.0
WINDOW_SECONDS = 0.032
MOST_COLUMNS = 2_000
QUIETEST_DB = -100.0


class PromptError(ValueError):
    """A continuation that cannot be made as it was asked for, with what to change."""


@dataclass(frozen=True)
class Continuation:
    """One of the continuations of a prompt: its audio and its picture. ``number`` counts from 0."""

    wav: Path
    picture: Path
    seed: int
    number: int


def continue_prompt(
    run: Trained,
    prompt: Path,
    seconds: float,
    sampling: Sampling,
    seed: int,
    batch: int,
    out: Path,
    progress: Progress,
) -> list[Continuation]:
    """Generate ``batch`` continuations of an audio file and write each into the folder ``out``.

    ``PROMPT-seedSEED-NUMBER.wav`` holds round(seconds * rate) samples (16-bit PCM, mono, at the
    corpus rate), the ``.png`` beside it the spectrogram of the prompt's last second and of them.
    Files of these names are replaced. ``progress`` gets (steps done, steps) about ten times a
    second. The same call on the same machine writes the same bytes; a longer one begins alike,
    unless only it is long enough for a compiled step, which rounds differently.

    PromptError where the prompt cannot be read or is too short, or an argument cannot be. Nothing
    is written before all is generated.
    """
    rate = run.record.corpus.rate
    _check(seconds, rate, sampling, seed, batch)
    codes_S = _prompt_codes(run, prompt)
    out.mkdir(parents=True, exist_ok=True)
    steps = round(seconds * rate)
    codes_BT = generated(run, codes_S, steps, sampling, seed, batch, progress)
    made = []
    for number, codes_T in enumerate(codes_BT):
        stem = out / f"{prompt.stem}-seed{seed}-{number}"
        made.append(Continuation(Path(f"{stem}.wav"), Path(f"{stem}.png"), seed, number))
        _write(run, made[-1], codes_S, codes_T, sampling)
    return made


def _check(seconds: float, rate: int, sampling: Sampling, seed: int, batch: int) -> None:
    """Raise PromptError with every sentence that says what cannot be."""
    found = sampling.problems()
    if not math.isfinite(seconds * rate) or round(seconds * rate) < 1:
        found.append(f"seconds is {seconds}: write a sample (1/{rate} s) or more, as 5")
    if not 0 <= seed < MOST_SEEDS:
        found.append(f"seed is {seed}: write 0 to {MOST_SEEDS - 1}")
    if batch < 1:
        found.append(f"batch is {batch}: write 1 or more")
    if found:
        raise PromptError("; ".join(found))


def _prompt_codes(run: Trained, prompt: Path) -> np.ndarray:
    """The newest codes of the prompt, made as the corpus's own (uint8 [S]): those that the model
    sees, or those of the picture if they are more.
    """
    corpus, model = run.record.corpus, run.config.model
    settings = Settings(corpus.rate, corpus.codec, corpus.levels, corpus.scaling, corpus.chunk)
    try:
        codes_S = np.concatenate(list(encode(prompt, settings)))
    except AudioError as error:
        raise PromptError(f"the prompt {prompt} is of no use: {error}") from error
    shortest = max(model.chunk, model.recent)
    if len(codes_S) < shortest:
        raise PromptError(
            f"the prompt {prompt} has {len(codes_S) / corpus.rate:.4g} s "
            f"({len(codes_S)} samples at {corpus.rate} Hz): run {run.record.id} needs "
            f"{shortest / corpus.rate:.4g} s ({shortest} samples) or more"
        )
    return codes_S[-max(model.context, _lead(corpus.rate)) :]


def generated(
    run: Trained,
    codes_S: np.ndarray,
    steps: int,
    sampling: Sampling,
    seed: int,
    batch: int,
    progress: Progress,
) -> np.ndarray:
    """The codes of ``batch`` continuations of the codes [S], uint8 [batch, steps]."""
    prompt_S = torch.from_numpy(codes_S[-run.config.model.context :]).long()
    device = next(run.network.parameters()).device
    compiled = (
        device.type == "cpu"
        and isinstance(run.config.model, Architecture)
        and run.config.model.attention == "causal"
        and steps >= COMPILED_STEPS
        and any(shutil.which(name) for name in ("c++", "g++"))
    )
    codes = generate(run.network, prompt_S, sampling, seed, batch, compiled)
    codes_BT = torch.empty(batch, steps, dtype=torch.uint8, device=device)
    progress(0, steps)
    told = time.monotonic()
    for step, codes_B in zip(range(steps), codes, strict=False):
        codes_BT[:, step] = codes_B
        if time.monotonic() - told >= PROGRESS_SECONDS:
            progress(step + 1, steps)
            told = time.monotonic()
    progress(steps, steps)
    return codes_BT.cpu().numpy()


def _write(
    run: Trained, made: Continuation, codes_S: np.ndarray, codes_T: np.ndarray, sampling: Sampling
) -> None:
    """The audio and the picture of one continuation, both or neither."""
    corpus = run.record.corpus
    before = codes_S[-_lead(corpus.rate) :]
    both = quantise.decode(np.concatenate([before, codes_T]), corpus.codec, corpus.levels)
    title = f"run {run.record.id}, seed {made.seed}, temperature {sampling.temperature:g}"
    picture = _picture(both, len(before), corpus.rate, f"{title}, number {made.number}")
    # The formats are named because the temporary files' names do not end on them.
    with replacing(made.wav) as wav, replacing(made.picture) as png:
        amplitudes = both[len(before) :]
        soundfile.write(os.fsencode(wav), amplitudes, corpus.rate, "PCM_16", format="WAV")
        picture.savefig(png, format="png")


def _picture(amplitudes_T: np.ndarray, before: int, rate: int, title: str) -> Figure:
    """The spectrogram of amplitudes of which the first ``before`` are the prompt's."""
    size = min(max(2, round(WINDOW_SECONDS * rate)), len(amplitudes_T))
    hop = max(1, size // 4, -(-len(amplitudes_T) // MOST_COLUMNS))
    # Scaled so that a sine of full scale reads 0 dB.
    transform = ShortTimeFFT(
        hann(size, sym=False), hop, rate, fft_mode="onesided2X", scale_to="magnitude"
    )
    columns = -(-len(amplitudes_T) // hop)
    power_FT = transform.spectrogram(
        amplitudes_T.astype(np.float64), p0=0, p1=columns, padding="even"
    )
    level_FT = 10 * np.log10(np.maximum(power_FT, 10 ** (QUIETEST_DB / 10)))
    figure = Figure(figsize=(10, 4), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    # A column stands in the middle of its window, and a row at its frequency.
    left, right = ((hop * column - before) / rate for column in (-0.5, columns - 0.5))
    half = transform.delta_f / 2
    extent = (left, right, -half, transform.f[-1] + half)
    image = axes.imshow(
        level_FT, origin="lower", aspect="auto", extent=extent, vmin=QUIETEST_DB, vmax=0
    )
    axes.axvline(0, color="white", linewidth=1)
    axes.set_xlim(-before / rate, (len(amplitudes_T) - before) / rate)
    axes.set_ylim(0, rate / 2)
    axes.set_xlabel("seconds after the continuation begins")
    axes.set_ylabel("frequency (Hz)")
    axes.set_title(title)
    figure.colorbar(image, ax=axes, label="level (dB, 0 is a sine of full scale)")
    return figure


def _lead(rate: int) -> int:
    """Samples of the prompt that the picture shows at most."""
    return round(LEAD_SECONDS * rate)
