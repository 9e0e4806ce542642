"""Where the clone lies that this code runs from, and what in it is code."""

from pathlib import Path

CLONE = Path(__file__).resolve().parents[2]
PACKAGES = ("datasets", "model", "scaling")
