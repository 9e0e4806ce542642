"""What must be true of a step before it is taken, else a run would go wrong in silence."""

import math

from scaling.config.run_config import TrainConfig


class NonFiniteLoss(ArithmeticError):
    """The loss of a step is not a number; the weights are those of the step before."""


def check_window_order(given: list[int], own: list[int], rank: int, step: int) -> None:
    """RuntimeError where a worker was ``given`` other windows of the sequence than its ``own``."""
    if given != own:
        raise RuntimeError(
            f"worker {rank} was given windows {given} of the global sequence at step {step}, not "
            f"{own}: the stream did not begin at the checkpoint"
        )


def check_loss_is_finite(nats: float, windows: list[int], step: int, train: TrainConfig) -> None:
    """NonFiniteLoss where the loss of the step after ``step`` is not finite."""
    if not math.isfinite(nats):
        raise NonFiniteLoss(
            f"the loss of step {step + 1} is {nats} (windows {windows}), so the step was not "
            f"taken: lower train.learning_rate ({train.learning_rate}), or look at these windows' "
            "audio"
        )
