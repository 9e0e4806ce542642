"""The table of runs that a fit reads: a CSV file, or the finished runs of a study."""

from pathlib import Path

import pandas as pd

from scaling.analysis.records import check_records_comparable, load_records, rows, sorted_records
from scaling.fitting.loss_table import read


def read_run_table(path: Path) -> pd.DataFrame:
    """A CSV, or the finished runs of a study's folder."""
    if not path.is_dir():
        return read(path)
    records, _ = load_records(path)
    check_records_comparable(records)
    return pd.DataFrame(rows(sorted_records(records)))
