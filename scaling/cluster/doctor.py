"""Checks of one machine: each turns facts into a result with a sentence.

The doctor runs them on this machine, the preflight (:mod:`scaling.cluster.preflight`) on each node.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from scaling.cluster import auth
from scaling.cluster.machine import MachineFacts, pinned_versions, read_facts
from scaling.common.environment import LIBRARIES
from scaling.common.paths import PACKAGES

Status = Literal["ok", "warning", "problem"]

GIB = 2**30
OLDEST_PYTHON = (3, 11)
FEW_CORES = 2
# One process that has imported torch, Ray and DeepSpeed takes 0.4 GiB (measured), and an embedded
# Ray starts several beside the worker that trains.
LITTLE_MEMORY = 4 * GIB
LITTLE_DISK = 5 * GIB
NO_DISK = 1 * GIB
# Ray's defaults (RAY_DEFAULT_OBJECT_STORE_MEMORY_PROPORTION and its cap).
OBJECT_STORE_SHARE = 0.3
OBJECT_STORE_CAP = 200 * 10**9
BUSY_GPU = GIB
"""Memory of a GPU in use (bytes) above which another program works on it."""
CLOCK_SECONDS = 1.0
"""Largest difference to the clock of the machine of the command: logs of all nodes are compared."""


@dataclass(frozen=True)
class CheckResult:
    """Result of one check: its name, its status, and a sentence with what to do."""

    name: str
    status: Status
    sentence: str


Check = Callable[[MachineFacts], CheckResult]


def examine(clone: Path) -> list[CheckResult]:
    """Check this machine for the Longwave in ``clone``."""
    facts = read_facts(pinned_versions(clone), [str(clone)])
    return [check(facts) for check in (*MACHINE_CHECKS, check_address)]


def _judge(
    name: str, problems: Sequence[str], fine: str, status: Status = "problem"
) -> CheckResult:
    """Return the problems as one result, or the sentence ``fine`` if there are none."""
    return CheckResult(name, status if problems else "ok", " ".join(problems) or fine)


def check_python(facts: MachineFacts) -> CheckResult:
    """Compare the interpreter with the oldest release that Longwave runs on."""
    version, problems = facts.versions["python"], []
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST_PYTHON:
        oldest = ".".join(str(part) for part in OLDEST_PYTHON)
        problems.append(
            f"Python is {version}, but Longwave needs {oldest} or newer: install it, then run "
            f"`make clean test PYTHON=python{oldest}`."
        )
    return _judge("Python", problems, f"Python {version} at {facts.executable}.")


def check_libraries(facts: MachineFacts) -> CheckResult:
    """Compare the installed libraries with those of the reference."""
    reference = facts.reference
    problems = []
    for name in ("python", *LIBRARIES) if "python" in reference.versions else LIBRARIES:
        installed, wanted = facts.versions.get(name), reference.versions.get(name)
        install = f"run `python -m pip install {name}=={wanted}` in this environment."
        if wanted is None:
            problems.append(f"{reference.source} has no version of {name}: add `{name}==...`.")
        elif installed is None:
            problems.append(f"{name} is not installed, {reference.source} has {wanted}: {install}")
        # A local label such as +cpu names another build of the same release.
        elif wanted not in (installed, installed.partition("+")[0]):
            problems.append(
                f"{name} is {installed}, but {reference.source} has {wanted}: {install}"
            )
    versions = ", ".join(f"{name} {facts.versions.get(name)}" for name in LIBRARIES)
    return _judge("libraries", problems, f"{versions} match {reference.source}.")


def check_packages(facts: MachineFacts) -> CheckResult:
    """Check that Python imports Longwave's packages from the clone."""
    return _judge("packages", facts.foreign, f"{', '.join(PACKAGES)} are those of the clone.")


def check_code(facts: MachineFacts) -> CheckResult:
    """Compare the source files with those of the reference."""
    wanted, problems = facts.reference.files, []
    if facts.files != wanted:
        problems.append(
            f"The source files of Longwave (digest {facts.files}) differ from those of "
            f"{facts.reference.source} ({wanted}): start jobs with `ray job submit --working-dir "
            ".`, or update this machine's clone."
        )
    return _judge("code", problems, f"Source files {wanted}.")


def check_cores(facts: MachineFacts) -> CheckResult:
    """Check the cores that a process may use."""
    problems = []
    if facts.cores < FEW_CORES:
        problems.append(
            f"{facts.cores} core is usable, so reading audio and training take turns and runs are "
            f"slow: use {FEW_CORES} cores or more."
        )
    return _judge("cores", problems, f"{facts.cores} cores are usable.", "warning")


def check_memory(facts: MachineFacts) -> CheckResult:
    """Check the memory that is free now."""
    free, total = facts.memory_available, facts.memory_total
    amount = f"{free / GIB:.1f} of {total / GIB:.1f} GiB of memory are available"
    problems = []
    if free < LITTLE_MEMORY:
        problems.append(
            f"{amount}, and with less than {LITTLE_MEMORY / GIB:.0f} GiB Ray may kill workers: "
            "close programs or use a larger machine."
        )
    return _judge("memory", problems, f"{amount}.", "warning")


def check_disk(facts: MachineFacts) -> CheckResult:
    """Check the free disk of each folder that a run writes to."""
    scarce = [
        f"{free / GIB:.1f} GiB of disk are free in {folder}. Checkpoints and corpora need "
        f"{LITTLE_DISK / GIB:.0f} GiB or more: delete files, or set cluster.storage elsewhere."
        for folder, free in facts.free.items()
        if free < LITTLE_DISK
    ]
    status: Status = "problem" if any(it < NO_DISK for it in facts.free.values()) else "warning"
    amounts = ", ".join(f"{free / GIB:.1f} GiB in {name}" for name, free in facts.free.items())
    return _judge("disk", scarce, f"Free disk: {amounts}.", status)


def check_shared_memory(facts: MachineFacts) -> CheckResult:
    """Compare the free shared memory with the object store that Ray makes by default."""
    wanted = min(OBJECT_STORE_SHARE * facts.memory_available, OBJECT_STORE_CAP)
    free = facts.shared_memory or 0
    amount, problems = f"{free / GIB:.1f} GiB are free in /dev/shm", []
    if free < wanted:
        problems.append(
            f"{amount}, but Ray's object store needs {wanted / GIB:.1f} GiB "
            f"({OBJECT_STORE_SHARE:.0%} of the memory) and is slow elsewhere: delete files there, "
            f"or start the container with `--shm-size={wanted / GIB + 1:.0f}g`."
        )
    fine = f"{amount}, enough for Ray's object store."
    return _judge("shared memory", problems, fine, "warning")


def check_gpus(facts: MachineFacts) -> CheckResult:
    """Check that the driver answers, that torch can use the GPUs, and that each is fit to train."""
    if facts.gpu_error:
        return CheckResult(
            "GPUs",
            "problem",
            f"nvidia-smi fails ({facts.gpu_error}), so the driver is not usable: run `nvidia-smi` "
            "to see why, then reboot or replace the machine.",
        )
    if not facts.gpus:
        return CheckResult("GPUs", "ok", "No GPU (no nvidia-smi on the PATH): runs use the CPU.")
    names = "; ".join(f"{gpu.name}, {gpu.memory_total / GIB:.0f} GiB" for gpu in facts.gpus)
    problems = []
    for gpu in facts.gpus:
        name = f"GPU {gpu.index} ({gpu.name})"
        if gpu.memory_errors:
            problems.append(
                f"{name} has had {gpu.memory_errors} memory errors that it could not correct: "
                "reboot the machine, and replace it if they come again."
            )
        if gpu.memory_used > BUSY_GPU:
            problems.append(
                f"{name} has {gpu.memory_used / GIB:.1f} GiB of its memory in use: end the program "
                "that `nvidia-smi` shows."
            )
        if gpu.slowed_down:
            problems.append(
                f"{name} is slowed down by its hardware: check its cooling and its power."
            )
    if not problems and facts.versions.get("torch", "").endswith("+cpu"):
        return CheckResult(
            "GPUs",
            "warning",
            f"torch is a CPU build and cannot use the GPUs ({names}): install the CUDA build of "
            "the pinned release.",
        )
    return _judge("GPUs", problems, f"{names}.")


def check_build_locks(facts: MachineFacts) -> CheckResult:
    """Check that no killed build of a DeepSpeed operator left its lock."""
    problems = []
    if facts.stale_locks:
        problems.append(
            "A killed build of a DeepSpeed operator left its lock, for which every worker would "
            f"wait for ever: run `rm {' '.join(facts.stale_locks)}`."
        )
    return _judge("op builds", problems, "No stale build lock.")


def check_token(facts: MachineFacts) -> CheckResult:
    """Check that Ray's token exists if it is named, and that only its user can read it."""
    if facts.token is None:
        return CheckResult("Ray token", "ok", "The token comes from RAY_AUTH_TOKEN.")
    if facts.token_mode is None and facts.token_named:
        return CheckResult(
            "Ray token",
            "problem",
            f"RAY_AUTH_TOKEN_PATH is {facts.token}, which does not exist, so Ray does not start: "
            "copy the cluster's token there, or run `unset RAY_AUTH_TOKEN_PATH`.",
        )
    if facts.token_mode is None:
        return CheckResult("Ray token", "ok", "No token yet: Ray makes one for a local cluster.")
    mode = f"{facts.token} has mode {facts.token_mode:04o}"
    if facts.token_mode & auth.OTHERS:
        return CheckResult(
            "Ray token",
            "warning",
            f"{mode}, so other users can read it and run code on the cluster: run "
            f"`chmod 600 {facts.token}`.",
        )
    return CheckResult("Ray token", "ok", f"{mode}.")


def check_address(facts: MachineFacts) -> CheckResult:
    """Check whether the environment sends runs to a cluster elsewhere."""
    problems = []
    if facts.address:
        problems.append(
            f"RAY_ADDRESS is {facts.address}, so runs go to that cluster: run `unset RAY_ADDRESS` "
            "to use this machine."
        )
    fine = "RAY_ADDRESS is not set: runs start a Ray of their own on this machine."
    return _judge("Ray address", problems, fine, "warning")


def check_clock(facts: MachineFacts) -> CheckResult:
    """Compare the clock with that of the machine of the command."""
    where, problems = "ahead of" if facts.ahead > 0 else "behind", []
    if abs(facts.ahead) > CLOCK_SECONDS:
        problems.append(
            f"The clock is {abs(facts.ahead):.1f} s {where} that of the machine of the command, so "
            "times in logs are wrong: start a time service such as chrony."
        )
    return _judge("clock", problems, "The clock is right to a second.")


def check_corpus(facts: MachineFacts) -> CheckResult:
    """Check that the machine reads the corpus of the run."""
    return _judge("corpus", facts.corpus_problems, "The corpus is readable.")


MACHINE_CHECKS: tuple[Check, ...] = (
    check_python,
    check_libraries,
    check_packages,
    check_cores,
    check_memory,
    check_disk,
    check_shared_memory,
    check_gpus,
    check_build_locks,
    check_token,
)
NODE_CHECKS: tuple[Check, ...] = (*MACHINE_CHECKS, check_code, check_clock)
"""Checks of a node, which must be like the machine of the command."""
