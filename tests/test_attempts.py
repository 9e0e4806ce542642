"""A run's starts where the whole cluster is lost between them."""

import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import yaml

from scaling import attempts
from scaling.attempts import TrainingError
from scaling.faults import Fault
from scaling.log import RunHistory
from scaling.train import make_job, train
from tests.conftest import CLONE, free_port
from tests.runs import plain_losses, small_run
from tests.test_train import digests, expected_digests, losses, wait_for_steps


class Head:
    """The head of a cluster of its own, which can be killed whole and started again."""

    def __init__(self, folder):
        self.port = free_port()
        self._words = [
            *("ray", "start", "--head", "--block", f"--port={self.port}", "--num-cpus=3"),
            *("--node-ip-address=127.0.0.1", "--include-dashboard=false", f"--temp-dir={folder}"),
        ]
        self.environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "RAY_ADDRESS": f"127.0.0.1:{self.port}",
            # A driver without its head gives up in seconds, not in a minute.
            "RAY_gcs_rpc_server_reconnect_timeout_s": "5",
        }

    def start(self):
        self._process = subprocess.Popen(
            self._words, env={**self.environment, "RAY_ADDRESS": ""}, stdout=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 60
        while not self._answers():
            assert time.monotonic() < deadline, "the head does not answer"
            time.sleep(0.2)

    def _answers(self):
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def kill(self):
        """SIGKILL to everything of the head at once, as a machine that is switched off."""
        if self._process.poll() is not None:
            return
        processes = psutil.Process(self._process.pid).children(recursive=True)
        for process in [self._process, *processes]:
            process.kill()
        self._process.wait()
        psutil.wait_procs(processes)


class Failed(Exception):
    """What Ray Train raises where workers failed."""

    def __init__(self, **failures):
        super().__init__("training failed")
        self.worker_failures = {int(rank[1:]): RuntimeError(why) for rank, why in failures.items()}


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            Failed(_1="Traceback\n  line\nValueError: no such corpus"),
            "worker 1: ValueError: no such",
        ),
        (
            Failed(_0="Connection closed by peer", _1="The actor is dead because its worker died"),
            "worker 1 died: its process or its node is gone",
        ),
        (Failed(_0="Connection reset by peer"), "worker 0 lost its connection to another worker"),
        (
            Failed(_1="x\nCUDA out of memory. Tried to allocate 2 GiB\ny"),
            "CUDA out of memory. Tried to allocate 2 GiB: smaller pieces of a batch are tried",
        ),
        (
            RuntimeError(
                "2 workers were killed due to the node running low on memory\nRefer to the"
            ),
            "the node running low on memory: smaller pieces",
        ),
    ],
)
def test_the_reason_of_a_failure_is_a_sentence_that_names_its_cause(error, words):
    assert words in attempts._reason(error)
    assert len(attempts._reason(error).splitlines()) == 1


@pytest.mark.slow
def test_a_worker_that_lacks_memory_for_single_windows_ends_the_run_with_what_to_write(
    embedded_corpus, tmp_path
):
    config = small_run(embedded_corpus, tmp_path, train__batch=2, train__steps=8)
    faults = (Fault("memory", 3, once=False),)
    with pytest.raises(TrainingError, match=r"takes one window at a time already: write a lower"):
        train(make_job(config, {}, faults))
    pieces = [start["pieces"] for start in RunHistory.read(config.folder).starts]
    assert pieces == [1, 2]


@pytest.mark.slow
def test_a_run_whose_head_was_killed_goes_on_under_a_new_head(embedded_corpus, tmp_path):
    config = small_run(embedded_corpus, tmp_path, train__steps=80)
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(config.resolved()))
    command = [sys.executable, "-m", "scaling", "train", "--config", str(path)]
    # The path of a socket may not be longer than 107 characters.
    with tempfile.TemporaryDirectory(prefix="ray") as folder:
        head = Head(folder)
        head.start()
        try:
            driver = subprocess.Popen(command, cwd=CLONE, env=head.environment)
            wait_for_steps(config, 20)
            head.kill()
            assert driver.wait(timeout=120) != 0
            head.start()
            done = subprocess.run(
                command, cwd=CLONE, env=head.environment, capture_output=True, timeout=300
            )
            assert done.returncode == 0, done.stdout + done.stderr
        finally:
            head.kill()
    first, second = RunHistory.read(config.folder).starts
    assert first["step"] == 0 and second["step"] >= 3
    assert digests(config) == expected_digests(config, embedded_corpus)
    np.testing.assert_allclose(losses(config), plain_losses(config, embedded_corpus), atol=2e-3)
