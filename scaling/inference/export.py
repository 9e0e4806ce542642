"""Export of a finished run: weights, configuration, model card and torch program in a folder."""

import copy
import dataclasses
import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from datasets.files import replacing
from datasets.manifest import Corpus, ManifestError
from model.inference.exported import CONFIG_NAME, FORMAT, PROGRAM_NAME, WEIGHTS_NAME, NextCodeLogits
from model.network import LatentTransformer
from scaling.analysis.provenance import setup
from scaling.evaluation.scores import Loss
from scaling.reporting.page import render
from scaling.runs.record import bits
from scaling.runs.trained_model import TrainedModel, TrainedModelError

CARD_NAME = "README.md"


def export_run(run: TrainedModel, out: Path, *, program: bool = False) -> list[Path]:
    """Write the model of a run into the folder ``out``; return the files, the configuration last.

    With ``program``, also export one step by :func:`torch.export.export`: it maps codes (1, L) to
    the logits (1, Q) of the next code, and needs PyTorch alone.

    Raises:
        TrainedModelError: ``program`` is set for a baseline, which has no step of fixed length.
    """
    if program and not isinstance(run.network, LatentTransformer):
        raise TrainedModelError(
            f"{run.folder} is a {run.config.model.kind}, which reads no fixed number of codes in a "
            "step: export it without --program"
        )
    about, model = _describe(run), run.config.model
    # The copy leaves the run's own network on its device.
    network = copy.deepcopy(run.network).cpu()
    content = {
        "format": FORMAT,
        "longwave": run.record.code_version,
        "model": {"kind": model.kind, **dataclasses.asdict(model)},
        "about": about,
    }
    out.mkdir(parents=True, exist_ok=True)
    paths = [out / WEIGHTS_NAME, out / CARD_NAME, out / CONFIG_NAME]
    with replacing(paths[0]) as partial:
        weights = {name: value.contiguous() for name, value in network.state_dict().items()}
        save_file(weights, partial, metadata={"run": run.record.id})
    with replacing(paths[1]) as partial:
        partial.write_text(render("model_card.md.j2", {**about, "out": out, "program": program}))
    if isinstance(network, LatentTransformer) and program:
        paths.insert(2, out / PROGRAM_NAME)
        codes_BL = torch.zeros(1, run.config.model.context, dtype=torch.int64)
        exported = torch.export.export(NextCodeLogits(network), (codes_BL,))
        with replacing(paths[2]) as partial, partial.open("wb") as file:
            torch.export.save(exported, file)
    with replacing(paths[-1]) as partial:
        partial.write_text(json.dumps(content, indent=1) + "\n")
    return paths


def _describe(run: TrainedModel) -> dict[str, Any]:
    """Return the run's facts for the model card as JSON types, losses in nats and bits a sample."""
    record = run.record
    loss, references = record.validation, record.validation.references
    try:
        licence = Corpus.load(run.config.corpus).licence
    except ManifestError:
        licence = "not known: the corpus was not available when the model was exported"
    return {
        "run": record.id,
        "study": record.study,
        "licence": licence,
        "corpus": record.corpus.model_dump(mode="json"),
        "targets": record.targets.mode,
        "context": run.config.model.context,
        "parameters": record.total_parameters,
        "setup": setup([record], []),
        "loss": {
            "split": loss.split,
            "targets": loss.targets,
            "targets_hash": loss.targets_hash,
            **Loss.of(loss.nats, loss.standard_error).model_dump(),
            "linear_bits": bits(references.linear_on_targets),
        },
    }
