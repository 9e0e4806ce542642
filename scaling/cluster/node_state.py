"""What a node of a cluster is like, looked at on the node itself."""

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from datasets.manifest import Corpus, ManifestError
from datasets.verify import quick_check
from scaling.common import environment

GIB = 2**30
GPU_QUERY = (
    "index",
    "name",
    "memory.used",
    "ecc.errors.uncorrected.volatile.total",
    "clocks_throttle_reasons.hw_slowdown",
)
BUSY_GPU = GIB
"""Memory of a GPU in use, in bytes, that says that somebody else works on it."""


@dataclass(frozen=True)
class NodeState:
    """A node's software, free bytes by folder, and sentences about its GPUs and its corpus."""

    versions: dict[str, str]
    files: str
    free: dict[str, int]
    gpus: int
    gpu_problems: list[str]
    corpus_problems: list[str]


def inspect_node(folders: Sequence[str], corpus: str | None, fingerprint: str | None) -> NodeState:
    """The state of the node that this runs on.

    ``fingerprint`` is that of the corpus where the run was asked for.
    """
    gpus, gpu_problems = inspect_gpus()
    return NodeState(
        versions=environment.versions(),
        files=environment.files_digest(),
        free={name: shutil.disk_usage(name).free for name in folders if Path(name).exists()},
        gpus=gpus,
        gpu_problems=gpu_problems,
        corpus_problems=inspect_corpus(corpus, fingerprint) if corpus else [],
    )


def inspect_gpus() -> tuple[int, list[str]]:
    """The number of GPUs, and a sentence for each that is not fit to train."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return 0, []
    query = [program, f"--query-gpu={','.join(GPU_QUERY)}", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        return 0, [f"nvidia-smi fails ({error}): reboot the node or replace it"]
    lines = answer.stdout.strip().splitlines()
    return len(lines), [sentence for line in lines for sentence in _gpu_problems(line)]


def _gpu_problems(line: str) -> list[str]:
    index, name, used, errors, slow = (part.strip() for part in line.split(","))
    gpu, found = f"GPU {index} ({name})", []
    if errors.isdigit() and int(errors):
        found.append(
            f"{gpu} has had {errors} memory errors that it could not correct: reboot the node, and "
            "replace it if they come again"
        )
    if used.isdigit() and int(used) * 2**20 > BUSY_GPU:
        found.append(
            f"{gpu} has {int(used) * 2**20 / GIB:.1f} GiB of its memory in use: end what uses it "
            "(`nvidia-smi` names it)"
        )
    if slow == "Active":
        found.append(f"{gpu} is slowed down by its hardware: look at its cooling and its power")
    return found


def inspect_corpus(corpus: str, fingerprint: str | None) -> list[str]:
    """A sentence where the corpus cannot be read here, or is another one than at the driver."""
    try:
        found = Corpus.load(corpus)
    except (ManifestError, OSError) as error:
        return [str(error)]
    if fingerprint and found.fingerprint != fingerprint:
        return [
            f"{corpus} has the fingerprint {found.fingerprint[:12]}, where the command was typed "
            f"it has {fingerprint[:12]}: name a corpus that all nodes share"
        ]
    return quick_check(found)
