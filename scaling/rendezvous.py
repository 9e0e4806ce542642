"""Where the workers of a run meet: on one machine in a file, so that no port is opened for it."""

from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from uuid import uuid4

import ray
from ray.train.torch import TorchConfig
from ray.train.torch.config import (
    _set_torch_distributed_env_vars,
    _setup_torch_process_group,
    _TorchBackend,
)

COLLECTIVE_SECONDS = 300
"""The most that one rank may wait for the others in a collective."""


def rendezvous(folder: Path) -> TorchConfig:
    """How the workers of the connected cluster meet, who may leave files in ``folder``."""
    if not ip_address(ray.util.get_node_ip_address()).is_loopback:
        return TorchConfig(timeout_s=COLLECTIVE_SECONDS)
    folder.mkdir(parents=True, exist_ok=True)
    return _InAFile(timeout_s=COLLECTIVE_SECONDS, file=folder / f"meeting-{uuid4().hex}")


@dataclass
class _InAFile(TorchConfig):
    file: Path = Path()

    @property
    def backend_cls(self) -> type[_TorchBackend]:
        return _FileBackend


class _FileBackend(_TorchBackend):
    """Ray Train's own set-up opens a port on all addresses of the machine, to anyone."""

    def on_start(self, worker_group: Any, backend_config: Any) -> None:
        worker_group.execute(_set_torch_distributed_env_vars)
        backend = "nccl" if worker_group.get_resources_per_worker().get("GPU") else "gloo"
        calls = [
            worker_group.execute_single_async(
                rank,
                _setup_torch_process_group,
                backend=backend,
                world_rank=rank,
                world_size=len(worker_group),
                init_method=backend_config.file.as_uri(),
                timeout_s=backend_config.timeout_s,
            )
            for rank in range(len(worker_group))
        ]
        ray.get(calls)
