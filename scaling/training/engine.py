"""The DeepSpeed engine: made from a run's configuration for any number of workers."""

import inspect
from pathlib import Path
from typing import Any

import deepspeed
import deepspeed.ops
import torch
import torch.distributed
from deepspeed.runtime import compiler
from deepspeed.runtime.zero.utils import ZERO_SUPPORTED_OPTIMIZERS
from torch import Tensor, nn

from datasets.files import replacing
from model.build import Model, parameter_groups
from model.network import LatentTransformer
from scaling.checkpoints.checkpoint import save_tensors
from scaling.checkpoints.train_state import TrainState
from scaling.config.run_config import TrainConfig


class Adam(torch.optim.Adam):
    """The same steps on the same state.

    PyTorch's own loads all of its compiler to keep it away from these two methods: a second of
    each start of each worker.
    """

    add_param_group = inspect.unwrap(torch.optim.Adam.add_param_group)
    step = torch.no_grad()(inspect.unwrap(torch.optim.Adam.step))


# DeepSpeed has its Muon optimizer compiled wherever an optimizer is checked, which loads all of
# PyTorch's compiler into every worker at every start. Nothing here uses Muon.
compiler.compile = lambda: compiler.dummy_decorator
# It knows PyTorch's Adam, of which ours is one.
ZERO_SUPPORTED_OPTIMIZERS.append(Adam)


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


def start_engine(network: Model, train: TrainConfig, workers: int, pieces: int) -> Any:
    """The network under a DeepSpeed engine, in the process group that Ray Train has set up.

    Each of the ``workers`` takes its share of a batch in so many ``pieces``.

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
        optimizer=Adam(optimizer_groups(network), lr=train.learning_rate),
        config=_settings(train, workers, pieces),
    )
    return engine


def optimizer_groups(network: Model) -> list[dict[str, Any]]:
    """What the optimizer is given: the parameters, by what multiplies the learning rate."""
    groups = parameter_groups(network)
    return [{"params": members, "factor": factor} for factor, members in groups.items()]


def _settings(train: TrainConfig, workers: int, pieces: int) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "train_micro_batch_size_per_gpu": train.batch // (workers * pieces),
        "gradient_accumulation_steps": pieces,
        "zero_optimization": {"stage": train.zero},
        # DeepSpeed clips at 1.0 unless told otherwise; the paper does not clip.
        "gradient_clipping": 0.0,
        "steps_per_print": 2**62,
    }
    if precision(train) == "bfloat16":
        settings["torch_autocast"] = {"enabled": True, "dtype": "bfloat16"}
    return settings


def learning_rate(train: TrainConfig, place: TrainState) -> float:
    """The learning rate of the step after ``place``: one rate, then a second one."""
    return train.second_learning_rate if place.in_second_phase(train) else train.learning_rate


def set_learning_rate(optimizer: Any, rate: float) -> None:
    """Use ``rate``, times each group's factor, at the next optimizer step."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["factor"]


def weights(engine: Any) -> dict[str, Tensor]:
    """All weights, gathered from their shards; every rank must call it."""
    module: nn.Module = engine.module
    with deepspeed.zero.GatheredParameters(list(module.parameters())):
        return {name: whole.detach().cpu().clone() for name, whole in module.state_dict().items()}


@torch.no_grad()
def broadcast_weights(engine: Any, tensors: dict[str, Tensor] | None) -> None:
    """Give every rank the weights that rank 0 has; every rank must call it, after the last step.

    The optimizer keeps what it has: its next step would bring the old weights back.
    """
    module: nn.Module = engine.module
    kept = module.state_dict().keys()
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        if name not in kept:
            continue
        with deepspeed.zero.GatheredParameters([tensor], modifier_rank=0):
            if tensors is not None:
                tensor.copy_(tensors[name])
            torch.distributed.broadcast(tensor.data, 0)


def save_whole(tensors: dict[str, Tensor], path: Path) -> None:
    """Write tensors as safetensors, whole or not at all; OSError where the storage refuses."""
    with replacing(path) as partial:
        save_tensors(tensors, partial)
