"""Bytes that a worker holds: on its GPU, or where there is none in its process."""

import resource

import psutil
import torch


def held() -> int:
    """Bytes now: what torch has allocated on the GPU, or the process's resident memory."""
    if torch.cuda.is_available():
        return torch.cuda.memory_allocated()
    return int(psutil.Process().memory_info().rss)


def most() -> int:
    """The most that :func:`held` was since the process began."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
