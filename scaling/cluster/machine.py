"""Facts of the machine that this process runs on: software, memory, disk, GPUs.

The facts come from outside (installed metadata, files, the environment, ``nvidia-smi``). PyTorch
and Ray are not imported, so that the doctor answers at once, and also if they are broken.
"""

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from scaling.cluster import auth
from scaling.common import environment
from scaling.common.paths import CLONE, foreign_packages

SHARED_MEMORY = Path("/dev/shm")
GPU_SECONDS = 60
# torch.cuda and torch.accelerator have neither a count of memory errors nor a sign of throttling.
GPU_QUERY = (
    "index",
    "name",
    "memory.total",
    "memory.used",
    "ecc.errors.uncorrected.volatile.total",
    "clocks_throttle_reasons.hw_slowdown",
)


class DriverError(RuntimeError):
    """A GPU driver that does not answer."""


@dataclass(frozen=True)
class Gpu:
    """State of one GPU: memory in bytes, uncorrected memory errors (0 if it counts none)."""

    index: str
    name: str
    memory_total: int
    memory_used: int
    memory_errors: int
    slowed_down: bool


@dataclass(frozen=True)
class Reference:
    """Values that a machine must have: versions of libraries, and the digest of the source files.

    ``source`` names their origin in a sentence.
    """

    source: str
    versions: Mapping[str, str]
    files: str


@dataclass(frozen=True)
class MachineFacts:
    """Facts of one machine, which checks compare with what a run needs.

    Attributes:
        foreign: sentences about packages that Python would import from outside the clone.
        cores: cores that this process may use.
        free: free bytes of each folder's disk; all memory is in bytes too.
        shared_memory: free bytes in ``/dev/shm``; None if it cannot be used.
        stale_locks: locks of DeepSpeed op builds whose process is gone.
        token: path of Ray's token, None if a variable has the token.
        token_mode: permissions of that file, None if there is no file.
        token_named: a variable names that file.
        ahead: seconds that its clock is ahead of that of the machine of the command.
    """

    reference: Reference
    executable: str
    versions: Mapping[str, str]
    files: str
    foreign: Sequence[str]
    cores: int
    memory_available: int
    memory_total: int
    free: Mapping[str, int]
    shared_memory: int | None
    gpus: Sequence[Gpu]
    gpu_error: str | None
    stale_locks: Sequence[str]
    token: str | None
    token_mode: int | None
    token_named: bool
    address: str | None
    ahead: float = 0.0
    corpus_problems: Sequence[str] = field(default=())


def pinned_versions(clone: Path) -> Reference:
    """Return the pins of ``constraints.txt``; without versions if the file cannot be read."""
    path = clone / "constraints.txt"
    lines = path.read_text().splitlines() if path.exists() else []
    pins = dict(line.split("==") for line in lines if "==" in line and not line.startswith("#"))
    return Reference(
        "constraints.txt",
        {name: pins[name] for name in environment.LIBRARIES if name in pins},
        environment.files_digest(),
    )


def own_versions() -> Reference:
    """Return the versions and source files of this machine, which all nodes must have."""
    return Reference(
        "the machine of the command", environment.versions(), environment.files_digest()
    )


def read_facts(reference: Reference, folders: Sequence[str]) -> MachineFacts:
    """Return the facts of this machine, with the free disk of each existing folder."""
    memory = psutil.virtual_memory()
    try:
        gpus, gpu_error = read_gpus(), None
    except DriverError as error:
        gpus, gpu_error = [], str(error)
    token = None if os.environ.get("RAY_AUTH_TOKEN") else auth.token_path()
    return MachineFacts(
        reference=reference,
        executable=sys.executable,
        versions=environment.versions(),
        files=environment.files_digest(),
        foreign=foreign_packages(CLONE),
        cores=len(os.sched_getaffinity(0)),
        memory_available=memory.available,
        memory_total=memory.total,
        free={name: shutil.disk_usage(name).free for name in folders if Path(name).exists()},
        shared_memory=_free_shared_memory(),
        gpus=gpus,
        gpu_error=gpu_error,
        stale_locks=stale_locks(),
        token=None if token is None else str(token),
        token_mode=stat.S_IMODE(token.stat().st_mode) if token and token.exists() else None,
        token_named=bool(os.environ.get("RAY_AUTH_TOKEN_PATH")),
        address=os.environ.get("RAY_ADDRESS"),
    )


def _free_shared_memory() -> int | None:
    try:
        return shutil.disk_usage(SHARED_MEMORY).free
    except OSError:
        return None


def read_gpus() -> list[Gpu]:
    """Return the state of each GPU, none without ``nvidia-smi``; DriverError if that fails."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    query = [program, f"--query-gpu={','.join(GPU_QUERY)}", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(
            query, capture_output=True, text=True, timeout=GPU_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise DriverError(str(error)) from error
    return [_parse_gpu(line) for line in answer.stdout.strip().splitlines()]


def _parse_gpu(line: str) -> Gpu:
    index, name, *numbers, slowed = (part.strip() for part in line.split(","))
    # nvidia-smi prints [N/A] for a number that the GPU does not have.
    total, used, errors = (int(number) if number.isdigit() else 0 for number in numbers)
    return Gpu(index, name, total * 2**20, used * 2**20, errors, slowed == "Active")


def stale_locks() -> list[str]:
    """Return locks that killed DeepSpeed op builds left, for which later builds wait for ever."""
    root = Path(
        os.environ.get("TORCH_EXTENSIONS_DIR", Path.home() / ".cache" / "torch_extensions")
    ).expanduser()
    locks = sorted(root.rglob("lock"))
    # A live build keeps its lock open; without an owner nothing removes it.
    opened = set(_open_files()) if locks else set()
    return [str(lock) for lock in locks if str(lock.resolve()) not in opened]


def _open_files() -> Iterator[str]:
    """Return the open files of all processes that this user may inspect."""
    for process in psutil.process_iter():
        try:
            yield from (file.path for file in process.open_files())
        except psutil.Error:
            continue
