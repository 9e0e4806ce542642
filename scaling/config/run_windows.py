"""Windows of training and held-out targets of a run."""

from datasets.manifest import Corpus
from datasets.windows import Windows
from scaling.config.run_config import RunConfig

TRAIN = "train"
HELD_OUT = "validation"


def training_windows(config: RunConfig, corpus: Corpus) -> Windows:
    """Return the training windows: targets one chunk apart, or runs of consecutive targets."""
    targets = config.targets
    return Windows.of(
        corpus,
        TRAIN,
        context=targets.history(config.model),
        spacing=targets.spacing,
        targets=config.positions,
        # In the other modes a target may see less than a context, so no history is kept.
        history=config.history if targets.mode == "last" else None,
        run=targets.phases,
        # In the other modes every window begins with targets that see a single chunk anyway.
        padded=config.padded and targets.mode == "last",
    )


def targets_in_epoch(config: RunConfig, corpus: Corpus) -> int:
    """Return the number of different targets of an epoch."""
    if config.unique_windows:
        return config.unique_windows * config.targets_per_window
    return training_windows(config, corpus).targets_in_epoch


def held_out_windows(config: RunConfig, corpus: Corpus) -> Windows:
    """Return the windows of the frozen held-out targets, the same at every context."""
    return Windows.of(
        corpus,
        HELD_OUT,
        context=config.model.context,
        spacing=config.validation.spacing,
        targets=config.validation.per_window,
        history=config.history,
        padded=config.padded,
    )
