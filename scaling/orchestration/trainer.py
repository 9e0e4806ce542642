"""Ray Train's trainer with few processes, of those that Ray keeps ready.

The environment is left to the cluster, which has the variables of Ray Train for all of a run. Ray
Train gives its actors variables of their own: what has such, and whatever that starts, is never one
of the processes that Ray keeps ready, and each goes through a Python process more.
"""

import threading
from typing import Any, ClassVar

import ray
from ray._common.constants import HEAD_NODE_RESOURCE_NAME
from ray.train import Result
from ray.train.v2._internal.callbacks.datasets import DatasetsCallback
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback
from ray.train.v2._internal.execution.controller import TrainController
from ray.train.v2._internal.execution.worker_group import Worker, WorkerGroup
from ray.train.v2._internal.execution.worker_group.placement_group_handle import (
    PlacementGroupHandle,
)
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from scaling.orchestration.controllers import ControllerHost, PlacementGroupReleaser
from scaling.training.data import ShardProvider


class Trainer(DataParallelTrainer):
    """Trains as Ray Train does; what a controller needs stays for the next start."""

    def _initialize_and_run_controller(self, **settings: Any) -> Result:
        context = ray.get_runtime_context()
        idle = _idle.setdefault((context.get_session_name(), context.get_job_id()), [])
        controllers = idle.pop() if idle else _started()
        if threading.current_thread() is threading.main_thread():
            self._register_sigint_handler(controllers)
        try:
            result: Result = ray.get(controllers.run.remote(_Controller, settings))
        except BaseException:
            # Its helper would keep it.
            ray.kill(controllers)
            raise
        idle.append(controllers)
        return result

    def _create_default_callbacks(self) -> list[Any]:
        datasets: Any = self.datasets
        shards = _Shards(self.train_run_context, datasets)
        return [
            shards if isinstance(theirs, DatasetsCallback) else theirs
            for theirs in super()._create_default_callbacks()
            if not isinstance(theirs, PlacementGroupCleanerCallback)
        ]


_idle: dict[tuple[str, str], list[Any]] = {}
"""The actors that have nothing to do now, by the cluster and this process's job there."""


def _started() -> Any:
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    start: Any = ray.remote(num_cpus=0)(ControllerHost).options(scheduling_strategy=here)
    # The head is the node that is not taken away.
    head = {HEAD_NODE_RESOURCE_NAME: 0.001}
    helper: Any = ray.remote(num_cpus=0)(PlacementGroupReleaser).options(
        lifetime="detached",
        resources=head,
        # Else a trial's own room, in which there is no head.
        scheduling_strategy="DEFAULT",
    )
    release = helper.remote()
    controllers = start.remote(release)
    release.wait.remote(controllers)
    return controllers


class _Workers(WorkerGroup):
    release: ClassVar[Any]

    def _create_placement_group(self, *asked: Any) -> PlacementGroupHandle:
        handle = super()._create_placement_group(*asked)
        self.release.take.remote(handle.placement_group)
        return handle

    @staticmethod
    def _get_worker_runtime_env(custom_runtime_env: Any) -> Any:
        return custom_runtime_env


class _Controller(TrainController):
    worker_group_cls = _Workers

    def __init__(self, release: Any, **settings: Any) -> None:
        _Workers.release = release
        super().__init__(**settings)


class _Shards(DatasetsCallback):
    """Deals the shards out itself, where Ray Train starts a process at which workers ask."""

    def before_init_train_context(self, workers: list[Worker]) -> dict[str, list[Any]]:
        makers: dict[str, Any] = self._datasets
        dealt = self._data_config.configure(
            {name: made() for name, made in makers.items()},
            world_size=len(workers),
            worker_handles=None,
            worker_node_ids=[worker.metadata.node_id for worker in workers],
        )
        return {"dataset_shard_provider": [ShardProvider(shards) for shards in dealt]}
