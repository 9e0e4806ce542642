"""The tensors of an engine in a checkpoint: whole, by name, for any ZeRO stage.

Weights are under ``model/``, Adam's two averages of each parameter under ``exp_avg/`` and
``exp_avg_sq/``. Adam's count of steps equals the run's step. With early stopping, the weights of
the lowest held-out loss are under ``best/``.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.distributed
from torch import Tensor, nn

from model.build import Model
from scaling.checkpoints.checkpoint import Checkpoint, CheckpointError
from scaling.checkpoints.deepspeed_internals import deepspeed, link_optimizer_states

MODEL = "model/"
BEST = "best/"
AVERAGES = ("exp_avg", "exp_avg_sq")


def gather_tensors(
    engine: Any, rank: int, workers: int, tick: Callable[[], None]
) -> dict[str, Tensor]:
    """Copy the tensors that ``rank`` saves into this machine's memory.

    Every rank must call this, after the first step, to gather each tensor together. ``tick`` is
    called for each tensor.
    """
    loads = [0] * workers
    mine = {}
    _link(engine)
    for name, whole in _whole(engine):
        tick()
        owner = loads.index(min(loads))
        loads[owner] += whole.numel()
        if owner == rank:
            mine[name] = whole.detach().to("cpu", copy=True).contiguous()
    return mine


def load_model(network: Model, checkpoint: Checkpoint) -> None:
    """Load the weights into the network, before an engine shards them."""
    try:
        network.load_state_dict(_under(MODEL, checkpoint))
    except RuntimeError as error:
        raise CheckpointError(
            f"{checkpoint.folder} is a checkpoint of another model than the run's: {error}"
        ) from error


def best_weights(checkpoint: Checkpoint) -> dict[str, Tensor] | None:
    """Return the weights of the lowest held-out loss, if the checkpoint has them."""
    return _under(BEST, checkpoint) or None


def _under(prefix: str, checkpoint: Checkpoint) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in checkpoint.tensors()
        if name.startswith(prefix)
    }


@torch.no_grad()
def load_optimizer(engine: Any, checkpoint: Checkpoint) -> None:
    """Load the checkpoint's averages into a new engine, on each rank those of its own shards."""
    parameters = _trained(engine)
    step = torch.tensor(float(checkpoint.place.step))
    for flat in _flat(engine):
        averages = {name: torch.zeros_like(flat) for name in AVERAGES}
        _adam(engine).state[flat] = {"step": step.clone(), **averages}
    _link(engine)
    for full_name, tensor in checkpoint.tensors():
        kind, _, name = full_name.partition("/")
        if kind not in AVERAGES:
            continue
        parameter, tensor = parameters[name], tensor.to(engine.device)
        if _stage(engine) == 3:
            deepspeed.utils.safe_set_local_optimizer_state(
                parameter, _shard(parameter, tensor), kind
            )
        elif _sharded(engine):
            deepspeed.utils.safe_set_full_optimizer_state(parameter, tensor, kind)
        else:
            _adam(engine).state[parameter][kind].copy_(tensor)


def _link(engine: Any) -> None:
    if _stage(engine) in (1, 2):
        link_optimizer_states(engine)


def _shard(parameter: Any, whole: Tensor) -> Tensor:
    """Return this rank's shard of a tensor at ZeRO 3, which pads shards to equal lengths."""
    length = parameter.ds_tensor.numel()
    own: Tensor = whole.new_zeros(length)
    first = torch.distributed.get_rank() * length
    part = whole.flatten()[first : first + length]
    own[: part.numel()] = part
    return own


def _whole(engine: Any) -> Iterator[tuple[str, Tensor]]:
    module: nn.Module = engine.module
    for name, parameter in module.named_parameters():
        with deepspeed.zero.GatheredParameters([parameter]):
            yield MODEL + name, parameter
    parameters = dict(module.named_parameters())
    for name, buffer in module.state_dict().items():
        if name not in parameters:
            yield MODEL + name, buffer
    for name, parameter in _trained(engine).items():
        for kind in AVERAGES:
            if _sharded(engine):
                yield (
                    f"{kind}/{name}",
                    deepspeed.utils.safe_get_full_optimizer_state(parameter, kind),
                )
            else:
                yield f"{kind}/{name}", _adam(engine).state[parameter][kind]


def _trained(engine: Any) -> dict[str, nn.Parameter]:
    return {name: p for name, p in engine.module.named_parameters() if p.requires_grad}


def _stage(engine: Any) -> int:
    return int(engine.zero_optimization_stage())


def _sharded(engine: Any) -> bool:
    return _stage(engine) > 0


def _adam(engine: Any) -> torch.optim.Optimizer:
    """Return the optimizer with the averages, which ZeRO's optimizer wraps."""
    adam: torch.optim.Optimizer = engine.optimizer
    return engine.optimizer.optimizer if _sharded(engine) else adam


def _flat(engine: Any) -> list[Tensor]:
    """Return the tensors that the optimizer updates: parameters, or this rank's shards of them."""
    if _stage(engine) == 3:
        return list(engine.optimizer.fp32_partitioned_groups_flat)
    return [tensor for group in _adam(engine).param_groups for tensor in group["params"]]
