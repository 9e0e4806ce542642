"""Runs, sweeps, records, fits, reports and the command line. Importing it imports no library."""

import os
import sys
from pathlib import Path
from types import SimpleNamespace

# NumPy's arrays here are small, and its threads would only wait for each other on a busy machine.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

if not Path("/dev/nvidia0").exists():
    # DeepSpeed would look for accelerators at its import, and say at length that it found none.
    os.environ.setdefault("DS_ACCELERATOR", "cpu")

# DeepSpeed's tuner of its own settings, which nothing here uses, would load all of MLflow into each
# worker at each start, where that is installed.
TUNER = "deepspeed.autotuning.autotuner"
sys.modules.setdefault(TUNER, SimpleNamespace(Autotuner=None))  # type: ignore[arg-type]
