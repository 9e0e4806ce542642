"""A finished run as a model: its weights under its record's configuration."""

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
    """A folder that is not a finished run, or does not fit this version, with what to do."""


@dataclass(frozen=True)
class TrainedModel:
    """A finished run: where it lies, its record and configuration, and its network in eval mode."""

    folder: Path
    record: RunRecord
    config: RunConfig
    network: Model

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The run in ``folder``, on the GPU where there is one; TrainedError where it is none."""
        path = folder / record.FILE_NAME
        if not path.exists():
            raise TrainedModelError(
                f"{folder} holds no {record.FILE_NAME}, so it is not a finished run: name a run's "
                "folder, such as runs/demo/ID (`python -m scaling status runs/demo` lists them)"
            )
        found = RunRecord.read(path)
        try:
            config = RunConfig.model_validate(found.config)
        except ValidationError as error:
            raise TrainedModelError(
                f"{path} was written by version {found.code_version}, whose configuration this one "
                f"does not read: {error.errors()[0]['msg']}; train the run again"
            ) from error
        network = build(config.model)
        weights = folder / WEIGHTS_NAME
        try:
            network.load_state_dict(load_file(weights))
        except (OSError, SafetensorError, RuntimeError) as error:
            raise TrainedModelError(
                f"{weights} does not hold the weights of this run "
                f"({str(error).splitlines()[0]}): remove {folder} and train the run again"
            ) from error
        device = "cuda" if torch.cuda.is_available() else "cpu"
        return cls(folder, found, config, network.to(device).eval())

    def with_context(self, context: int) -> Self:
        """The same weights seeing ``context`` samples, a multiple of the chunk: a run of its own.

        Positions count back from the newest latent, so that it reads a shorter context as it reads
        the newest part of its own.
        TrainedError where the context cannot be, or the run is a baseline, whose ``context`` only
        says how much is read before a target.
        """
        shape = self.config.model
        if not isinstance(shape, Architecture):
            raise TrainedModelError(
                f"{self.folder} is a {shape.kind}, which reads sequences from silence: give "
                "--contexts for a latent Transformer"
            )
        shape = replace(shape, context=context)
        if problems := shape.problems():
            raise TrainedModelError(f"{self.folder} cannot see {context:,} samples: {problems[0]}")
        network = build(shape)
        network.load_state_dict(self.network.state_dict())
        device = next(self.network.parameters()).device
        config = self.config.model_copy(update={"model": shape})
        return replace(self, config=config, network=network.to(device).eval())
