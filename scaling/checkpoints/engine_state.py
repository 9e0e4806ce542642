"""What a checkpoint holds of an engine: whole tensors by name, whatever ZeRO stage sharded them.

They are the model's own names under ``model/``, and Adam's two averages of each parameter under
``exp_avg/`` and ``exp_avg_sq/``. Adam's count of steps is the run's own. Where a run is to end with
the weights that were best on the held-out targets, these are under ``best/``.
"""

from collections.abc import Callable, Iterator
from typing import Any

import deepspeed
import torch
import torch.distributed
from deepspeed.utils import (
    safe_get_full_optimizer_state,
    safe_set_full_optimizer_state,
    safe_set_local_optimizer_state,
)
from torch import Tensor, nn

from model.build import Model
from scaling.checkpoints.checkpoint import Checkpoint, CheckpointError

MODEL = "model/"
BEST = "best/"
AVERAGES = ("exp_avg", "exp_avg_sq")


def gather_tensors(
    engine: Any, rank: int, workers: int, tick: Callable[[], None]
) -> dict[str, Tensor]:
    """Copies, in this machine's memory, of the tensors that fall to ``rank``.

    Every rank must call it, after the first step: they gather each tensor together. ``tick`` is
    called for each of them.
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
    """Put the checkpoint's weights into the network, before an engine shards them."""
    try:
        network.load_state_dict(_under(MODEL, checkpoint))
    except RuntimeError as error:
        raise CheckpointError(
            f"{checkpoint.folder} holds another model than the run's: {error}"
        ) from error


def best_weights(checkpoint: Checkpoint) -> dict[str, Tensor] | None:
    """The weights that were best on the held-out targets, where the checkpoint has them."""
    return _under(BEST, checkpoint) or None


def _under(prefix: str, checkpoint: Checkpoint) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in checkpoint.tensors()
        if name.startswith(prefix)
    }


@torch.no_grad()
def load_optimizer(engine: Any, checkpoint: Checkpoint) -> None:
    """Put the checkpoint's averages into a fresh engine, each rank its own shards."""
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
            safe_set_local_optimizer_state(parameter, _shard(parameter, tensor), kind)
        elif _sharded(engine):
            safe_set_full_optimizer_state(parameter, tensor, kind)
        else:
            _adam(engine).state[parameter][kind].copy_(tensor)


def _link(engine: Any) -> None:
    """Tell each parameter where its averages are, at stages 1 and 2.

    DeepSpeed does so once, after the first step of its first group of parameters, when those of the
    others have none yet.
    """
    if _stage(engine) in (1, 2):
        engine.optimizer._hp_optimizer_states_linked = False
        engine.optimizer._lazy_init_hp_params_optimizer_state()


def _shard(parameter: Any, whole: Tensor) -> Tensor:
    """This rank's shard of a tensor as ZeRO 3 cuts it: filled up with zeros to equal lengths."""
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
                yield f"{kind}/{name}", safe_get_full_optimizer_state(parameter, kind)
            else:
                yield f"{kind}/{name}", _adam(engine).state[parameter][kind]


def _trained(engine: Any) -> dict[str, nn.Parameter]:
    return {name: p for name, p in engine.module.named_parameters() if p.requires_grad}


def _stage(engine: Any) -> int:
    return int(engine.zero_optimization_stage())


def _sharded(engine: Any) -> bool:
    return _stage(engine) > 0


def _adam(engine: Any) -> torch.optim.Optimizer:
    """The optimizer that holds the averages, within ZeRO's own."""
    adam: torch.optim.Optimizer = engine.optimizer
    return engine.optimizer.optimizer if _sharded(engine) else adam


def _flat(engine: Any) -> list[Tensor]:
    """The tensors that the optimizer updates: parameters, or this rank's shards of them."""
    if _stage(engine) == 3:
        return list(engine.optimizer.fp32_partitioned_groups_flat)
    return [tensor for group in _adam(engine).param_groups for tensor in group["params"]]
