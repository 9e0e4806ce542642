"""Load a trained model from its exported folder, without the study that it came from.

    import model
    trained = model.load("runs/demo/ID/export")
    nats_n = trained.nats(codes_T)

Loading needs torch, numpy and safetensors, and unpickles nothing.
"""

import json
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from model.architecture import KINDS, Shape
from model.build import Model, build
from model.inference.dense import dense_nats
from model.inference.generation import generate
from model.network import LatentTransformer
from model.sampling import Sampling
from model.targets import Targets

FORMAT = 1
CONFIG_NAME, WEIGHTS_NAME, PROGRAM_NAME = "config.json", "weights.safetensors", "program.pt2"


class ExportError(ValueError):
    """A folder without a model that this version can load; the message includes the remedy."""


@dataclass(frozen=True)
class ExportedModel:
    """A trained network in eval mode; ``about`` has its corpus, codes, targets and loss."""

    network: Model
    about: dict[str, Any]

    def nats(self, codes_T: Tensor) -> Tensor:
        """Return the nats (T - L,) of every code of a signal (T,) after its first L codes."""
        parts = list(dense_nats(self.network, [codes_T]))
        return torch.cat(parts) if parts else torch.empty(0)

    def continued(
        self,
        codes_S: Tensor,
        steps: int,
        sampling: Sampling | None = None,
        seed: int = 0,
        batch: int = 1,
    ) -> Tensor:
        """Return the codes (B, steps) of ``batch`` continuations of a prompt (S,).

        The model reads the newest L codes. ValueError if the prompt is shorter than a chunk, or a
        sampling setting is out of range.
        """
        sampling = sampling or Sampling()
        if problems := sampling.problems():
            raise ValueError("; ".join(problems))
        prompt_S = codes_S[-self.network.architecture.context :].long()
        made = islice(generate(self.network, prompt_S, sampling, seed, batch), steps)
        return torch.stack([codes_B for codes_B, _ in made], 1)


def load(folder: str | Path) -> ExportedModel:
    """Load a model that ``python -m scaling export`` wrote, on the CPU, or raise ExportError."""
    folder = Path(folder)
    try:
        content = json.loads((folder / CONFIG_NAME).read_text())
        written, shape, about = content["format"], content["model"], content["about"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ExportError(
            f"{folder} has no exported model ({error!r}): run `python -m scaling export RUN`, "
            "and name the folder that it prints"
        ) from error
    if written != FORMAT:
        raise ExportError(
            f"{folder} was written by Longwave {content.get('longwave')} in format {written!r}; "
            f"this version reads format {FORMAT}: use the version that wrote it, or export again"
        )
    try:
        network = build(_shape(shape))
        network.load_state_dict(load_file(folder / WEIGHTS_NAME))
    except (KeyError, TypeError, ValueError, OSError, SafetensorError, RuntimeError) as error:
        first = (str(error) or repr(error)).splitlines()[0]
        raise ExportError(
            f"{folder} has a model that cannot be built ({first}): export it again"
        ) from error
    return ExportedModel(network.eval(), about)


def _shape(content: dict[str, Any]) -> Shape:
    """Return the architecture from its JSON, which has lists for tuples."""
    plain = {
        name: tuple(value) if isinstance(value, list) else value for name, value in content.items()
    }
    kind: Any = KINDS[str(plain["kind"])]
    shape: Shape = kind(**plain)
    if problems := shape.problems():
        raise ValueError("; ".join(problems))
    return shape


class NextCodeLogits(nn.Module):
    """Logits (B, Q) of the code after each of (B, L) codes: the module of the exported program."""

    def __init__(self, network: LatentTransformer) -> None:
        super().__init__()
        self.network = network

    def forward(self, codes_BL: Tensor) -> Tensor:
        """Return the logits; the window's last code, the target, does not affect them."""
        window_BT = torch.cat([codes_BL, codes_BL[:, :1]], 1)
        targets = Targets("last", self.network.architecture.chunk)
        return self.network.logits(window_BT, targets)[:, 0, 0]
