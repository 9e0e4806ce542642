"""The folder of the clone that the tests run in, and free ports of this machine."""

import socket
from pathlib import Path

CLONE = Path(__file__).resolve().parents[2]


def free_port() -> int:
    """Return a TCP port that no process listens on now."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])
