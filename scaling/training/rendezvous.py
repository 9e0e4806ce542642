"""Where the workers of a run meet: on one machine in a file, so that no port is opened for it."""

from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path

import ray
import ray.train
from ray.train.backend import BackendConfig
from ray.train.torch import TorchConfig
from ray.train.torch.config import (
    TorchConfigContextManager,
    _set_torch_distributed_env_vars,
    _setup_torch_process_group,
)
from torch import distributed

from scaling.training.single_node_backend import SingleNodeBackendConfig

COLLECTIVE_SECONDS = 300
"""The most that one rank may wait for the others in a collective."""


def backend_config() -> BackendConfig:
    """How the workers of the connected cluster meet."""
    if ip_address(ray.util.get_node_ip_address()).is_loopback:
        return SingleNodeBackendConfig()
    return TorchConfig(timeout_s=COLLECTIVE_SECONDS)


@contextmanager
def process_group(meeting: Path, gpu: bool) -> Iterator[None]:
    """In a worker: the process group of all workers of its start, by the file ``meeting``.

    Ray Train's own set-up, which makes the group where there are more machines, opens a port on all
    addresses of the machine, to anyone.
    """
    if distributed.is_initialized():
        yield
        return
    _set_torch_distributed_env_vars()
    context = ray.train.get_context()
    with TorchConfigContextManager():
        _setup_torch_process_group(
            backend="nccl" if gpu else "gloo",
            world_rank=context.get_world_rank(),
            world_size=context.get_world_size(),
            init_method=meeting.as_uri(),
            timeout_s=COLLECTIVE_SECONDS,
        )
        yield
    # Not where a rank has failed: the others wait for it, and Ray ends their processes.
    distributed.destroy_process_group()
