"""Where the clone lies that this code runs from."""

from pathlib import Path

CLONE = Path(__file__).resolve().parent.parent
