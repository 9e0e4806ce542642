"""What a worker is told about the run that it is part of."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets.storage import Folder
from scaling.config import RunConfig


@dataclass(frozen=True)
class Job:
    """The run, what its sweep varied, and where things are (absolute paths)."""

    config: RunConfig
    axes: dict[str, Any]
    corpus_folder: Folder
    run_folder: Path
    code_version: str
