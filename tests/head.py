"""A cluster beside that of the session, as ``ray start`` makes one."""

import os
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import psutil

from tests.conftest import free_port


class Head:
    """The head of a cluster of its own, which can be killed whole and started again."""

    def __init__(self, folder):
        self.port = free_port()
        self._words = [
            *("ray", "start", "--head", "--block", f"--port={self.port}", "--num-cpus=3"),
            *("--node-ip-address=127.0.0.1", f"--temp-dir={folder}"),
            *("--include-dashboard=true", f"--dashboard-port={free_port()}"),
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


@contextmanager
def running_head():
    """A head that runs while the block does, unless it is killed."""
    # The path of a socket may not be longer than 107 characters.
    with tempfile.TemporaryDirectory(prefix="ray") as folder:
        head = Head(folder)
        head.start()
        try:
            yield head
        finally:
            head.kill()
