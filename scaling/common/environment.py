"""What a run ran on: hardware, library versions and the version of this code."""

import hashlib
import os
import platform
import subprocess
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import psutil
import torch

from scaling.common.paths import CLONE, PACKAGES

LIBRARIES = ("torch", "ray", "deepspeed", "pyarrow", "numpy", "soundfile", "soxr")


def hardware() -> dict[str, str | int]:
    """Processor, cores, memory (bytes) and GPUs of this machine."""
    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {
        "processor": _processor(),
        "cores": os.cpu_count() or 1,
        "memory_bytes": psutil.virtual_memory().total,
        "gpus": ", ".join(gpus) or "none",
    }


def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that a result depends on, as far as installed."""
    installed = {name for name in LIBRARIES if find_spec(name)}
    return {"python": platform.python_version()} | {
        name: version(name) for name in LIBRARIES if name in installed
    }


def code_version() -> str:
    """The commit of the clone, marked ``-dirty`` where files differ; without git a digest of them.

    A job on a cluster has the files of the clone and not its history.
    """
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
            cwd=CLONE,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return f"files-{files_digest()}"
    return described.stdout.strip()


def files_digest() -> str:
    """Twelve hexadecimal digits that say which source files this code is made of."""
    digest = hashlib.sha256()
    for package in PACKAGES:
        for path in sorted((CLONE / package).rglob("*.py")):
            digest.update(f"{path.relative_to(CLONE).as_posix()}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
