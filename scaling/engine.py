"""The DeepSpeed engine: made from a run's configuration, saved and restored with its place."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import deepspeed
import deepspeed.ops
import torch
from safetensors.torch import save_file
from torch import nn

from datasets.files import replacing
from model.build import Model, parameter_groups
from model.network import LatentTransformer
from scaling.config import TrainConfig

TAG = "state"


class CheckpointError(RuntimeError):
    """A checkpoint that cannot be gone on from, with its path and the reason."""


@dataclass(frozen=True)
class Place:
    """Where a run stands: steps done, their seconds, and the digest of the order of their windows.

    The seconds are without the waits for the stream to fill.
    """

    step: int = 0
    order_digest: str = ""
    seconds: float = 0.0

    def after(self, windows: list[int], seconds: float) -> "Place":
        """The place one step on, after the global batch of these windows, in order."""
        content = json.dumps([self.order_digest, self.step, windows])
        digest = hashlib.sha256(content.encode()).hexdigest()
        return Place(self.step + 1, digest, self.seconds + seconds)

    def share(self, train: TrainConfig) -> float:
        """How much of the run is done, from 0 to 1: of its steps, or of its seconds if more."""
        of_seconds = self.seconds / train.seconds if train.seconds else 0.0
        return max(self.step / train.steps, of_seconds)


def precision(train: TrainConfig) -> str:
    """The precision that this machine trains in: where it is ``auto``, bfloat16 if it is native.

    A processor that multiplies bfloat16 itself trains about twice as fast in it (``bench``).
    """
    if train.precision != "auto":
        return train.precision
    if torch.cuda.is_available():
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = torch.cpu._is_avx512_bf16_supported()
    return "bfloat16" if native else "float32"


def start(network: Model, train: TrainConfig, workers: int) -> Any:
    """The network under a DeepSpeed engine, in the process group that Ray Train has set up.

    bfloat16 means autocast: weights and sums stay in float32, products are taken in bfloat16. The
    linear-predictive start needs that, and the models are too small for 16-bit weights to pay.
    """
    if not torch.cuda.is_available():
        # DeepSpeed would compile a shared-memory all-reduce at the first start on every machine
        # (minutes, and a stale lock waits for ever); gloo does the same job.
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    # ZeRO 3 shards the parameters themselves, so that no group of sequences has them at hand.
    if isinstance(network, LatentTransformer):
        network.in_groups = train.zero < 3
    engine, *_ = deepspeed.initialize(
        model=network,
        model_parameters=optimizer_groups(network),
        config=_settings(train, workers),
    )
    return engine


def optimizer_groups(network: Model) -> list[dict[str, Any]]:
    """What the optimizer is given: the parameters, by what multiplies the learning rate."""
    groups = parameter_groups(network)
    return [{"params": members, "factor": factor} for factor, members in groups.items()]


def _settings(train: TrainConfig, workers: int) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "train_micro_batch_size_per_gpu": train.batch // (workers * train.accumulate),
        "gradient_accumulation_steps": train.accumulate,
        "zero_optimization": {"stage": train.zero},
        "optimizer": {
            "type": "Adam",
            "params": {"lr": train.learning_rate, "torch_adam": True, "adam_w_mode": False},
        },
        # DeepSpeed clips at 1.0 unless told otherwise; the paper does not clip.
        "gradient_clipping": 0.0,
        "steps_per_print": 2**62,
    }
    if precision(train) == "bfloat16":
        settings["torch_autocast"] = {"enabled": True, "dtype": "bfloat16"}
    return settings


def learning_rate(train: TrainConfig, place: Place) -> float:
    """The learning rate of the step after ``place``: one rate, then a second one."""
    second = place.share(train) >= train.second_phase
    return train.second_learning_rate if second else train.learning_rate


def set_learning_rate(optimizer: Any, rate: float) -> None:
    """Use ``rate``, times each group's factor, at the next optimizer step."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["factor"]


def save(engine: Any, folder: Path, place: Place) -> None:
    """Write this rank's part of the state; every rank must call it."""
    engine.save_checkpoint(str(folder), tag=TAG, client_state={"place": asdict(place)})


def restore(engine: Any, folder: Path) -> Place:
    """Load this rank's part of the state and give the place; every rank must call it.

    DeepSpeed answers a missing part with None and would go on from nothing: that is an error here.
    """
    loaded, client_state = engine.load_checkpoint(str(folder), tag=TAG)
    if loaded is None:
        raise CheckpointError(
            f"the checkpoint {folder} holds no complete state: remove it from the run folder to go "
            "on from the one before, or remove the run folder to start again"
        )
    return Place(**client_state["place"])


def save_weights(engine: Any, path: Path, rank: int) -> None:
    """Write all weights, gathered from their shards, as safetensors; every rank must call it."""
    module: nn.Module = engine.module
    with deepspeed.zero.GatheredParameters(list(module.parameters())):
        if rank == 0:
            with replacing(path) as partial:
                save_file({k: v.contiguous() for k, v in module.state_dict().items()}, partial)
