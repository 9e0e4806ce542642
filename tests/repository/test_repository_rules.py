"""Rules of CONTRIBUTING.md that a program can check: pins, imports, sizes and levels."""

import ast
import importlib.metadata
import itertools
import re
import runpy
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.helpers.clone import CLONE

PACKAGES = ("datasets", "model", "scaling")
SOURCES = sorted(path for package in PACKAGES for path in (CLONE / package).rglob("*.py"))
LONGEST_FILE = 500
LONGEST_FUNCTION = 60
# Files of commands, which import inside their functions.
COMMANDS = {
    f"scaling/cli/{name}.py"
    for name in "audio corpora design fit machine main models plan studies".split()
}
# The CUDA build of torch installs these in the releases that torch itself pins.
CUDA_LIBRARIES = ("cuda-", "nvidia-", "triton")
# No package requires it on Linux; pandas uses it on a machine without a database of time zones.
UNLISTED = {"tzdata"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def name_of(path: Path) -> str:
    return path.relative_to(CLONE).as_posix()


def imported(tree: ast.AST) -> set[str]:
    """Return the top-level packages that a piece of code imports, at any depth."""
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


def pins() -> dict[str, tuple[str, str]]:
    """Return the release and the mark (a group, or nothing) of each line of constraints.txt."""
    found = {}
    for line in (CLONE / "constraints.txt").read_text().splitlines():
        if not line.startswith("#"):
            pin, _, mark = line.partition("  # ")
            name, _, release = pin.partition("==")
            found[canonicalize_name(name)] = (release, mark)
    return found


def direct_requirements() -> dict[str, list[Requirement]]:
    """Return the requirements of pyproject.toml by mark: what runs need, then each group."""
    project = tomllib.loads((CLONE / "pyproject.toml").read_text())["project"]
    groups = {"": project["dependencies"], **project["optional-dependencies"]}
    return {mark: [Requirement(line) for line in lines] for mark, lines in groups.items()}


def all_dependencies(requirements: Iterable[Requirement]) -> set[str]:
    """Return every distribution that the requirements install on this machine."""
    wanted: set[tuple[str, str]] = set()
    waiting = list(requirements)
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
    for requirement in itertools.chain(*direct_requirements().values()):
        name = canonicalize_name(requirement.name)
        assert name in pinned, f"{name} of pyproject.toml has no line in constraints.txt"
        release, _ = pinned[name]
        assert requirement.specifier.contains(release), f"{requirement}, pin {release}"


def test_every_pin_is_installed_in_its_release():
    for name, (release, _) in pins().items():
        installed = importlib.metadata.version(name).split("+")[0]
        assert installed == release, f"{name} {installed} is installed, {release} is pinned"


def test_the_pins_of_runs_and_of_each_group_are_exactly_what_they_install():
    """`make study` installs the pins without a mark, and `make test` those of the groups too."""
    direct = direct_requirements()
    of_runs = all_dependencies(direct.pop(""))
    expected = dict.fromkeys(sorted(of_runs), "")
    for group, requirements in direct.items():
        for name in sorted(all_dependencies(requirements) - of_runs):
            assert name not in expected, f"{name}: {expected[name]} and {group} both install it"
            expected[name] = group
    marks = {name: mark for name, (_, mark) in pins().items() if name not in UNLISTED}
    wrong = {name: mark for name, mark in expected.items() if marks.get(name) != mark}
    assert not wrong, f"constraints.txt lacks these names or marks: {wrong}"
    # Another Python than that of the pins may need fewer packages.
    unneeded = sorted(marks.keys() - expected.keys())
    assert not unneeded or sys.version_info[:2] > (3, 11), f"nothing needs {unneeded}"


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
    ("package", "forbidden"),
    [
        ("datasets", {"model", "scaling"}),
        ("model", {"datasets", "scaling", "ray", "deepspeed"}),
    ],
)
def test_datasets_and_model_do_not_import_forbidden_packages(package: str, forbidden: set[str]):
    for path in sorted((CLONE / package).rglob("*.py")):
        found = imported(ast.parse(path.read_text())) & forbidden
        assert not found, f"{name_of(path)} imports {', '.join(sorted(found))}"


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_imports_are_at_the_top_of_the_file(path: Path):
    if name_of(path) in COMMANDS or name_of(path) == "scaling/__main__.py":
        # --help starts without torch and Ray, and the program checks where its packages come from
        # before it imports them.
        return
    for function in functions(path):
        found = imported(function)
        assert not found, f"{function.name} in {name_of(path)} imports {', '.join(sorted(found))}"


def test_no_work_is_left_as_a_note_in_the_code():
    notes = re.compile(r"\b(TO" + "DO|FIX" + r"ME)\b")
    for folder in (*PACKAGES, "configs", "tests"):
        for path in (CLONE / folder).rglob("*"):
            if path.suffix in {".py", ".yaml", ".md"}:
                found = notes.search(path.read_text())
                assert not found, f"{name_of(path)} has a {found.group()}: do it, or delete it"


def test_packages_of_scaling_import_downwards_alone():
    command = [sys.executable, "tests/repository/check_levels.py"]
    result = subprocess.run(command, cwd=CLONE, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_architecture_names_the_packages_of_each_level():
    levels = runpy.run_path(str(CLONE / "tests/repository/check_levels.py"))["LEVELS"]
    text = (CLONE / "docs/architecture.md").read_text()
    rows = re.findall(r"^\| (\d) \| ([^|]+) \|", text, re.MULTILINE)
    found = {int(level): tuple(re.findall(r"`(\w+)`", names)) for level, names in rows}
    assert found == levels


def test_only_the_entry_points_lie_outside_of_the_packages():
    files = {path.name for path in (CLONE / "scaling").glob("*.py")}
    assert files == {"__init__.py", "__main__.py"}


def test_tests_import_from_their_helpers_alone():
    for path in sorted((CLONE / "tests").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "tests":
                assert node.module.startswith("tests.helpers"), f"{name_of(path)}: {node.module}"
