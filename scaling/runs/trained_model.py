"""Finished run as a model: its weights under the configuration of its record."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file

from model.architecture import Architecture
from model.build import Model, build
from scaling.config.run_config import RunConfig
from scaling.runs import record
from scaling.runs.record import RunRecord

WEIGHTS_NAME = "weights.safetensors"


class TrainedModelError(ValueError):
    """A folder that is not a finished run, or not one that this version reads."""


@dataclass(frozen=True)
class TrainedModel:
    """A finished run, with its network in eval mode."""

    folder: Path
    record: RunRecord
    config: RunConfig
    network: Model

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Load a run, on the GPU if there is one; TrainedModelError if there is none."""
        path = folder / record.FILE_NAME
        if not path.exists():
            raise TrainedModelError(
                f"{folder} has no {record.FILE_NAME}, so it is not a finished run: name a run's "
                "folder, such as runs/demo/ID (`python -m scaling status runs/demo` lists them)"
            )
        found = RunRecord.read(path)
        try:
            config = RunConfig.model_validate(found.config)
        except ValidationError as error:
            raise TrainedModelError(
                f"{path} was written by version {found.code_version}, whose configuration this one "
                f"does not read ({error.errors()[0]['msg']}): train the run again"
            ) from error
        network = build(config.model)
        weights = folder / WEIGHTS_NAME
        try:
            network.load_state_dict(load_file(weights))
        except (OSError, SafetensorError, RuntimeError) as error:
            raise TrainedModelError(
                f"{weights} does not have the weights of this run "
                f"({str(error).splitlines()[0]}): remove {folder} and train the run again"
            ) from error
        device = "cuda" if torch.cuda.is_available() else "cpu"
        return cls(folder, found, config, network.to(device).eval())

    def with_context(self, context: int) -> Self:
        """Return the same weights with a context of ``context`` samples, a multiple of the chunk.

        Positions count back from the newest latent, so the model reads a shorter context as the
        newest part of its own. TrainedModelError if the context is impossible, or for a baseline.
        """
        shape = self.config.model
        if not isinstance(shape, Architecture):
            raise TrainedModelError(
                f"{self.folder} is a {shape.kind}, which reads sequences from silence: use "
                "--contexts with a latent Transformer"
            )
        shape = replace(shape, context=context)
        if problems := shape.problems():
            raise TrainedModelError(
                f"{self.folder} cannot have a context of {context:,} samples: {problems[0]}"
            )
        network = build(shape)
        network.load_state_dict(self.network.state_dict())
        device = next(self.network.parameters()).device
        config = self.config.model_copy(update={"model": shape})
        return replace(self, config=config, network=network.to(device).eval())
