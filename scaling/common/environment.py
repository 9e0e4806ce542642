"""Versions of the libraries and of this code. Imports the standard library alone."""

import hashlib
import platform
import subprocess
from importlib.metadata import version
from importlib.util import find_spec

from scaling.common.paths import CLONE, PACKAGES

LIBRARIES = ("torch", "ray", "deepspeed", "pyarrow", "numpy", "soundfile", "soxr")


def versions() -> dict[str, str]:
    """Return the versions of Python and of the installed libraries that affect a result."""
    return {"python": platform.python_version()} | {
        name: version(name) for name in LIBRARIES if find_spec(name)
    }


def code_version() -> str:
    """Return the commit of the clone, with ``-dirty`` if files differ; without git, their digest.

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
    """Return a digest of all source files, 12 hexadecimal digits."""
    digest = hashlib.sha256()
    for package in PACKAGES:
        for path in sorted((CLONE / package).rglob("*.py")):
            digest.update(f"{path.relative_to(CLONE).as_posix()}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:12]
