"""Audio clips of runs that continue held-out prompts, each from the same random numbers."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch

from datasets import quantise, shards
from datasets.files import replacing
from datasets.manifest import Corpus, Recording
from model.codes import codes_tensor
from model.inference.dense import dense_nats
from model.sampling import Sampling
from scaling.analysis.records import load_records
from scaling.analysis.series import CONTEXT, PANEL, setting, setting_name, setting_text
from scaling.evaluation.evaluate import Progress
from scaling.inference.continuation import GenerationRequest, PromptError, generate_blocks
from scaling.inference.spectrogram import thumbnail
from scaling.reporting.clips import FOLDER, INDEX
from scaling.runs.record import FILE_NAME, RunRecord, bits
from scaling.runs.trained_model import TrainedModel, TrainedModelError

SPLIT = "test"
PROMPT_SECONDS = 2.0
"""Longest part of the prompt in its clip."""


@dataclass(frozen=True)
class ListeningRequest:
    """Request for ``prompts`` places of the test split, continued for ``seconds``.

    Each run continues each prompt at every temperature, from the same ``seed``. A study
    contributes its ``most`` best runs of different depths and contexts.
    """

    seconds: float = 1.0
    temperatures: tuple[float, ...] = (1.0,)
    seed: int = 0
    prompts: int = 1
    most: int = 4

    @property
    def samplings(self) -> list[Sampling]:
        """The sampling settings of each temperature."""
        return [Sampling(temperature=temperature) for temperature in self.temperatures]


@dataclass
class _TotalProgress:
    """Progress of all continuations together, called with that of each one."""

    progress: Progress
    continuations: int
    finished: int = 0

    def __call__(self, done: int, steps: int) -> None:
        self.progress(self.finished * steps + done, self.continuations * steps)
        self.finished += done == steps


@dataclass(frozen=True)
class _Prompt:
    """Codes [T] of a recording; the true continuation is those from ``start`` on."""

    number: int
    recording: Recording
    codes: np.ndarray
    start: int


def listen(
    folders: Sequence[Path], request: ListeningRequest, progress: Progress
) -> tuple[Path, list[str]]:
    """Write ``listen/clips.json``, its FLAC files and pictures into the first folder's study.

    ``folders`` are runs or studies. The last prompt ends ``seconds`` before the end of the test
    split; the others precede it at equal distances. Each run's loss on the true continuation is
    stored second by second. ``progress`` is called with the samples drawn and to draw.

    Returns: the index, and a sentence for each run that was left out.

    Raises:
        PromptError, TrainedModelError: No run can continue a prompt.
    """
    if problems := [each for sampling in request.samplings for each in sampling.problems()]:
        raise PromptError("; ".join(problems))
    runs, skipped = _select_runs(folders, request.most)
    if not runs:
        raise PromptError("; ".join([f"{folders[0]} has no finished run", *skipped]))
    _, first = runs[0]
    corpus = Corpus.load(first.config["corpus"])
    if any(record.corpus.fingerprint != corpus.fingerprint for _, record in runs):
        raise PromptError(
            f"{first.config['corpus']} is not the corpus that all of these runs were trained on: "
            "their fingerprints differ. Prepare that corpus again, or name runs of one corpus"
        )
    context = max(record.config["model"]["context"] for _, record in runs)
    prompts = _choose_prompts(corpus, request, context)
    total = _TotalProgress(progress, len(prompts) * len(runs) * len(request.temperatures))
    clips, continued = [], 0
    for prompt in prompts:
        clips += _original_clips(prompt, corpus)
        for folder, _ in runs:
            try:
                clips += _continue(folder, prompt, request, total)
                continued += 1
            except (TrainedModelError, PromptError) as error:
                skipped.append(str(error))
    if not continued:
        raise PromptError("no run can continue the prompt: " + "; ".join(skipped))
    is_run = (folders[0] / FILE_NAME).exists()
    study = folders[0].resolve().parent if is_run else folders[0]
    return _write_clips(study / FOLDER, clips, corpus), list(dict.fromkeys(skipped))


def _select_runs(
    folders: Sequence[Path], most: int
) -> tuple[list[tuple[Path, RunRecord]], list[str]]:
    """Return the runs' folders and records, and a sentence for each unreadable record."""
    runs, skipped = [], []
    for folder in folders:
        if (folder / FILE_NAME).exists():
            runs.append((folder, RunRecord.read(folder / FILE_NAME)))
            continue
        records, sentences = load_records(folder)
        runs += [(folder / record.id, record) for record in _best(records, most)]
        skipped += sentences
    return runs, skipped


def _best(records: Sequence[RunRecord], most: int) -> list[RunRecord]:
    """Return the best run of each depth and context, sorted by loss."""
    best: dict[tuple[Any, Any], RunRecord] = {}
    for run in sorted(records, key=lambda run: run.validation.nats):
        best.setdefault((run.config["model"].get("layers"), setting(run, CONTEXT)), run)
    return list(best.values())[:most]


def _choose_prompts(corpus: Corpus, request: ListeningRequest, context: int) -> list[_Prompt]:
    """Choose prompts with ``context`` samples before each, in the order of their places."""
    recording = corpus.longest_recording(SPLIT)
    begin, end = recording.ranges[SPLIT]
    steps = round(request.seconds * corpus.rate)
    if not 1 <= steps < end:
        raise PromptError(
            f"seconds is {request.seconds}: write 1/{corpus.rate} to {end / corpus.rate:g}"
        )
    first = min(max(begin, context) + steps, end)
    ends = np.linspace(first, end, request.prompts).astype(int) if request.prompts > 1 else [end]
    return [
        _Prompt(
            number,
            recording,
            shards.read(corpus.folder, recording.location, 0, int(last)).copy(),
            int(last) - steps,
        )
        for number, last in enumerate(ends)
    ]


def _original_clips(prompt: _Prompt, corpus: Corpus) -> list[dict[str, Any]]:
    """Return the clips of the prompt and of its true continuation."""
    begin = max(0, prompt.start - round(PROMPT_SECONDS * corpus.rate))
    place = (
        f"{prompt.recording.name}, {(prompt.start - begin) / corpus.rate:.3g} s before "
        f"{prompt.start / corpus.rate:.4g} s"
    )
    return [
        _clip(
            *("prompt", prompt, "Prompt", f"Every run continues this prompt: {place}."),
            prompt.codes[begin : prompt.start],
        ),
        _clip(
            *("anchor", prompt, "True continuation"),
            "The recording, encoded and decoded.",
            prompt.codes[prompt.start :],
        ),
    ]


def _clip(
    kind: str, prompt: _Prompt, name: str, caption: str, codes: np.ndarray, **details: Any
) -> dict[str, Any]:
    """Return a clip as an entry of the index, with its codes; ``details`` fill the run's fields."""
    clip = {"kind": kind, "prompt": prompt.number, "name": name, "caption": caption, "codes": codes}
    return clip | dict.fromkeys(("run", "temperature", "seed", "nats", "nats_by_second")) | details


def _continue(
    folder: Path, prompt: _Prompt, request: ListeningRequest, progress: Progress
) -> list[dict[str, Any]]:
    """Return the clips of a run's continuations, with its loss on the true continuation."""
    run = TrainedModel.load(folder)
    context, rate = run.config.model.context, run.record.corpus.rate
    codes, start = prompt.codes, prompt.start
    if start < context:
        raise PromptError(
            f"run {run.record.id} needs {context:,} samples of context, but the prompt has "
            f"{start:,}: leave this run out"
        )
    device = next(run.network.parameters()).device
    true_codes = codes_tensor(codes[start - context :]).to(device)
    nats_T = torch.cat(list(dense_nats(run.network, [true_codes]))).double().cpu().numpy()
    nats = float(nats_T.mean())
    by_second = [float(nats_T[at : at + rate].mean()) for at in range(0, len(nats_T), rate)]
    bits_by_second = ", ".join(f"{bits(second):.2f}" for second in by_second)
    keys = [key for key in (PANEL, CONTEXT) if key.partition(".")[2] in run.record.config["model"]]
    shape = ", ".join(
        f"{setting_name(key)} {setting_text(setting(run.record, key))}" for key in keys
    )
    clips = []
    for sampling in request.samplings:
        generation = GenerationRequest(len(nats_T) / rate, sampling, request.seed)
        blocks = generate_blocks(run, codes[:start], generation, progress)
        caption = (
            f"Run {run.record.id}, seed {request.seed}, temperature {sampling.temperature:g}. Its "
            f"loss on the true continuation: {bits(nats):.3f} bits ({nats:.3f} nats) a sample; "
            f"second by second {bits_by_second} bits."
        )
        clips.append(
            _clip(
                "continuation",
                prompt,
                f"Continued with {shape}",
                caption,
                np.concatenate([codes_BT[0] for codes_BT, _ in blocks]),
                run=run.record.id,
                temperature=sampling.temperature,
                seed=request.seed,
                nats=nats,
                nats_by_second=by_second,
            )
        )
    return clips


def _write_clips(folder: Path, clips: list[dict[str, Any]], corpus: Corpus) -> Path:
    """Write the clips as FLAC files with their pictures, and then their index."""
    folder.mkdir(exist_ok=True)
    entries = []
    for clip in clips:
        sound = quantise.decode(clip.pop("codes"), corpus.codec, corpus.levels)
        stem = f"{clip['prompt']}-{clip['run'] or clip['kind']}"
        if clip["temperature"] is not None:
            stem += f"-{clip['temperature']:g}"
        with replacing(folder / f"{stem}.flac") as partial:
            soundfile.write(partial, sound, corpus.rate, "PCM_16", format="FLAC")
        with replacing(folder / f"{stem}.png") as partial:
            partial.write_bytes(thumbnail(sound, corpus.rate))
        entries.append(clip | {"file": f"{stem}.flac", "picture": f"{stem}.png"})
    index = folder / INDEX
    with replacing(index) as partial:
        partial.write_text(json.dumps(entries, indent=1) + "\n")
    return index
