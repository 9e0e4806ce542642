"""Continuations as files, of a prompt or of silence: each a WAV of what was generated, and its
spectrogram."""

import math
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import torch
from matplotlib.figure import Figure

from datasets import quantise
from datasets.audio import AudioError
from datasets.convert import encode_file
from datasets.files import replacing
from datasets.settings import Settings
from model.architecture import Architecture
from model.codes import codes_tensor
from model.inference.generation import generate
from model.sampling import Sampling
from scaling.inference.degeneration import degeneration_alarms
from scaling.inference.spectrogram import spectrogram
from scaling.runs.record import bits
from scaling.runs.trained_model import TrainedModel

Progress = Callable[[int, int], None]

COMPILED_STEPS = 20_000
PROGRESS_SECONDS = 0.1
MOST_SEEDS = 2**32
LEAD_SECONDS = 1.0
UNPROMPTED = "unprompted"
"""Where there is no prompt, what stands in the files' names instead of its name."""


class PromptError(ValueError):
    """A continuation that cannot be made as it was asked for, with what to change."""


@dataclass(frozen=True)
class Continuation:
    """One of the continuations of a prompt: its audio and its picture. ``number`` counts from 0.

    ``nats`` is the mean that its samples cost under the model's own distribution, whatever
    the sampling made of it; ``alarms`` is what :func:`scaling.inference.degeneration.degeneration_alarms` says
    of it.
    """

    wav: Path
    picture: Path
    seed: int
    number: int
    nats: float
    alarms: tuple[str, ...]


@dataclass(frozen=True)
class GenerationRequest:
    """What is to be generated: ``batch`` continuations of ``seconds`` from a seed.

    Where ``silence`` seconds are given, it ends when all of them have been silent for so long.
    """

    seconds: float
    sampling: Sampling
    seed: int = 0
    batch: int = 1
    silence: float | None = None


def continue_prompt(
    run: TrainedModel, prompt: Path | None, asked: GenerationRequest, out: Path, progress: Progress
) -> tuple[list[Continuation], float]:
    """Continue an audio file as asked and write each continuation into the folder ``out``.

    Without a file, a whole context of silence is continued, and ``PROMPT`` is ``unprompted``.
    ``PROMPT-seedSEED-NUMBER.wav`` holds round(seconds * rate) samples (16-bit PCM, mono, at the
    corpus rate), the ``.png`` beside it the spectrogram of the prompt's last second and of them.
    They come with the seconds that were made. Files of these names are replaced. ``progress`` gets
    (steps done, steps) about ten times a second; so often the WAV files grow, under temporary
    names. A KeyboardInterrupt ends the continuations where they are. The same call on the same
    machine writes the same bytes; a longer one begins alike, unless only it is long enough for a
    compiled step, which rounds differently.

    PromptError where the prompt cannot be read or is too short, or an argument cannot be. An error
    on the way leaves no file.
    """
    rate = run.record.corpus.rate
    _check(asked, rate)
    codes_S = _silence(run) if prompt is None else _prompt_codes(run, prompt)
    out.mkdir(parents=True, exist_ok=True)
    begin = f"{UNPROMPTED if prompt is None else prompt.stem}-seed{asked.seed}"
    names = [
        (out / f"{begin}-{number}.wav", out / f"{begin}-{number}.png")
        for number in range(asked.batch)
    ]
    with ExitStack() as files:
        pictures = [files.enter_context(replacing(picture)) for _, picture in names]
        partials = [files.enter_context(replacing(wav)) for wav, _ in names]
        wavs = [files.enter_context(_wav(partial, rate)) for partial in partials]
        codes_BT, nats_B = _written(run, codes_S, asked, wavs, progress)
        made = []
        rows = zip(names, pictures, codes_BT, nats_B, strict=True)
        for number, (pair, picture, codes_T, nats) in enumerate(rows):
            alarms = tuple(degeneration_alarms(codes_T, codes_S, run.record.corpus))
            one = Continuation(*pair, asked.seed, number, float(nats), alarms)
            made.append(one)
            # The format is named because the temporary file's name does not end on it.
            _picture(run, one, codes_S, codes_T, asked.sampling).savefig(picture, format="png")
    return made, codes_BT.shape[1] / rate


def summary_lines(made: Sequence[Continuation]) -> list[str]:
    """A line for each continuation, the likeliest first, and a sentence for each alarm below it."""
    lines = []
    for one in sorted(made, key=lambda one: one.nats):
        cost = f"{bits(one.nats):.3f} bits ({one.nats:.3f} nats) a sample"
        lines.append(f"{one.wav} {one.picture} {cost}")
        lines += [f"warning: {one.wav.name} {alarm}" for alarm in one.alarms]
    return lines


def _wav(path: Path, rate: int) -> soundfile.SoundFile:
    return soundfile.SoundFile(os.fsencode(path), "w", rate, 1, "PCM_16", format="WAV")


def _written(
    run: TrainedModel,
    codes_S: np.ndarray,
    asked: GenerationRequest,
    wavs: Sequence[soundfile.SoundFile],
    progress: Progress,
) -> tuple[np.ndarray, np.ndarray]:
    """The codes (B, T) of all continuations, each of which is in its file as far as it is there.

    With the mean of their nats (B).
    """
    corpus, parts, costs = run.record.corpus, [], []
    try:
        for codes_BT, nats_BT in generate_blocks(run, codes_S, asked, progress):
            parts.append(codes_BT)
            costs.append(nats_BT)
            for wav, codes_T in zip(wavs, codes_BT, strict=True):
                wav.write(quantise.decode(codes_T, corpus.codec, corpus.levels))
                wav.flush()
    except KeyboardInterrupt:
        if not parts:
            raise
    return np.concatenate(parts, 1), np.concatenate(costs, 1).mean(1)


def _check(asked: GenerationRequest, rate: int) -> None:
    """Raise PromptError with every sentence that says what cannot be."""
    found = asked.sampling.problems()
    seconds = {"seconds": asked.seconds, "silence": asked.silence}
    found += [
        f"{name} is {value}: write a sample (1/{rate} s) or more, as 5"
        for name, value in seconds.items()
        if value is not None and (not math.isfinite(value * rate) or round(value * rate) < 1)
    ]
    if not 0 <= asked.seed < MOST_SEEDS:
        found.append(f"seed is {asked.seed}: write 0 to {MOST_SEEDS - 1}")
    if asked.batch < 1:
        found.append(f"batch is {asked.batch}: write 1 or more")
    if found:
        raise PromptError("; ".join(found))


def _prompt_codes(run: TrainedModel, prompt: Path) -> np.ndarray:
    """The newest codes of the prompt, made as the corpus's own ([S]): those that the model
    sees, or those of the picture if they are more.
    """
    corpus, model = run.record.corpus, run.config.model
    settings = Settings(corpus.rate, corpus.codec, corpus.levels, corpus.scaling, corpus.chunk)
    try:
        codes_S = np.concatenate(list(encode_file(prompt, settings)))
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


def _silence(run: TrainedModel) -> np.ndarray:
    """The codes of silence ([S]): as many as :func:`_prompt_codes` gives at most."""
    corpus = run.record.corpus
    samples = max(run.config.model.context, _lead(corpus.rate))
    return quantise.encode(np.zeros(samples), corpus.codec, corpus.levels)


def generate_blocks(
    run: TrainedModel, codes_S: np.ndarray, asked: GenerationRequest, progress: Progress
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The codes of continuations of the codes [S], [batch, some], as they come, and their nats."""
    rate, levels = run.record.corpus.rate, run.record.corpus.levels
    steps = round(asked.seconds * rate)
    patience = None if asked.silence is None else round(asked.silence * rate)
    prompt_S = codes_tensor(codes_S[-run.config.model.context :]).long()
    device = next(run.network.parameters()).device
    # As in training: one step has too little work for more, and what is summed in other parts on
    # other machines would not be the same bytes.
    torch.set_num_threads(min(run.config.cluster.cpus_per_worker, os.cpu_count() or 1))
    compiled = (
        device.type == "cpu"
        and isinstance(run.config.model, Architecture)
        and run.config.model.attention == "causal"
        and steps >= COMPILED_STEPS
        and any(shutil.which(name) for name in ("c++", "g++"))
    )
    codes = generate(run.network, prompt_S, asked.sampling, asked.seed, asked.batch, compiled)
    fresh: list[tuple[torch.Tensor, torch.Tensor]] = []
    quiet_B = torch.zeros(asked.batch, dtype=torch.int64, device=device)
    progress(0, steps)
    told = time.monotonic()
    for step, (codes_B, nats_B) in zip(range(steps), codes, strict=False):
        fresh.append((codes_B, nats_B))
        over = step + 1 == steps
        if patience is not None:
            # Silence lies between the two middle codes.
            silent_B = (2 * codes_B + 1 - levels).abs() <= 1
            quiet_B = (quiet_B + 1) * silent_B
            over |= bool((quiet_B >= patience).all())
        if over or time.monotonic() - told >= PROGRESS_SECONDS:
            codes_BT, nats_BT = (torch.stack(one, 1).cpu() for one in zip(*fresh, strict=True))
            yield codes_BT.numpy().astype(quantise.code_dtype(levels)), nats_BT.double().numpy()
            progress(step + 1, steps)
            fresh, told = [], time.monotonic()
        if over:
            return


def generate_codes(
    run: TrainedModel, codes_S: np.ndarray, asked: GenerationRequest, progress: Progress
) -> np.ndarray:
    """The codes of continuations of the codes [S], [batch, steps]."""
    return np.concatenate([codes for codes, _ in generate_blocks(run, codes_S, asked, progress)], 1)


def _picture(
    run: TrainedModel,
    made: Continuation,
    codes_S: np.ndarray,
    codes_T: np.ndarray,
    sampling: Sampling,
) -> Figure:
    """The spectrogram of the prompt's end and of one continuation."""
    corpus = run.record.corpus
    before = codes_S[-_lead(corpus.rate) :]
    both = quantise.decode(np.concatenate([before, codes_T]), corpus.codec, corpus.levels)
    title = f"run {run.record.id}, seed {made.seed}, temperature {sampling.temperature:g}"
    return spectrogram(both, len(before), corpus.rate, f"{title}, number {made.number}")


def _lead(rate: int) -> int:
    """Samples of the prompt that the picture shows at most."""
    return round(LEAD_SECONDS * rate)
