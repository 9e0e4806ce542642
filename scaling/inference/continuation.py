"""Continuations of a prompt or of silence, each as a WAV file and its spectrogram."""

import math
import os
import shutil
import time
from collections.abc import Iterator, Sequence
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
from scaling.evaluation.evaluate import Progress
from scaling.inference.degeneration import degeneration_alarms, is_silent
from scaling.inference.spectrogram import spectrogram
from scaling.runs.record import bits
from scaling.runs.trained_model import TrainedModel

COMPILED_STEPS = 20_000
"""Fewest steps that repay compiling the step."""
PROGRESS_SECONDS = 0.1
MOST_SEEDS = 2**32
LEAD_SECONDS = 1.0
"""Longest part of the prompt that the spectrogram shows."""
UNPROMPTED = "unprompted"
"""Beginning of the file names if there is no prompt."""


class PromptError(ValueError):
    """A request for a continuation that cannot be met, with the remedy."""


@dataclass(frozen=True)
class Continuation:
    """Audio file and spectrogram of a continuation. ``number`` counts from 0.

    ``nats`` is the mean loss of its samples under the model's own distribution, whatever the
    sampling settings. ``alarms`` are the sentences of :func:`degeneration_alarms`.
    """

    wav: Path
    picture: Path
    seed: int
    number: int
    nats: float
    alarms: tuple[str, ...]


@dataclass(frozen=True)
class GenerationRequest:
    """Request for ``batch`` continuations of ``seconds`` each.

    With ``silence`` (seconds), generation ends when all of them have been silent for so long.
    """

    seconds: float
    sampling: Sampling
    seed: int = 0
    batch: int = 1
    silence: float | None = None


def continue_prompt(
    run: TrainedModel,
    prompt: Path | None,
    request: GenerationRequest,
    out: Path,
    progress: Progress,
) -> tuple[list[Continuation], float]:
    """Continue an audio file and write each continuation into the folder ``out``.

    ``PROMPT-seedSEED-NUMBER.wav`` is 16-bit PCM, mono, at the corpus rate; the ``.png`` beside it
    is the spectrogram of the prompt's last second and of the continuation. Without a prompt, a full
    context of silence is continued, and ``PROMPT`` is ``unprompted``. Existing files of these names
    are replaced; an error leaves them as they were. ``progress`` is called with (steps done, steps)
    about ten times a second. A KeyboardInterrupt ends the continuations early.

    The same call on the same machine writes the same bytes. A longer continuation begins alike,
    unless only it is long enough for a compiled step, which rounds differently.

    Returns: the continuations, and their length in seconds.

    Raises:
        PromptError: The prompt is unreadable or too short, or a setting is out of range.
    """
    rate = run.record.corpus.rate
    _check_request(request, rate)
    codes_S = _silence(run) if prompt is None else _read_prompt(run, prompt)
    out.mkdir(parents=True, exist_ok=True)
    begin = f"{UNPROMPTED if prompt is None else prompt.stem}-seed{request.seed}"
    names = [
        (out / f"{begin}-{number}.wav", out / f"{begin}-{number}.png")
        for number in range(request.batch)
    ]
    with ExitStack() as files:
        pictures = [files.enter_context(replacing(picture)) for _, picture in names]
        partials = [files.enter_context(replacing(wav)) for wav, _ in names]
        wavs = [
            files.enter_context(
                soundfile.SoundFile(os.fsencode(path), "w", rate, 1, "PCM_16", format="WAV")
            )
            for path in partials
        ]
        codes_BT, nats_B = _generate_into(wavs, run, codes_S, request, progress)
        continuations = []
        rows = zip(names, pictures, codes_BT, nats_B, strict=True)
        for number, (paths, picture, codes_T, nats) in enumerate(rows):
            alarms = tuple(degeneration_alarms(codes_T, codes_S, run.record.corpus))
            continuation = Continuation(*paths, request.seed, number, float(nats), alarms)
            continuations.append(continuation)
            figure = _draw(run, continuation, codes_S, codes_T, request.sampling)
            # The temporary file's name does not end with the format.
            figure.savefig(picture, format="png")
    return continuations, codes_BT.shape[1] / rate


def summary_lines(continuations: Sequence[Continuation]) -> list[str]:
    """Return a line for each continuation, the likeliest first, followed by its alarms."""
    lines = []
    for each in sorted(continuations, key=lambda each: each.nats):
        lines.append(
            f"{each.wav} {each.picture} {bits(each.nats):.3f} bits ({each.nats:.3f} nats) a sample"
        )
        lines += [f"warning: {each.wav.name} {alarm}" for alarm in each.alarms]
    return lines


def _generate_into(
    wavs: Sequence[soundfile.SoundFile],
    run: TrainedModel,
    codes_S: np.ndarray,
    request: GenerationRequest,
    progress: Progress,
) -> tuple[np.ndarray, np.ndarray]:
    """Append all continuations to the WAV files; return their codes (B, T) and mean nats (B,)."""
    corpus, parts, costs = run.record.corpus, [], []
    try:
        for codes_BT, nats_BT in generate_blocks(run, codes_S, request, progress):
            parts.append(codes_BT)
            costs.append(nats_BT)
            for wav, codes_T in zip(wavs, codes_BT, strict=True):
                wav.write(quantise.decode(codes_T, corpus.codec, corpus.levels))
                wav.flush()
    except KeyboardInterrupt:
        if not parts:
            raise
    return np.concatenate(parts, 1), np.concatenate(costs, 1).mean(1)


def _check_request(request: GenerationRequest, rate: int) -> None:
    """Raise PromptError with all settings that are out of range."""
    problems = request.sampling.problems()
    seconds = {"seconds": request.seconds, "silence": request.silence}
    problems += [
        f"{name} is {value}: write one sample (1/{rate} s) or more, such as 5"
        for name, value in seconds.items()
        if value is not None and (not math.isfinite(value * rate) or round(value * rate) < 1)
    ]
    if not 0 <= request.seed < MOST_SEEDS:
        problems.append(f"seed is {request.seed}: write 0 to {MOST_SEEDS - 1}")
    if request.batch < 1:
        problems.append(f"batch is {request.batch}: write 1 or more")
    if problems:
        raise PromptError("; ".join(problems))


def _read_prompt(run: TrainedModel, prompt: Path) -> np.ndarray:
    """Return the newest codes [S] of the prompt, as many as the model or the spectrogram needs."""
    corpus, model = run.record.corpus, run.config.model
    settings = Settings(corpus.rate, corpus.codec, corpus.levels, corpus.scaling, corpus.chunk)
    try:
        codes_S = np.concatenate(list(encode_file(prompt, settings)))
    except AudioError as error:
        raise PromptError(f"the prompt {prompt} cannot be used: {error}") from error
    shortest = max(model.chunk, model.recent)
    if len(codes_S) < shortest:
        raise PromptError(
            f"the prompt {prompt} has {len(codes_S) / corpus.rate:.4g} s "
            f"({len(codes_S)} samples at {corpus.rate} Hz): run {run.record.id} needs "
            f"{shortest / corpus.rate:.4g} s ({shortest} samples) or more"
        )
    return codes_S[-max(model.context, _lead(corpus.rate)) :]


def _silence(run: TrainedModel) -> np.ndarray:
    """Return codes [S] of silence, as many as :func:`_read_prompt` returns at most."""
    corpus = run.record.corpus
    samples = max(run.config.model.context, _lead(corpus.rate))
    return quantise.encode(np.zeros(samples), corpus.codec, corpus.levels)


def generate_blocks(
    run: TrainedModel, codes_S: np.ndarray, request: GenerationRequest, progress: Progress
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Continue the codes [S]; yield blocks of new codes (B, n) and their nats (B, n)."""
    rate, levels = run.record.corpus.rate, run.record.corpus.levels
    steps = round(request.seconds * rate)
    patience = None if request.silence is None else round(request.silence * rate)
    prompt_S = codes_tensor(codes_S[-run.config.model.context :]).long()
    device = next(run.network.parameters()).device
    # As in training: a step has too little work for more threads, and another number of them adds
    # in another order, which changes the bytes.
    torch.set_num_threads(min(run.config.cluster.cpus_per_worker, os.cpu_count() or 1))
    compiled = (
        device.type == "cpu"
        and isinstance(run.config.model, Architecture)
        and run.config.model.attention == "causal"
        and steps >= COMPILED_STEPS
        and any(shutil.which(name) for name in ("c++", "g++"))
    )
    codes = generate(run.network, prompt_S, request.sampling, request.seed, request.batch, compiled)
    block: list[tuple[torch.Tensor, torch.Tensor]] = []
    quiet_B = torch.zeros(request.batch, dtype=torch.int64, device=device)
    progress(0, steps)
    reported = time.monotonic()
    for step, (codes_B, nats_B) in zip(range(steps), codes, strict=False):
        block.append((codes_B, nats_B))
        is_last = step + 1 == steps
        if patience is not None:
            quiet_B = (quiet_B + 1) * is_silent(codes_B, levels)
            is_last |= bool((quiet_B >= patience).all())
        if is_last or time.monotonic() - reported >= PROGRESS_SECONDS:
            codes_BT, nats_BT = (torch.stack(rows, 1).cpu() for rows in zip(*block, strict=True))
            yield codes_BT.numpy().astype(quantise.code_dtype(levels)), nats_BT.double().numpy()
            progress(step + 1, steps)
            block, reported = [], time.monotonic()
        if is_last:
            return


def _draw(
    run: TrainedModel,
    continuation: Continuation,
    codes_S: np.ndarray,
    codes_T: np.ndarray,
    sampling: Sampling,
) -> Figure:
    """Draw the spectrogram of the prompt's end and of one continuation."""
    corpus = run.record.corpus
    before = codes_S[-_lead(corpus.rate) :]
    both = quantise.decode(np.concatenate([before, codes_T]), corpus.codec, corpus.levels)
    title = (
        f"run {run.record.id}, seed {continuation.seed}, temperature {sampling.temperature:g}, "
        f"number {continuation.number}"
    )
    return spectrogram(both, len(before), corpus.rate, title)


def _lead(rate: int) -> int:
    """Return the most samples of the prompt that the spectrogram shows."""
    return round(LEAD_SECONDS * rate)
