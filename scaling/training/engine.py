"""The DeepSpeed engine of a run, and the collectives of its workers."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.distributed
from torch import Tensor, nn

from datasets.manifest import Corpus
from model import build as models
from model.build import Model, parameter_groups
from model.linear import LinearPrediction
from model.network import LatentTransformer
from scaling.checkpoints.deepspeed_internals import deepspeed, disable_shared_memory_all_reduce
from scaling.checkpoints.train_state import TrainState
from scaling.config.run_config import RunConfig, TrainConfig
from scaling.training.torch_internals import Adam


def build_network(config: RunConfig, corpus: Corpus) -> Model:
    """Return the model at step 0: weights from the seed, linear prediction from the corpus."""
    torch.manual_seed(config.seed)
    linear = corpus.linear
    prediction = LinearPrediction(linear.coefficients, linear.intercept, linear.scale)
    return models.build(config.model, prediction)


def step_seed(config: RunConfig, step: int, rank: int) -> int:
    """Return the seed of a step's dropout, so that a restarted run draws the same numbers."""
    return (config.seed * config.train.steps + step) * 65_537 + rank


def precision(train: TrainConfig) -> str:
    """Return the precision of training. ``auto`` means bfloat16 if the hardware multiplies in it.

    Such a processor trains about twice as fast in bfloat16 (``bench``).
    """
    if train.precision != "auto":
        return train.precision
    if torch.cuda.is_available():
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = bool(torch.cpu.get_capabilities().get("avx512_bf16"))
    return "bfloat16" if native else "float32"


def start_engine(network: Model, train: TrainConfig, workers: int, micro_batches: int) -> Any:
    """Return a DeepSpeed engine for the network, in the current process group.

    Each of the ``workers`` takes its share of a batch in ``micro_batches`` micro-batches.

    bfloat16 means autocast: weights and sums stay in float32, products are taken in bfloat16. The
    linear-predictive start needs that, and the models are too small to gain from 16-bit weights.
    """
    if not torch.cuda.is_available():
        disable_shared_memory_all_reduce()
    # At ZeRO 3 the parameters are sharded, so that a group of sequences cannot use them directly.
    if isinstance(network, LatentTransformer):
        network.in_groups = train.zero < 3
    engine, *_ = deepspeed.initialize(
        model=network,
        optimizer=Adam(optimizer_groups(network), lr=train.learning_rate),
        config=_settings(train, workers, micro_batches),
    )
    return engine


def optimizer_groups(network: Model) -> list[dict[str, Any]]:
    """Return the parameters grouped by the factor of their learning rate."""
    groups = parameter_groups(network)
    return [{"params": members, "factor": factor} for factor, members in groups.items()]


def _settings(train: TrainConfig, workers: int, micro_batches: int) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "train_micro_batch_size_per_gpu": train.batch // (workers * micro_batches),
        "gradient_accumulation_steps": micro_batches,
        "zero_optimization": {"stage": train.zero},
        # DeepSpeed's list of tested optimizers has PyTorch's Adam, but no subclass of it.
        "zero_allow_untested_optimizer": True,
        # DeepSpeed clips at 1.0 by default; the paper does not clip.
        "gradient_clipping": 0.0,
        "steps_per_print": 2**62,
    }
    if precision(train) == "bfloat16":
        settings["torch_autocast"] = {"enabled": True, "dtype": "bfloat16"}
    return settings


def learning_rate(train: TrainConfig, state: TrainState) -> float:
    """Return the learning rate of the step after ``state``: one rate, then a second one."""
    return train.second_learning_rate if state.in_second_phase(train) else train.learning_rate


def set_learning_rate(optimizer: Any, rate: float) -> None:
    """Set the learning rate of each parameter group to ``rate`` times the group's factor."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["factor"]


def weights(engine: Any) -> dict[str, Tensor]:
    """Gather the full weights from all ZeRO shards. Every rank must call this."""
    module: nn.Module = engine.module
    with deepspeed.zero.GatheredParameters(list(module.parameters())):
        return {name: whole.detach().cpu().clone() for name, whole in module.state_dict().items()}


@torch.no_grad()
def broadcast_weights(engine: Any, tensors: dict[str, Tensor] | None) -> None:
    """Replace the weights of every rank by the ``tensors`` of rank 0. Every rank must call this.

    Call it after the last step only: the optimizer's next step would restore the old weights.
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


def all_gather(values: Sequence[float], workers: int, device: Any) -> np.ndarray:
    """Return the values of all ranks, of shape (workers, values), in float64."""
    own = torch.tensor(values, dtype=torch.float64, device=device)
    parts = [torch.empty_like(own) for _ in range(workers)]
    torch.distributed.all_gather(parts, own)
    return np.array([part.tolist() for part in parts])


def all_reduce_sum(values: Sequence[float], device: Any) -> list[float]:
    """Return the sum over all ranks of each value, in float64."""
    own = torch.tensor(values, dtype=torch.float64, device=device)
    torch.distributed.all_reduce(own)
    return list(map(float, own.tolist()))
