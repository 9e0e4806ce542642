"""The framework: runs, sweeps, records, fits, reports and the command line."""

import os

# NumPy's arrays are small here: on a busy machine its threads would only wait for each other.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
