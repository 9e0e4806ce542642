"""Runs to listen to: they continue held-out prompts from the same random numbers."""

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
from scaling.inference.continuation import GenerationRequest, Progress, PromptError, generate_codes
from scaling.inference.spectrogram import thumbnail
from scaling.reporting.clips import FOLDER, INDEX
from scaling.runs.record import FILE_NAME, RunRecord, bits
from scaling.runs.trained_model import TrainedModel, TrainedModelError

SPLIT = "test"
HEARD_SECONDS = 2.0  # of the prompt


@dataclass(frozen=True)
class ListeningRequest:
    """What is to be heard: ``prompts`` places of the test split, continued for ``seconds``.

    Each run continues each prompt at every temperature, from the same ``seed``. Of a study the
    ``most`` best runs of different depths and contexts are taken.
    """

    seconds: float = 1.0
    temperatures: tuple[float, ...] = (1.0,)
    seed: int = 0
    prompts: int = 1
    most: int = 4

    @property
    def drawn(self) -> list[Sampling]:
        """How codes are drawn at each temperature."""
        return [Sampling(temperature=temperature) for temperature in self.temperatures]


@dataclass
class _Together:
    """Tells how far all continuations are together, of which each tells how far it is itself."""

    progress: Progress
    continuations: int
    over: int = 0

    def __call__(self, done: int, steps: int) -> None:
        self.progress(self.over * steps + done, self.continuations * steps)
        self.over += done == steps


@dataclass(frozen=True)
class _Prompt:
    """A place of a recording: ``codes`` [T] up to the end of what truly follows from ``start``."""

    number: int
    recording: Recording
    codes: np.ndarray
    start: int


def listen(
    folders: Sequence[Path], asked: ListeningRequest, progress: Progress
) -> tuple[Path, list[str]]:
    """Write ``listen/clips.json``, its FLAC files and pictures into the first one's study.

    ``folders`` are runs, or studies. The last prompt ends ``seconds`` before the end of the test
    split, the others lie before it at equal distances. Beside the continuations stand each prompt
    and what truly follows it, both through the codes and back, and the loss of every run on that,
    second by second. ``progress`` gets (samples drawn, samples to draw) of all continuations
    together. The index is returned with a sentence for each run left out. PromptError or
    TrainedError where no run can continue a prompt.
    """
    if problems := [one for drawn in asked.drawn for one in drawn.problems()]:
        raise PromptError("; ".join(problems))
    chosen, skipped = _runs(folders, asked.most)
    if not chosen:
        raise PromptError("; ".join([f"{folders[0]} has no finished run", *skipped]))
    _, record = chosen[0]
    corpus = Corpus.load(record.config["corpus"])
    if len({corpus.fingerprint, *(run.corpus.fingerprint for _, run in chosen)}) > 1:
        raise PromptError(
            f"{record.config['corpus']} is not the corpus that all of these runs were trained on: "
            "their fingerprints differ. Put that one back, or name runs of one corpus"
        )
    prompts = _prompts(corpus, asked, max(run.config["model"]["context"] for _, run in chosen))
    told = _Together(progress, len(prompts) * len(chosen) * len(asked.temperatures))
    clips, continued = [], 0
    for prompt in prompts:
        clips += _given(prompt, corpus)
        for folder, _ in chosen:
            try:
                clips += _continued(folder, prompt, asked, told)
                continued += 1
            except (TrainedModelError, PromptError) as error:
                skipped.append(str(error))
    if not continued:
        raise PromptError("no run can continue the prompt: " + "; ".join(skipped))
    single = (folders[0] / FILE_NAME).exists()
    study = folders[0].resolve().parent if single else folders[0]
    return _written(study / FOLDER, clips, corpus), list(dict.fromkeys(skipped))


def _runs(folders: Sequence[Path], most: int) -> tuple[list[tuple[Path, RunRecord]], list[str]]:
    """The runs' folders and records, and sentences on records that cannot be read."""
    found, skipped = [], []
    for folder in folders:
        if (folder / FILE_NAME).exists():
            found.append((folder, RunRecord.read(folder / FILE_NAME)))
            continue
        records, sentences = load_records(folder)
        found += [(folder / run.id, run) for run in _best(records, most)]
        skipped += sentences
    return found, skipped


def _best(records: Sequence[RunRecord], most: int) -> list[RunRecord]:
    """The best run of each depth and context, the best of them first."""
    found: dict[tuple[Any, Any], RunRecord] = {}
    for run in sorted(records, key=lambda run: run.validation.nats):
        found.setdefault((run.config["model"].get("layers"), setting(run, CONTEXT)), run)
    return list(found.values())[:most]


def _prompts(corpus: Corpus, asked: ListeningRequest, context: int) -> list[_Prompt]:
    """The prompts in the order of their places; ``context`` samples lie before each."""
    recording = corpus.longest_recording(SPLIT)
    begin, end = recording.ranges[SPLIT]
    steps = round(asked.seconds * corpus.rate)
    if not 1 <= steps < end:
        raise PromptError(
            f"seconds is {asked.seconds}: write 1/{corpus.rate} to {end / corpus.rate:g}"
        )
    first = min(max(begin, context) + steps, end)
    ends = np.linspace(first, end, asked.prompts).astype(int) if asked.prompts > 1 else [end]
    return [
        _Prompt(
            number,
            recording,
            shards.read(corpus.folder, recording.location, 0, int(last)).copy(),
            int(last) - steps,
        )
        for number, last in enumerate(ends)
    ]


def _given(prompt: _Prompt, corpus: Corpus) -> list[dict[str, Any]]:
    """What is there before any run: the prompt, and what truly follows it."""
    heard = prompt.codes[max(0, prompt.start - round(HEARD_SECONDS * corpus.rate)) : prompt.start]
    place = (
        f"{prompt.recording.name}, {len(heard) / corpus.rate:.3g} s before "
        f"{prompt.start / corpus.rate:.4g} s"
    )
    truth = prompt.codes[prompt.start :]
    return [
        _clip("prompt", prompt, "Prompt", f"What every run continues: {place}.", heard),
        _clip(
            "anchor",
            prompt,
            "What truly follows",
            "The recording through the codes and back.",
            truth,
        ),
    ]


def _clip(
    kind: str, prompt: _Prompt, name: str, caption: str, codes: np.ndarray, **more: Any
) -> dict[str, Any]:
    blank = dict.fromkeys(("run", "temperature", "seed", "nats", "nats_by_second"))
    return {
        "kind": kind,
        "prompt": prompt.number,
        "name": name,
        "caption": caption,
        "codes": codes,
        **blank,
        **more,
    }


def _continued(
    folder: Path, prompt: _Prompt, asked: ListeningRequest, progress: Progress
) -> list[dict[str, Any]]:
    """One run's continuations of a prompt, and its loss on what truly follows."""
    run = TrainedModel.load(folder)
    context, rate = run.config.model.context, run.record.corpus.rate
    codes, start = prompt.codes, prompt.start
    if start < context:
        raise PromptError(
            f"run {run.record.id} reads {context:,} samples, of which {start:,} are there"
        )
    device = next(run.network.parameters()).device
    known = codes_tensor(codes[start - context :]).to(device)
    nats_T = torch.cat(list(dense_nats(run.network, [known]))).double().cpu().numpy()
    by_second = [float(nats_T[at : at + rate].mean()) for at in range(0, len(nats_T), rate)]
    named = [key for key in (PANEL, CONTEXT) if key.partition(".")[2] in run.record.config["model"]]
    shape = ", ".join(
        f"{setting_name(key)} {setting_text(setting(run.record, key))}" for key in named
    )
    nats, each = float(nats_T.mean()), ", ".join(f"{bits(one):.2f}" for one in by_second)
    clips = []
    for sampling in asked.drawn:
        how = GenerationRequest(len(nats_T) / rate, sampling, asked.seed)
        new = generate_codes(run, codes[:start], how, progress)[0]
        caption = (
            f"Run {run.record.id}, seed {asked.seed}, temperature {sampling.temperature:g}. Its "
            f"loss on what truly follows: {bits(nats):.3f} bits ({nats:.3f} nats) a sample; second "
            f"by second {each} bits."
        )
        clips.append(
            _clip(
                "continuation",
                prompt,
                f"Continued with {shape}",
                caption,
                new,
                run=run.record.id,
                temperature=sampling.temperature,
                seed=asked.seed,
                nats=nats,
                nats_by_second=by_second,
            )
        )
    return clips


def _written(folder: Path, clips: list[dict[str, Any]], corpus: Corpus) -> Path:
    """The clips as FLAC files with their pictures, and then their index."""
    folder.mkdir(exist_ok=True)
    told = []
    for clip in clips:
        sound = quantise.decode(clip.pop("codes"), corpus.codec, corpus.levels)
        stem = f"{clip['prompt']}-{clip['run'] or clip['kind']}"
        if clip["temperature"] is not None:
            stem += f"-{clip['temperature']:g}"
        with replacing(folder / f"{stem}.flac") as partial:
            soundfile.write(partial, sound, corpus.rate, "PCM_16", format="FLAC")
        with replacing(folder / f"{stem}.png") as partial:
            partial.write_bytes(thumbnail(sound, corpus.rate))
        told.append(clip | {"file": f"{stem}.flac", "picture": f"{stem}.png"})
    index = folder / INDEX
    with replacing(index) as partial:
        partial.write_text(json.dumps(told, indent=1) + "\n")
    return index
