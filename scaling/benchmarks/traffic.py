"""What a worker's process says to the others and holds: bytes counted, not timed."""

import gc
from collections import Counter
from collections.abc import Callable
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

KINDS = {
    "allreduce_": "all_reduced",
    "_reduce_scatter_base_": "scattered",
    "_allgather_base_": "gathered",
}


class Traffic(TorchDispatchMode):
    """Counts what every collective is given while it is entered, below all that calls them.

    ``given`` has the bytes by kind: ``all_reduced``, ``scattered``, ``gathered``, or else the name
    of torch's operator; of a scatter and a gather those of the whole, not of a worker's part.
    ``held`` are the bytes of tensors (:func:`held_bytes`) at the first collective of more than one
    number, which in a step at stages 0 to 2 is the reduction of its gradients.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.given: Counter[str] = Counter()
        self.held = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func.namespace == "c10d":
            size = max(map(_bytes, args), default=0)
            name = func._schema.name.partition("::")[2]
            self.given[KINDS.get(name, name)] += size
            if not self.held and KINDS.get(name) in ("all_reduced", "scattered") and size > 8:
                self.held = held_bytes()
        return func(*args, **(kwargs or {}))


def held_bytes() -> int:
    """Bytes of the memory behind all tensors that Python knows, gradients included, each once."""
    found = {}
    for thing in gc.get_objects():
        # A fake tensor, which a tracer leaves behind, has no memory.
        if not issubclass(type(thing), Tensor) or issubclass(type(thing), FakeTensor):
            continue
        for tensor in (thing, thing.grad if thing.is_leaf else None):
            if tensor is not None:
                storage = tensor.untyped_storage()
                found[storage.data_ptr()] = storage.nbytes()
    return sum(found.values())


def peak_bytes(work: Callable[[], object]) -> int:
    """The most bytes that the CPU's allocator gives out while ``work`` runs, beyond those before.

    Unlike a process's resident memory they have no constant, and memory counts though untouched.
    """
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        work()
    events = profiler.profiler.kineto_results.events()
    taken = [(event.start_ns(), event.nbytes()) for event in events if event.name() == "[memory]"]
    changes: list[int] = [change for _, change in sorted(taken, key=lambda pair: pair[0])]
    return max(accumulate(changes))


def _bytes(argument: Any) -> int:
    leaves = [leaf for leaf in tree_leaves(argument) if isinstance(leaf, torch.Tensor)]
    return sum(leaf.numel() * leaf.element_size() for leaf in leaves)
