"""The process group of the workers of one start."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path

import ray
import ray.train
import torch
from ray.train.backend import BackendConfig
from ray.train.torch import TorchConfig, get_device

from scaling.training.ray_internals import SingleNodeBackendConfig

COLLECTIVE_SECONDS = 300
"""Longest wait of a rank for the others in a collective."""


def backend_config() -> BackendConfig:
    """Return Ray Train's backend for the connected cluster."""
    if ip_address(ray.util.get_node_ip_address()).is_loopback:
        return SingleNodeBackendConfig()
    return TorchConfig(timeout_s=COLLECTIVE_SECONDS)


@contextmanager
def process_group(rendezvous_file: Path, gpu: bool) -> Iterator[None]:
    """Join the process group of all workers of a start, unless Ray Train has done so.

    Workers on one machine meet in a file. Ray Train's own set-up would open a port on all addresses
    of the machine, to anyone.
    """
    if torch.distributed.is_initialized():
        yield
        return
    context = ray.train.get_context()
    rank, workers = context.get_world_rank(), context.get_world_size()
    # DeepSpeed reads the variables that torchrun sets.
    os.environ["RANK"], os.environ["WORLD_SIZE"] = str(rank), str(workers)
    os.environ["LOCAL_RANK"] = str(context.get_local_rank())
    os.environ["LOCAL_WORLD_SIZE"] = str(context.get_local_world_size())
    if gpu:
        torch.cuda.set_device(get_device())
    torch.distributed.init_process_group(
        "nccl" if gpu else "gloo",
        init_method=rendezvous_file.as_uri(),
        rank=rank,
        world_size=workers,
        timeout=timedelta(seconds=COLLECTIVE_SECONDS),
    )
    yield
    # Not if a rank has failed: the others wait for it, and Ray ends their processes.
    torch.distributed.destroy_process_group()
