"""Check that a node can train: the last step of its set-up.

    python node_check.py constraints.txt

Compare the installed packages with the pins that runs need, import the libraries that train, and
count the GPUs. Print a sentence for each problem and exit with 1 if there is any. The check runs
before Ray starts and needs nothing but the environment.
"""

import importlib
import importlib.metadata
import shutil
import subprocess
import sys
from pathlib import Path

TRAINS = ("torch", "ray", "deepspeed")


def different(pins: str) -> list[str]:
    """Return a sentence for each pin that runs need and that is not installed in its release."""
    found = []
    for line in pins.splitlines():
        # Lines with a space are remarks, and pins of optional groups, which no node needs.
        if not line or " " in line:
            continue
        name, _, pinned = line.partition("==")
        try:
            # A local label, such as +cpu, names a build of the same release.
            installed = importlib.metadata.version(name).partition("+")[0]
        except importlib.metadata.PackageNotFoundError:
            installed = "not installed"
        if installed != pinned:
            found.append(f"{name} is {installed}, pinned is {pinned}")
    return found


def broken() -> list[str]:
    """Return a sentence for each training library that cannot be imported."""
    found = []
    for name in TRAINS:
        try:
            importlib.import_module(name)
        except Exception as error:
            found.append(f"{name} cannot be imported: {error}")
    return found


def unusable_gpus() -> list[str]:
    """Return a sentence if the driver or torch does not see the GPUs; none without GPUs."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    answer = subprocess.run([program, "--list-gpus"], capture_output=True, text=True, check=False)
    if answer.returncode:
        return [f"nvidia-smi fails: {answer.stdout}{answer.stderr}".strip()]
    shown = len(answer.stdout.splitlines())
    usable = importlib.import_module("torch").cuda.device_count()
    if usable == shown:
        return []
    return [f"nvidia-smi shows {shown} GPUs and torch can use {usable}"]


def main() -> int:
    """Print every problem, or that there is none."""
    found = different(Path(sys.argv[1]).read_text()) + broken()
    # A torch that cannot be imported has been named already.
    found += unusable_gpus() if not found else []
    print("\n".join(found) or "The node has the pinned releases and can use what it has.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
