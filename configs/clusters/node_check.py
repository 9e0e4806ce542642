"""The last step of a node's set-up: is it fit to train? If not, sentences and the exit code 1.

    python node_check.py constraints.txt

It runs before Ray starts and needs nothing but the environment: the releases of the pins, an import
of what trains, and the GPUs if the machine has any.
"""

import importlib
import importlib.metadata
import shutil
import subprocess
import sys
from pathlib import Path

TRAINS = ("torch", "ray", "deepspeed")


def different(pins: str) -> list[str]:
    """A sentence for each pin that is not installed in its release."""
    found = []
    for line in pins.splitlines():
        name, _, pinned = line.partition("==")
        if not pinned or name.startswith("#"):
            continue
        try:
            # A local label, such as +cpu, names a build of the same release.
            installed = importlib.metadata.version(name).partition("+")[0]
        except importlib.metadata.PackageNotFoundError:
            installed = "not installed"
        if installed != pinned:
            found.append(f"{name} is {installed}, pinned is {pinned}")
    return found


def broken() -> list[str]:
    """A sentence for each library of the training that cannot be imported."""
    found = []
    for name in TRAINS:
        try:
            importlib.import_module(name)
        except Exception as error:
            found.append(f"{name} cannot be imported: {error}")
    return found


def unusable_gpus() -> list[str]:
    """A sentence if the driver or torch does not see the GPUs; none on a machine without."""
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
    """Print what is wrong, or that nothing is."""
    found = different(Path(sys.argv[1]).read_text()) + broken()
    # A torch that cannot be imported has been named already.
    found += unusable_gpus() if not found else []
    print("\n".join(found) or "The node has the pinned releases and can use what it has.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
