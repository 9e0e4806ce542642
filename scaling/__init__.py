"""Runs, sweeps, records, fits, reports and the command line. Importing it imports no library."""

import os
from pathlib import Path

# NumPy's arrays here are small, and its threads would only wait for each other on a busy machine.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

if not Path("/dev/nvidia0").exists():
    # DeepSpeed would look for accelerators at its import, and say at length that it found none.
    os.environ.setdefault("DS_ACCELERATOR", "cpu")
