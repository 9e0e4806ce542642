"""What the documents tell a reader to type works."""

import re
import shlex
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import soundfile

from datasets import shards
from scaling.config import load
from tests.helpers.clone import CLONE
from tests.helpers.command import scaling_in_new_process
from tests.helpers.sounds import lagged

DOCUMENTS = [CLONE / "README.md", CLONE / "CONTRIBUTING.md", *sorted((CLONE / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)


def commands(start):
    """Every command of the documents' blocks and inline code that begins so, comments left out."""
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


@cache
def known(verb):
    """Whether the program has this verb; each takes a process, and many commands share one."""
    return scaling_in_new_process(verb, "--help").returncode == 0


def test_the_documents_tell_what_to_type():
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
    assert known(verb)
    files = [CLONE / word for word in rest if re.search(r"^(?!.*/hardware/).*\.yaml$", word)]
    options = ("--axis", "--guess")
    plain = [word for before, word in pairwise(["", *rest]) if before not in options]
    overrides = [word for word in plain if "=" in word]
    for file in files:
        read = {"prepare": load.corpus, "compare": load.comparison}.get(verb, load.sweep)
        assert read(file, overrides)
    if verb in ("plan", "design", "power", "doctor") and "layres" not in command:
        assert scaling_in_new_process(*words).returncode in (0, 1)


def test_the_lines_that_read_a_shard_without_longwave_read_its_codes(embedded_corpus):
    text = (CLONE / "docs" / "corpora.md").read_text()
    (program,) = [block for language, block in BLOCK.findall(text) if language == "python"]
    names: dict[str, Any] = {}
    exec(program.replace("data/embedded", str(embedded_corpus.folder)), names)
    entry = embedded_corpus.recordings[0]
    assert names["entry"]["name"] == entry.name
    expected = shards.read(embedded_corpus.folder, entry.place, 0, entry.samples)
    assert np.array_equal(names["codes"], expected)


def test_the_lines_that_write_a_corpus_of_a_known_lag_write_the_one_that_the_probe_is_held_to(
    tmp_path,
):
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


def test_links_between_the_documents_lead_somewhere():
    for document in DOCUMENTS:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"
