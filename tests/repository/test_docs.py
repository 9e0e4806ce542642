"""The documents' commands, links, paths and programs work."""

import re
import shlex
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import soundfile
import typer

from datasets import shards
from scaling.cli.main import app
from scaling.config import load
from tests.helpers.clone import CLONE
from tests.helpers.command import scaling_in_new_process
from tests.helpers.sounds import lagged

DOCUMENTS = [CLONE / "README.md", CLONE / "CONTRIBUTING.md", *sorted((CLONE / "docs").glob("*.md"))]
VERBS = typer.main.get_command(app).commands
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)


def commands(start):
    """Return the commands in the documents' code that begin with a text, without comments."""
    found = set()
    for document in DOCUMENTS:
        text = document.read_text()
        lines = [line for _, block in BLOCK.findall(text) for line in block.splitlines()]
        for line in [*lines, *re.findall(r"`([^`\n]+)`", text)]:
            line = line.removeprefix(".venv/bin/")
            if line.startswith("ray job submit"):
                line = line.partition(" -- ")[2]
            if line.startswith(start):
                found.add(line.partition("#")[0].strip())
    return sorted(found)


def test_the_readme_has_the_first_commands_and_fits_on_two_screens():
    assert len((CLONE / "README.md").read_text().splitlines()) <= 150
    assert len(commands("python -m scaling")) > 5
    assert {"make study", "make test"} <= set(commands("make "))


@pytest.mark.parametrize("command", commands("make "))
def test_every_make_target_of_the_documents_exists(command):
    target = command.split()[1]
    assert re.search(rf"^{target}:", (CLONE / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize("command", commands("python -m scaling"))
def test_every_command_of_the_documents_is_one_that_the_program_takes(command):
    _, _, _, *words = shlex.split(command)
    if not words:
        return
    verb, *rest = words
    assert verb in VERBS
    files = [CLONE / word for word in rest if re.search(r"^(?!.*/hardware/).*\.yaml$", word)]
    options = ("--axis", "--guess")
    plain = [word for before, word in pairwise(["", *rest]) if before not in options]
    overrides = [word for word in plain if "=" in word]
    for file in files:
        read = {"prepare": load.corpus, "compare": load.comparison}.get(verb, load.sweep)
        assert read(file, overrides)
    if verb in ("plan", "design", "power", "doctor") and "layres" not in command:
        assert scaling_in_new_process(*words).returncode in (0, 1)


def test_the_program_of_corpora_reads_the_codes_of_a_shard(embedded_corpus):
    text = (CLONE / "docs" / "corpora.md").read_text()
    (program,) = [block for language, block in BLOCK.findall(text) if language == "python"]
    names: dict[str, Any] = {}
    exec(program.replace("data/embedded", str(embedded_corpus.folder)), names)
    entry = embedded_corpus.recordings[0]
    assert names["entry"]["name"] == entry.name
    expected = shards.read(embedded_corpus.folder, entry.location, 0, entry.samples)
    assert np.array_equal(names["codes"], expected)


def test_the_program_of_using_writes_the_corpus_of_a_known_lag_that_the_probe_test_reads(tmp_path):
    text = (CLONE / "docs" / "using.md").read_text()
    (program,) = [
        block for language, block in BLOCK.findall(text) if language == "python" and "LAG" in block
    ]
    short = program.replace("data/source/lagged", str(tmp_path)).replace("10_000", "1_000")
    exec(short, {})
    files = sorted(tmp_path.glob("*.wav"))
    assert len(files) == 24
    for seed, file in enumerate(files):
        samples, rate = soundfile.read(file)
        assert rate == 16_000
        np.testing.assert_allclose(samples, lagged(1_000, seed), atol=2**-15)


def test_paths_that_the_documents_name_exist():
    path = re.compile(r"^(?:(?:datasets|model|scaling|tests|configs|docs|docker)/[\w./-]+)$")
    for document in DOCUMENTS:
        for code in re.findall(r"`([^`\n]+)`", document.read_text()):
            if path.match(code):
                assert (CLONE / code).exists(), f"{document.name} names {code}"


def test_links_between_the_documents_lead_somewhere():
    for document in DOCUMENTS:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"
