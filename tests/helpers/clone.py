"""Folder of the clone under test, and free ports of this machine."""

import socket
from pathlib import Path

CLONE = Path(__file__).resolve().parents[2]


def free_port() -> int:
    """Return a TCP port on which no process listens now."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])
