"""Notices that a worker will soon lose its machine: SIGTERM, or Ray's word of a draining node."""

import signal
from types import FrameType

from ray.train.v2._internal.execution.callback import WorkerCallback
from ray.train.v2._internal.execution.context import get_train_context

from scaling.training.heartbeat import DRAINING, ENDING, NONE

_received: list[int] = []


class PreemptionCallback(WorkerCallback):
    """Lets a worker outlive SIGTERM, so that it can write a checkpoint before it goes.

    Ray runs this in the worker's main thread, the only one that may handle signals.
    """

    def after_init_train_context(self) -> None:
        """Take SIGTERM for a notice from now on."""
        signal.signal(signal.SIGTERM, _take)


def current_stop_reason() -> int:
    """Why this worker should stop soon, by number."""
    if _received:
        return ENDING
    # The public ray.train.get_preemption_info is a barrier of all workers, too dear for each step.
    return DRAINING if get_train_context().preemption_context.preemption_info else NONE


def _take(number: int, _frame: FrameType | None) -> None:
    _received.append(number)
