"""Runs, sweeps, records, fits, reports and the command line. Importing it imports no library."""

import os
from pathlib import Path

if not Path("/dev/nvidia0").exists():
    # DeepSpeed would look for accelerators at its import, and say at length that it found none.
    os.environ.setdefault("DS_ACCELERATOR", "cpu")
