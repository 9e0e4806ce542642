"""Which targets a run trains on and is scored on: the windows of its configuration."""

from datasets.manifest import Corpus
from datasets.windows import Windows
from scaling.config.run_config import RunConfig

TRAIN = "train"
HELD_OUT = "validation"


def training_windows(config: RunConfig, corpus: Corpus) -> Windows:
    """The windows that a run trains on: targets one chunk apart, or runs of them."""
    targets = config.targets
    return Windows.of(
        corpus,
        TRAIN,
        context=targets.history(config.model),
        spacing=targets.spacing,
        targets=config.positions,
        # Where a target may see less than a context, none need be kept for the longest one.
        history=config.history if targets.mode == "last" else None,
        run=targets.phases,
        # Only in the other modes every window begins with targets that see a single chunk.
        padded=config.padded and targets.mode == "last",
    )


def targets_in_epoch(config: RunConfig, corpus: Corpus) -> int:
    """Different targets that a run trains on before one comes again."""
    if config.unique_windows:
        return config.unique_windows * config.targets_per_window
    return training_windows(config, corpus).targets_in_epoch


def held_out_windows(config: RunConfig, corpus: Corpus) -> Windows:
    """The windows that the frozen held-out targets are drawn from, the same at every context."""
    return Windows.of(
        corpus,
        HELD_OUT,
        context=config.model.context,
        spacing=config.validation.spacing,
        targets=config.validation.per_window,
        history=config.history,
        padded=config.padded,
    )
