"""What stands between this machine and a run: each check returns findings, each a sentence.

The checks look from outside (installed metadata, files, the environment); torch and Ray are not
imported, so the answer comes at once and also where those are broken.
"""

import importlib.metadata
import importlib.util
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil

from scaling.cluster import auth
from scaling.common.paths import PACKAGES

Status = Literal["ok", "warning", "problem"]

GIB = 2**30
OLDEST_PYTHON = (3, 11)

LIBRARIES = ("torch", "ray", "deepspeed", "pyarrow", "soundfile")

FEW_CORES = 2
# One process with torch, Ray and DeepSpeed imported holds 0.4 GiB (measured), and an embedded Ray
# starts several beside the worker that trains.
LITTLE_MEMORY = 4 * GIB
LITTLE_DISK = 5 * GIB
NO_DISK = 1 * GIB
# Ray's defaults (RAY_DEFAULT_OBJECT_STORE_MEMORY_PROPORTION and its cap).
OBJECT_STORE_SHARE = 0.3
OBJECT_STORE_CAP = 200 * 10**9


@dataclass(frozen=True)
class CheckResult:
    """One thing looked at: its name, whether it is fit for a run, and a sentence about it."""

    name: str
    status: Status
    sentence: str


def examine(clone: Path) -> list[CheckResult]:
    """Every check of this machine for the Longwave in ``clone``, in the order to read them."""
    return [
        python(),
        *libraries(clone / "constraints.txt"),
        folders(clone),
        cores(),
        memory(),
        disk(clone),
        shared_memory(Path("/dev/shm")),
        gpus(),
        build_locks(),
        token(),
        address(),
    ]


def python() -> CheckResult:
    """The interpreter against the oldest release that Longwave runs on."""
    version = ".".join(str(part) for part in sys.version_info[:3])
    if sys.version_info[:2] >= OLDEST_PYTHON:
        return CheckResult("Python", "ok", f"Python {version} at {sys.executable}.")
    oldest = ".".join(str(part) for part in OLDEST_PYTHON)
    return CheckResult(
        "Python",
        "problem",
        f"Python is {version}; Longwave needs {oldest} or newer: install it, then type "
        f"`make clean test PYTHON=python{oldest}`.",
    )


def libraries(constraints: Path) -> list[CheckResult]:
    """The installed releases of the libraries that runs depend on, against their pins."""
    try:
        lines = constraints.read_text().splitlines()
    except OSError as error:
        return [CheckResult("libraries", "problem", f"The pins cannot be read: {error}.")]
    pins = dict(line.split("==") for line in lines if "==" in line and not line.startswith("#"))
    return [library(name, pins.get(name)) for name in LIBRARIES]


def library(name: str, pin: str | None) -> CheckResult:
    """One library against its pin; a local label such as ``+cpu`` does not count."""
    if pin is None:
        return CheckResult(
            name, "problem", f"{name} has no line in constraints.txt: add `{name}==...`."
        )
    try:
        installed = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return CheckResult(
            name, "problem", f"{name} is not installed; {pin} is pinned: type `make test`."
        )
    if installed.split("+")[0] == pin:
        return CheckResult(name, "ok", f"{name} {installed}, as pinned.")
    return CheckResult(
        name,
        "problem",
        f"{name} is {installed}; {pin} is pinned and tested: type "
        f"`python -m pip install {name}=={pin}` in this environment.",
    )


def foreign_packages(clone: Path) -> list[str]:
    """One sentence for each of Longwave's packages that would be imported from elsewhere.

    An empty list is the healthy answer. ``datasets`` is also the import name of a well-known
    library, which an installed copy or another order of ``sys.path`` can put in its place.
    """
    return [
        f"`{name}` {origin}, not in the clone {clone}: start Longwave from the clone with "
        f"`cd {clone} && python -m scaling ...`, in an environment without a package `{name}`."
        for name in PACKAGES
        if (origin := foreign_origin(name, clone)) is not None
    ]


def foreign_origin(name: str, clone: Path) -> str | None:
    """Where a package resolves to if that is not its folder in the clone."""
    spec = importlib.util.find_spec(name)
    if spec is None:
        return "is not found"
    folders = [Path(folder).resolve() for folder in spec.submodule_search_locations or []]
    if folders == [(clone / name).resolve()]:
        return None
    return f"resolves to {', '.join(map(str, folders)) or spec.origin}"


def folders(clone: Path) -> CheckResult:
    """Whether ``datasets``, ``model`` and ``scaling`` are the clone's own."""
    foreign = foreign_packages(clone)
    if foreign:
        return CheckResult("packages", "problem", " ".join(foreign))
    return CheckResult("packages", "ok", f"{', '.join(PACKAGES)} resolve inside {clone}.")


def cores() -> CheckResult:
    """The cores that this process may use."""
    count = len(os.sched_getaffinity(0))
    if count >= FEW_CORES:
        return CheckResult("cores", "ok", f"{count} cores are usable.")
    return CheckResult(
        "cores",
        "warning",
        f"{count} core is usable; with fewer than {FEW_CORES}, reading audio and training take "
        "turns: runs finish, slowly.",
    )


def memory() -> CheckResult:
    """The memory that is free now."""
    state = psutil.virtual_memory()
    amount = f"{state.available / GIB:.1f} of {state.total / GIB:.1f} GiB of memory are available"
    if state.available >= LITTLE_MEMORY:
        return CheckResult("memory", "ok", f"{amount}.")
    return CheckResult(
        "memory",
        "warning",
        f"{amount}; under {LITTLE_MEMORY / GIB:.0f} GiB Ray may kill workers: close programs or "
        "take a larger machine.",
    )


def disk(clone: Path) -> CheckResult:
    """The free disk under the clone, where corpora and runs are written by default."""
    free = shutil.disk_usage(clone).free
    amount = f"{free / GIB:.1f} GiB of disk are free under {clone}"
    if free >= LITTLE_DISK:
        return CheckResult("disk", "ok", f"{amount}.")
    return CheckResult(
        "disk",
        "warning" if free >= NO_DISK else "problem",
        f"{amount}; checkpoints and corpora want {LITTLE_DISK / GIB:.0f} GiB or more: free some, "
        "or name another storage path in the configuration.",
    )


def shared_memory(mount: Path) -> CheckResult:
    """The shared memory against the object store that Ray would make by default."""
    wanted = min(OBJECT_STORE_SHARE * psutil.virtual_memory().available, OBJECT_STORE_CAP)
    try:
        free = shutil.disk_usage(mount).free
    except OSError as error:
        return CheckResult(
            "shared memory",
            "warning",
            f"{mount} cannot be used ({error.strerror}): Ray will be slow.",
        )
    amount = f"{free / GIB:.1f} GiB are free in {mount}"
    if free >= wanted:
        return CheckResult("shared memory", "ok", f"{amount}, enough for Ray's object store.")
    return CheckResult(
        "shared memory",
        "warning",
        f"{amount}; Ray's object store would take {wanted / GIB:.1f} GiB "
        f"({OBJECT_STORE_SHARE:.0%} of the memory): delete files there, or start the container "
        f"with `--shm-size={wanted / GIB + 1:.0f}g`.",
    )


def gpus() -> CheckResult:
    """The GPUs that the driver shows, and whether the installed torch can use them."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return CheckResult("GPUs", "ok", "No GPU (no nvidia-smi on the PATH): runs use the CPU.")
    query = [program, "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        return CheckResult(
            "GPUs",
            "problem",
            f"nvidia-smi fails ({error}): the driver is not usable; type `nvidia-smi` to see why.",
        )
    names = "; ".join(answer.stdout.strip().splitlines())
    if importlib.metadata.version("torch").endswith("+cpu"):
        return CheckResult(
            "GPUs",
            "warning",
            f"GPUs are here ({names}) and torch is the CPU build: install the CUDA build of the "
            "pinned release to use them.",
        )
    return CheckResult("GPUs", "ok", f"{names}.")


def build_locks() -> CheckResult:
    """Locks that a killed DeepSpeed op build left: every later build waits for them for ever."""
    root = Path(
        os.environ.get("TORCH_EXTENSIONS_DIR", Path.home() / ".cache" / "torch_extensions")
    ).expanduser()
    locks = sorted(root.rglob("lock"))
    held = set(open_files()) if locks else set()
    # A live build keeps its lock open; without an owner nothing will remove it.
    stale = [lock for lock in locks if str(lock.resolve()) not in held]
    if not stale:
        return CheckResult("op builds", "ok", f"No stale build lock under {root}.")
    return CheckResult(
        "op builds",
        "problem",
        "A build was killed and left its lock, on which every worker would wait for ever: type "
        f"`rm {' '.join(map(str, stale))}`.",
    )


def open_files() -> Iterator[str]:
    """The files that processes of this machine hold open, as far as this user may look."""
    for process in psutil.process_iter():
        try:
            yield from (file.path for file in process.open_files())
        except psutil.Error:
            continue


def token() -> CheckResult:
    """Ray's token, the key to the cluster: present where it is named, and nobody else's to read."""
    if os.environ.get("RAY_AUTH_TOKEN"):
        return CheckResult("Ray token", "ok", "The token comes from RAY_AUTH_TOKEN.")
    named, path = os.environ.get("RAY_AUTH_TOKEN_PATH"), auth.path()
    if not path.exists():
        if named:
            return CheckResult(
                "Ray token",
                "problem",
                f"RAY_AUTH_TOKEN_PATH names {path}, which does not exist: Ray will not start. "
                "Put the cluster's token there or type `unset RAY_AUTH_TOKEN_PATH`.",
            )
        return CheckResult("Ray token", "ok", "No token yet: Ray makes one for a local cluster.")
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & auth.OTHERS:
        return CheckResult(
            "Ray token",
            "warning",
            f"{path} has mode {mode:04o}: other users can read it and run code on the cluster. "
            f"Type `chmod 600 {path}`.",
        )
    return CheckResult("Ray token", "ok", f"{path} has mode {mode:04o}.")


def address() -> CheckResult:
    """Whether the environment sends runs to a cluster other than this machine."""
    named = os.environ.get("RAY_ADDRESS")
    if named is None:
        return CheckResult(
            "Ray address", "ok", "RAY_ADDRESS is unset: runs start a Ray of their own."
        )
    return CheckResult(
        "Ray address",
        "warning",
        f"RAY_ADDRESS is {named}: runs go to that cluster. If this machine is meant, type "
        "`unset RAY_ADDRESS`.",
    )
