"""Commands of `python -m scaling`, forked from a process that has imported PyTorch.

The import would take each of a hundred commands some seconds.
"""

import atexit
import json
import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.helpers.clone import CLONE

SECONDS = 300


def scaling(*words, **environment):
    """Run a command with these variables besides those of the tests."""
    words = ["scaling", *map(str, words)]
    forks = multiprocessing.get_context("forkserver")
    multiprocessing.set_forkserver_preload(
        ["scaling.benchmarks.worker_bench", "pandas", "matplotlib.figure"]
    )
    with tempfile.TemporaryDirectory() as folder:
        said = [Path(folder) / name for name in ("stdout", "stderr")]
        process = forks.Process(target=_run, args=(words, {**os.environ, **environment}, *said))
        process.start()
        process.join(SECONDS)
        if process.exitcode is None:
            process.kill()
            raise subprocess.TimeoutExpired(words, SECONDS)
        stdout, stderr = (path.read_text() for path in said)
    return subprocess.CompletedProcess(words, process.exitcode, stdout, stderr)


def _run(words, environment, stdout, stderr):
    for path, number in ((stdout, 1), (stderr, 2)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(CLONE)
    sys.argv = words
    try:
        runpy.run_module("scaling", run_name="__main__", alter_sys=True)
    finally:
        # A forked process does not run these at its end.
        atexit._run_exitfuncs()


def scaling_in_new_process(*words, **environment):
    return subprocess.run(
        [sys.executable, "-m", "scaling", *map(str, words)],
        cwd=CLONE,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, **environment},
    )


def executable(path: Path, script: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def rehearse(corpus, *words):
    """Return the JSON of ``rehearse`` for the demo's first run on this corpus."""
    sweep = ("--config", "configs/sweeps/demo.yaml", f"corpus={corpus.folder}", "train.zero=2")
    done = subprocess.run(
        [sys.executable, "-m", "scaling", "rehearse", *sweep, *words, "--json"],
        cwd=CLONE,
        capture_output=True,
        text=True,
        timeout=1_500,
        env={**os.environ, "DS_ACCELERATOR": "cpu"},
    )
    assert done.stdout.startswith("{"), done.stderr
    return json.loads(done.stdout)
