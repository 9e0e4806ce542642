"""Image of a cluster's nodes, checked without building it."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.clone import CLONE
from tests.helpers.cluster_files import SECRETS, pinned

FILE = CLONE / "docker" / "Dockerfile"
# Continued lines are one instruction.
INSTRUCTIONS = [
    line.split(maxsplit=1)
    for line in FILE.read_text().replace("\\\n", " ").splitlines()
    if line and not line.startswith("#")
]


def of(word: str) -> list[str]:
    return [rest for name, rest in INSTRUCTIONS if name == word]


def test_a_linter_finds_nothing():
    program = Path(sys.executable).parent / "hadolint"
    found = subprocess.run([program, FILE], capture_output=True, text=True)
    assert found.returncode == 0, found.stdout + found.stderr
    assert not found.stdout


def test_the_base_of_the_image_is_the_pinned_ray():
    assert of("FROM") == [f"rayproject/ray:{pinned('ray')}-py311-gpu"]


def test_it_installs_the_pins_and_checks_them():
    install = next(run for run in of("RUN") if "pip install" in run)
    assert "grep --invert-match ' ' constraints.txt > pins.txt" in install
    assert install.endswith("--requirement pins.txt")
    assert of("RUN")[-1] == "python node_check.py constraints.txt"


def test_everything_that_it_copies_is_in_the_clone():
    for line in of("COPY"):
        *files, _ = [word for word in line.split() if not word.startswith("--")]
        assert all((CLONE / file).is_file() for file in files)


@pytest.mark.fault("Security", "a program in the image is taken over", "it is not root")
def test_the_image_ends_as_a_user_other_than_root():
    assert of("USER")[-1] == "1000"


def test_the_file_has_no_secret():
    assert not SECRETS.search(FILE.read_text())
    assert not [line for line in of("ENV") + of("ARG") if "TOKEN" in line or "PASSWORD" in line]
