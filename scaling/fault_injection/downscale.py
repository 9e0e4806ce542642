"""A run downscaled to seconds on a few cores, with its kind of model, targets and corpus."""

from pathlib import Path
from typing import Any

from scaling.config.load import with_values
from scaling.config.run_config import RunConfig

CHUNKS = 4
FILTERS = 8
"""Filters of each convolution. Their number stays that of the run."""
LATENT = {
    "width": 16,
    "layers": 2,
    "heads": 2,
    "head_size": 8,
    "feed_forward": 32,
    "hidden": 32,
}
SEQUENCE = 400
BASELINES: dict[str, dict[str, Any]] = {
    "wavenet": {"blocks": 2, "layers": 3, "embedding": 7, "residual": 6, "skip": 19, "end": 18},
    "samplernn": {"frame_sizes": [4, 3, 2], "width": 6, "embedding": 5, "truncation": 120},
    "sashimi": {"layers": 1, "width": 6, "state": 8, "pools": [2, 3]},
}
CPUS = 2
"""CPUs of each worker: more than the head has, so that no worker runs there."""
BATCH = 12
"""Windows of a step, which 1, 2, 3, 4, 6 or 12 workers can share."""


def downscaled(config: RunConfig, storage: Path, workers: int, steps: int, every: int) -> RunConfig:
    """Return the run with ``steps`` steps and a checkpoint at ``every`` so many, on CPUs.

    Its folder is in ``storage``. Random parts of the model stay, such as dropout.
    """
    values: dict[str, Any] = {
        "train.batch": BATCH,
        "train.accumulate": 1,
        "train.steps": steps,
        "train.seconds": None,
        "train.checkpoint_every": every,
        "windows.unique": None,
        "validation": {"windows": 4, "per_window": 4, "spacing": 1_000, "every": steps},
        "cluster": {
            "workers": workers,
            "cpus_per_worker": CPUS,
            "storage": str(storage),
            "hang_seconds": 20,
        },
    }
    chunk = config.model.chunk
    if config.model.kind == "latent":
        values |= {f"model.{name}": value for name, value in LATENT.items()}
        several = config.windows.targets != "last"
        values |= {
            "model.filters": [FILTERS] * len(config.model.strides),
            "model.context": CHUNKS * chunk,
            "windows.per_window": None if several else 2,
            "windows.phases": 1 if config.windows.phases else None,
            "windows.history": None,
            "validation.spacing": chunk,
        }
    else:
        values |= {f"model.{name}": value for name, value in BASELINES[config.model.kind].items()}
        values |= {"model.context": SEQUENCE // 2, "windows.per_window": SEQUENCE}
    return RunConfig.model_validate(with_values(config.resolved(), values))
