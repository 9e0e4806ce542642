"""How Ray Train treats workers that all run on one machine; no torch in its controller for it."""

from dataclasses import dataclass

from ray.train.backend import Backend, BackendConfig


class _OneMachineBackend(Backend):
    # NCCL reaches the GPUs of the other workers directly.
    share_cuda_visible_devices = True


@dataclass
class SingleNodeBackendConfig(BackendConfig):
    """The workers meet by themselves, in their training loop (`rendezvous.process_group`)."""

    @property
    def backend_cls(self) -> type[Backend]:
        """What Ray Train does before they train: nothing but to show each worker every GPU."""
        return _OneMachineBackend
