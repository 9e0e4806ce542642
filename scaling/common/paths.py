"""Folder and packages of the clone that this code runs from. Imports the standard library alone."""

import importlib.util
from pathlib import Path

CLONE = Path(__file__).resolve().parents[2]
PACKAGES = ("datasets", "model", "scaling")


def foreign_packages(clone: Path) -> list[str]:
    """Return one sentence for each package of the clone that Python would import from elsewhere.

    ``datasets`` is also the import name of a well-known library. An installed copy, or another
    order of ``sys.path``, can take its place.
    """
    return [
        f"`{name}` {origin}, not in the clone {clone}. Run `cd {clone} && python -m scaling ...`, "
        f"in an environment without a package `{name}`."
        for name in PACKAGES
        if (origin := _foreign_origin(name, clone)) is not None
    ]


def _foreign_origin(name: str, clone: Path) -> str | None:
    """Return where Python finds the package, or None if that is its folder in the clone."""
    spec = importlib.util.find_spec(name)
    if spec is None:
        return "is not found"
    folders = [Path(folder).resolve() for folder in spec.submodule_search_locations or []]
    if folders == [(clone / name).resolve()]:
        return None
    return f"resolves to {', '.join(map(str, folders)) or spec.origin}"
