"""Preparation of many files and of long ones: memory, and processes killed at any moment."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest
import soundfile

from datasets.manifest import Corpus
from scaling.common.paths import CLONE

pytestmark = pytest.mark.slow

RATE = 16_000
SHORT_FILES = 20_000
LONG_SAMPLES = 6 * 3600 * RATE
KILLS = 3
MOST_MEMORY = 1.5 * 2**30


def codes_of_noise():
    noise = np.random.default_rng(0).normal(0, 0.05, 2**20)
    return (np.convolve(noise, np.hanning(8) / 4, "same") * 2**15).clip(-32768, 32767).astype("<i2")


def many(root):
    """Write 20,000 different files of about a tenth of a second."""
    base = codes_of_noise()
    for i in range(SHORT_FILES):
        folder = root / f"{i // 1000:02}"
        folder.mkdir(parents=True, exist_ok=True)
        begin = i * 52_361 % (len(base) - 2_000)
        length = 400 + i * 7_919 % 1_600
        soundfile.write(folder / f"{i:05}.wav", base[begin : begin + length], RATE)


def long(root):
    """Write a file of six hours."""
    root.mkdir(parents=True)
    base = codes_of_noise()
    with soundfile.SoundFile(root / "long.wav", "w", RATE, 1, "PCM_16") as file:
        for i, begin in enumerate(range(0, LONG_SAMPLES, len(base))):
            file.write(np.roll(base, i * 977)[: LONG_SAMPLES - begin])


def command(folder, destination):
    config = folder / f"{destination}.yaml"
    rule = "time" if folder.name == "long" else "hash"
    config.write_text(
        f"name: {folder.name}\nroot: {folder / 'audio'}\ndestination: {folder / destination}\n"
        f"licence: CC0\nsplit: {{rule: {rule}, fractions: [0.8, 0.1, 0.1]}}\n"
    )
    return [sys.executable, "-m", "scaling", "prepare", str(config)]


def started(words, environment=None):
    return subprocess.Popen(
        words,
        cwd=CLONE,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def peaks(process):
    """Return the peak resident memory (bytes) of the process and its descendants, by pid."""
    highest = {}
    while process.poll() is None:
        try:
            family = psutil.Process(process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            break
        for pid in [process.pid, *(child.pid for child in family)]:
            try:
                with open(f"/proc/{pid}/status") as status:
                    fields = dict(line.split(":", 1) for line in status)
            except OSError:
                continue
            if "VmHWM" in fields:
                highest[pid] = int(fields["VmHWM"].split()[0]) * 1024
        time.sleep(0.5)
    return highest


def content(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module", params=[many, long], ids=["many", "long"])
def undisturbed(request, tmp_path_factory):
    """Return a folder with the audio and the corpus ``whole``, and its processes' memory peaks."""
    folder = tmp_path_factory.mktemp("scale") / request.param.__name__
    request.param(folder / "audio")
    alone = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    # With its own Ray, the processes do nothing else.
    process = started(command(folder, "whole"), alone)
    highest = peaks(process)
    assert process.wait() == 0, process.stderr.read().decode()[-2_000:]
    return folder, highest


@pytest.mark.fault(
    "Audio files",
    "a corpus has a recording of six hours and 20,000 files",
    "no process takes over 1.5 GiB",
)
def test_no_process_takes_more_than_a_gibibyte_and_a_half(undisturbed):
    folder, highest = undisturbed
    corpus = Corpus.load(folder / "whole")
    files, samples = (1, LONG_SAMPLES) if folder.name == "long" else (SHORT_FILES, None)
    assert len(corpus.recordings) == files
    assert samples in (None, corpus.recordings[0].samples)
    assert len(highest) > 3
    assert max(highest.values()) < MOST_MEMORY


@pytest.mark.fault(
    "Processes",
    "`prepare` is killed (SIGKILL) three times",
    "the corpus is bit for bit that of an undisturbed call",
)
def test_a_corpus_prepared_through_three_kills_is_bit_for_bit_the_same(undisturbed, ray_session):
    folder, _ = undisturbed
    words = command(folder, "killed")
    draws = np.random.default_rng(len(folder.name))
    killed = 0
    for _ in range(KILLS):
        process = started(words)
        try:
            process.wait(timeout=3 + draws.uniform(0, 5))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            killed += 1
        process.wait()
    assert killed == KILLS
    process = started(words)
    assert process.wait() == 0, process.stderr.read().decode()[-2_000:]
    assert content(folder / "killed") == content(folder / "whole")
