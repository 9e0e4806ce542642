"""Bandwidth of an all-reduce over the nodes of a cluster, one process on each."""

import socket
import time
from collections.abc import Sequence
from datetime import timedelta
from statistics import median
from typing import Any

import ray
import torch
import torch.distributed as distributed
from ray.exceptions import GetTimeoutError, RayError

from scaling.cluster import ray_cluster
from scaling.cluster.doctor import CheckResult

BYTES = {"gloo": 8 * 2**20, "nccl": 256 * 2**20}
ROUNDS = 5
MEET_SECONDS = 60
START_SECONDS = 120
GIGA = 1e9


@ray.remote(num_cpus=0)
class _Rank:
    """One process of the reduction."""

    def place(self) -> tuple[str, int]:
        """Return an address and a free port of this node for the rendezvous."""
        with socket.socket() as probe:
            probe.bind(("", 0))
            return ray.util.get_node_ip_address(), probe.getsockname()[1]

    def reduce(
        self, rank: int, count: int, meet: tuple[str, int], backend: str, seconds: float
    ) -> float:
        """Return the median seconds of a round; RuntimeError if a process is missing."""
        distributed.init_process_group(
            backend,
            init_method=f"tcp://{meet[0]}:{meet[1]}",
            rank=rank,
            world_size=count,
            timeout=timedelta(seconds=seconds),
        )
        try:
            return median(self._round(backend) for _ in range(ROUNDS))
        finally:
            distributed.destroy_process_group()

    def _round(self, backend: str) -> float:
        device = "cuda" if backend == "nccl" else "cpu"
        values = torch.ones(BYTES[backend] // 4, device=device)
        distributed.barrier()
        began = time.perf_counter()
        distributed.all_reduce(values)
        # Reading the sum waits for the GPU.
        if values[0].item() != distributed.get_world_size():
            raise RuntimeError("an all-reduce returned a wrong sum")
        return time.perf_counter() - began


def check_all_reduce(nodes: Sequence[tuple[str, dict[str, Any]]]) -> CheckResult:
    """Measure an all-reduce over named nodes of ``ray.nodes()``."""
    if len(nodes) < 2:
        return CheckResult("all-reduce", "ok", "One node: nothing is sent.")
    gpus = all(node["Resources"].get("GPU") for _, node in nodes)
    backend = "nccl" if gpus else "gloo"
    ranks = [
        _Rank.options(  # type: ignore[attr-defined]
            scheduling_strategy=ray_cluster.affinity_to(node), num_gpus=int(gpus)
        ).remote()
        for _, node in nodes
    ]
    try:
        # The import of torch takes long on a busy node.
        meet = ray.get(ranks[0].place.remote(), timeout=START_SECONDS)
        calls = [
            rank.reduce.remote(number, len(nodes), meet, backend, MEET_SECONDS)
            for number, rank in enumerate(ranks)
        ]
        return _judge(nodes, calls, backend)
    except (GetTimeoutError, RayError) as error:
        name, reason = nodes[0][0], str(error).strip().splitlines()[-1]
        sentence = f"{name} starts no process for the all-reduce ({reason}): look at its Ray logs."
        return CheckResult("all-reduce", "problem", sentence)
    finally:
        for rank in ranks:
            ray.kill(rank)


def _judge(
    nodes: Sequence[tuple[str, dict[str, Any]]], calls: Sequence[Any], backend: str
) -> CheckResult:
    ray.wait(list(calls), num_returns=len(calls), timeout=3 * MEET_SECONDS)
    seconds, lost = [], []
    for (name, _), call in zip(nodes, calls, strict=True):
        try:
            seconds.append(ray.get(call, timeout=0))
        except (GetTimeoutError, RayError) as error:
            lost.append(f"{name} ({str(error).strip().splitlines()[-1]})")
    if lost:
        return CheckResult(
            "all-reduce",
            "problem",
            f"An all-reduce over the nodes by {backend} fails on {'; '.join(lost)}: open all ports "
            "between the nodes, and if they have several network interfaces, set "
            "GLOO_SOCKET_IFNAME or NCCL_SOCKET_IFNAME to the right one.",
        )
    size, count = BYTES[backend], len(nodes)
    # Bytes that each rank sends and receives in a ring (Patarasuk and Yuan 2009, section 3).
    sent = 2 * (count - 1) / count * size
    return CheckResult(
        "all-reduce",
        "ok",
        f"{size / 2**20:.0f} MiB over {count} nodes by {backend} in {max(seconds) * 1e3:.1f} ms: "
        f"{sent / max(seconds) / GIGA:.2f} GB/s sent by each.",
    )
