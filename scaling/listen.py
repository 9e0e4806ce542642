"""A study to listen to: its best runs continue one held-out prompt from the same random numbers."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch

from datasets import quantise, shards
from datasets.files import replacing
from datasets.manifest import Corpus
from model.dense import dense_nats
from model.sampling import Sampling
from scaling.clips import FOLDER, INDEX
from scaling.continuation import Asked, Progress, PromptError, generated
from scaling.record import RunRecord, bits
from scaling.records import load_records
from scaling.series import CONTEXT, PANEL, name_of, setting, written
from scaling.trained import Trained, TrainedError

SPLIT = "test"
HEARD_SECONDS = 2.0  # of the prompt


def listen(
    folder: Path, seconds: float, sampling: Sampling, seed: int, most: int, progress: Progress
) -> tuple[Path, list[str]]:
    """Write ``listen/clips.json`` and its FLAC files; the index, and a sentence for each run left.

    The prompt ends ``seconds`` before the end of the test split. Beside the continuations stand
    the prompt and what truly follows it, both through the codes and back, and the loss of each run
    on that. PromptError or TrainedError where no run can continue it.
    """
    records, skipped = load_records(folder)
    chosen = _chosen(records, most)
    corpus = Corpus.load(chosen[0].config["corpus"])
    if corpus.fingerprint != chosen[0].corpus.fingerprint:
        raise PromptError(
            f"{chosen[0].config['corpus']} is not the corpus that {folder} was trained on: its "
            "fingerprint differs. Put that one back"
        )
    recording = corpus.longest(SPLIT)
    end, steps = recording.ranges[SPLIT][1], round(seconds * corpus.rate)
    start = end - steps
    if not 1 <= steps < end:
        raise PromptError(f"seconds is {seconds}: write 1/{corpus.rate} to {end / corpus.rate:g}")
    codes = shards.read(corpus.folder, recording.place, 0, end).copy()
    heard = codes[max(0, start - round(HEARD_SECONDS * corpus.rate)) : start]
    place = f"{recording.name}, {len(heard) / corpus.rate:.3g} s before {start / corpus.rate:.4g} s"
    clips = [
        _clip("prompt", "Prompt", f"What every run continues: {place}.", heard),
        _clip(
            "anchor",
            "What truly follows",
            "The recording through the codes and back.",
            codes[start:],
        ),
    ]
    for record in chosen:
        try:
            clips.append(_continued(folder / record.id, codes, start, sampling, seed, progress))
        except (TrainedError, PromptError) as error:
            skipped.append(str(error))
    if len(clips) == 2:
        raise PromptError("no run can continue the prompt: " + "; ".join(skipped))
    return _written(folder / FOLDER, clips, corpus), skipped


def _chosen(records: Sequence[RunRecord], most: int) -> list[RunRecord]:
    """The best run of each depth and context, the best of them first."""
    found: dict[tuple[Any, Any], RunRecord] = {}
    for run in sorted(records, key=lambda run: run.validation.nats):
        found.setdefault((run.config["model"].get("layers"), setting(run, CONTEXT)), run)
    return list(found.values())[:most]


def _clip(kind: str, name: str, caption: str, codes: np.ndarray) -> dict[str, Any]:
    return {
        "kind": kind,
        "name": name,
        "caption": caption,
        "codes": codes,
        "run": None,
        "nats": None,
    }


def _continued(
    run_folder: Path,
    codes: np.ndarray,
    start: int,
    sampling: Sampling,
    seed: int,
    progress: Progress,
) -> dict[str, Any]:
    """One run's continuation of the codes before ``start``, and its loss on those after it."""
    run = Trained.load(run_folder)
    context = run.config.model.context
    if start < context:
        raise PromptError(
            f"run {run.record.id} reads {context:,} samples, of which {start:,} are there"
        )
    seconds = (len(codes) - start) / run.record.corpus.rate
    new = generated(run, codes[:start], Asked(seconds, sampling, seed), progress)[0]
    device = next(run.network.parameters()).device
    known = torch.from_numpy(codes[start - context :].copy()).to(device)
    nats = float(torch.cat(list(dense_nats(run.network, [known]))).double().mean())
    named = [key for key in (PANEL, CONTEXT) if key.partition(".")[2] in run.record.config["model"]]
    shape = ", ".join(f"{name_of(key)} {written(setting(run.record, key))}" for key in named)
    caption = (
        f"Run {run.record.id}, seed {seed}, temperature {sampling.temperature:g}. Its loss on what "
        f"truly follows: {bits(nats):.3f} bits ({nats:.3f} nats) a sample."
    )
    clip = _clip("continuation", f"Continued with {shape}", caption, new)
    return clip | {"run": run.record.id, "nats": nats}


def _written(folder: Path, clips: list[dict[str, Any]], corpus: Corpus) -> Path:
    """The clips as FLAC files, and then their index."""
    folder.mkdir(exist_ok=True)
    told = []
    for clip in clips:
        sound = quantise.decode(clip.pop("codes"), corpus.codec, corpus.levels)
        name = f"{clip['run'] or clip['kind']}.flac"
        with replacing(folder / name) as partial:
            soundfile.write(partial, sound, corpus.rate, "PCM_16", format="FLAC")
        told.append(clip | {"file": name})
    index = folder / INDEX
    with replacing(index) as partial:
        partial.write_text(json.dumps(told, indent=1) + "\n")
    return index
