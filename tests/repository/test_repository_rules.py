"""The rules of the house that a program can check: pins, rooms, sizes and the README's tree."""

import ast
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.helpers.clone import CLONE

ROOMS = ("datasets", "model", "scaling")
SOURCES = sorted(path for room in ROOMS for path in (CLONE / room).rglob("*.py"))
LONGEST_FILE = 500
LONGEST_FUNCTION = 60
# The files of the verbs: each imports what it needs inside the verb.
VERBS = {
    f"scaling/cli/{name}.py"
    for name in "audio corpora design fit machine main models plan studies".split()
}
# What the CUDA build of torch brings along; torch itself pins these.
CUDA_LIBRARIES = ("cuda-", "nvidia-", "triton")

Function = ast.FunctionDef | ast.AsyncFunctionDef


def name_of(path: Path) -> str:
    return path.relative_to(CLONE).as_posix()


def imported(tree: ast.AST) -> set[str]:
    """The top-level packages that a piece of code imports, wherever in it."""
    packages = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            packages |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            packages.add(node.module.partition(".")[0])
    return packages


def functions(path: Path) -> Iterator[Function]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, Function):
            yield node


def pins() -> dict[str, str]:
    lines = (CLONE / "constraints.txt").read_text().splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in pairs}


def direct_requirements() -> list[Requirement]:
    project = tomllib.loads((CLONE / "pyproject.toml").read_text())["project"]
    lines = project["dependencies"] + project["optional-dependencies"]["dev"]
    return [Requirement(line) for line in lines]


def dependencies() -> set[str]:
    """Every distribution that the direct requirements bring, on this machine."""
    wanted: set[tuple[str, str]] = set()
    waiting = direct_requirements()
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        for extra in ["", *requirement.extras]:
            if (name, extra) in wanted or name.startswith(CUDA_LIBRARIES):
                continue
            wanted.add((name, extra))
            for line in importlib.metadata.requires(name) or []:
                needed = Requirement(line)
                if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                    waiting.append(needed)
    return {name for name, _ in wanted}


def test_every_direct_requirement_is_pinned_to_a_release_that_it_allows():
    pinned = pins()
    for requirement in direct_requirements():
        name = canonicalize_name(requirement.name)
        assert name in pinned, f"{name} of pyproject.toml has no line in constraints.txt"
        assert requirement.specifier.contains(pinned[name]), f"{requirement}, pin {pinned[name]}"


def test_every_installed_dependency_is_pinned_to_the_installed_release():
    pinned = pins()
    for name in sorted(dependencies()):
        installed = importlib.metadata.version(name).split("+")[0]
        assert pinned.get(name) == installed, (
            f"{name} {installed} is installed and constraints.txt says {pinned.get(name)}"
        )


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_files_and_functions_stay_short(path: Path):
    lines = len(path.read_text().splitlines())
    assert lines <= LONGEST_FILE, f"{name_of(path)} has {lines} lines, allowed are {LONGEST_FILE}"
    for function in functions(path):
        lines = function.end_lineno - function.lineno + 1
        assert lines <= LONGEST_FUNCTION, (
            f"{function.name} in {name_of(path)} has {lines} lines, allowed are {LONGEST_FUNCTION}"
        )


@pytest.mark.parametrize(
    ("room", "forbidden"),
    [
        ("datasets", {"model", "scaling"}),
        ("model", {"datasets", "scaling", "ray", "deepspeed"}),
    ],
)
def test_rooms_do_not_import_what_they_must_not_know(room: str, forbidden: set[str]):
    for path in sorted((CLONE / room).rglob("*.py")):
        found = imported(ast.parse(path.read_text())) & forbidden
        assert not found, f"{name_of(path)} imports {', '.join(sorted(found))}"


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_imports_stand_at_the_top_of_the_file(path: Path):
    if name_of(path) in VERBS or name_of(path) == "scaling/__main__.py":
        # The verbs import what they need, so that --help starts without torch and Ray, and the
        # program looks where its packages come from before it imports them.
        return
    for function in functions(path):
        found = imported(function)
        assert not found, f"{function.name} in {name_of(path)} imports {', '.join(sorted(found))}"


def test_no_work_is_left_as_a_note_in_the_code():
    notes = re.compile(r"\b(TO" + "DO|FIX" + r"ME)\b")
    for folder in (*ROOMS, "configs", "tests"):
        for path in (CLONE / folder).rglob("*"):
            if path.suffix in {".py", ".yaml", ".md"}:
                found = notes.search(path.read_text())
                assert not found, f"{name_of(path)} holds a {found.group()}: do it, or drop it"


def tree_of_readme() -> tuple[set[str], set[str]]:
    """Files and childless folders in the block under "The tree"; a folder ends with a slash."""
    readme = (CLONE / "README.md").read_text()
    block = re.search(r"^#+ The tree\n.*?^```text\n(.*?)^```", readme, re.DOTALL | re.MULTILINE)
    assert block, 'README.md has no ```text block under a heading "The tree"'
    entries: set[str] = set()
    parents: set[str] = set()
    above: list[tuple[int, str]] = []
    for line in filter(str.strip, block.group(1).splitlines()):
        indent = len(line) - len(line.lstrip(" "))
        while above and above[-1][0] >= indent:
            above.pop()
        folder = above[-1][1] if above else ""
        entry = folder + line.split()[0]
        parents.add(folder)
        entries.add(entry)
        if entry.endswith("/"):
            above.append((indent, entry))
    leaves = entries - parents
    return {leaf for leaf in leaves if leaf[-1] != "/"}, {
        leaf for leaf in leaves if leaf[-1] == "/"
    }


def test_the_tree_in_the_readme_names_exactly_the_tracked_files():
    listing = subprocess.run(
        ["git", "ls-files"], cwd=CLONE, capture_output=True, text=True, check=True
    )
    tracked = set(listing.stdout.splitlines())
    files, folders = tree_of_readme()
    assert files <= tracked, f"named and not tracked: {sorted(files - tracked)}"
    for folder in sorted(folders):
        assert any(file.startswith(folder) for file in tracked), f"{folder} holds no tracked file"
    # Code and configurations are named one by one; a folder's line may stand for anything else.
    summarised = {
        file
        for file in tracked
        if file.startswith(tuple(folders))
        and (file.startswith("tests/") or not file.endswith((".py", ".yaml")))
    }
    missing = tracked - files - summarised
    assert not missing, f"tracked and not named: {sorted(missing)}"


def test_packages_of_scaling_import_downwards_alone():
    command = [sys.executable, "tests/repository/check_levels.py"]
    result = subprocess.run(command, cwd=CLONE, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


def test_only_the_entry_points_lie_outside_of_the_packages():
    files = {path.name for path in (CLONE / "scaling").glob("*.py")}
    assert files == {"__init__.py", "__main__.py"}


def test_tests_import_from_their_helpers_alone():
    for path in sorted((CLONE / "tests").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "tests":
                assert node.module.startswith("tests.helpers"), f"{name_of(path)}: {node.module}"
