"""Private parts of Ray Train 2.60 that a worker needs, each with the public way that was tried.

Ray Train's controller loads this module, so that nothing here imports torch. The backend, which is
public, is here for that reason.
"""

import signal
from dataclasses import dataclass
from types import FrameType

from ray.train.backend import Backend, BackendConfig
from ray.train.v2._internal.execution.callback import WorkerCallback
from ray.train.v2._internal.execution.context import get_train_context

from scaling.training.heartbeat import StopReason

_received: list[int] = []


class PreemptionCallback(WorkerCallback):
    """Callback that keeps a worker alive after SIGTERM, so that it can write a checkpoint.

    Only the main thread of a process may set a signal handler, and the training loop runs in
    another one. Of the public ``ray.train.UserCallback`` no method runs in the main thread.
    """

    def after_init_train_context(self) -> None:
        """Handle SIGTERM from now on."""
        signal.signal(signal.SIGTERM, _note_signal)


def preemption_reason() -> StopReason:
    """Return the reason why this worker will lose its machine, if it will.

    The public ``ray.train.get_preemption_info`` is a barrier of all workers: too slow for a step.
    """
    if _received:
        return StopReason.TERMINATED
    if get_train_context().preemption_context.preemption_info:
        return StopReason.NODE_DRAINED
    return StopReason.NONE


class _SingleNodeBackend(Backend):
    # NCCL needs direct access to the GPUs of the other workers.
    share_cuda_visible_devices = True


@dataclass
class SingleNodeBackendConfig(BackendConfig):
    """Backend of workers on one machine, which join their process group in the training loop."""

    @property
    def backend_cls(self) -> type[Backend]:
        """Return a backend that shows every GPU to each worker, and does nothing else."""
        return _SingleNodeBackend


def _note_signal(number: int, _frame: FrameType | None) -> None:
    _received.append(number)
