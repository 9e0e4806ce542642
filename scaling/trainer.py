"""Ray Train's trainer with few processes, of those that Ray keeps ready.

The environment is left to the cluster, which has the variables of Ray Train for all of a run. Ray
Train gives its actors variables of their own: what has such, and whatever that starts, is never one
of the processes that Ray keeps ready, and each goes through a Python process more.
"""

import gc
import threading
from dataclasses import dataclass
from typing import Any, ClassVar

import ray
from ray.data import DataIterator
from ray.train import Result
from ray.train.v2._internal.callbacks.datasets import DatasetsCallback
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback
from ray.train.v2._internal.data_integration.interfaces import DatasetShardMetadata
from ray.train.v2._internal.execution.context import TrainRunContext
from ray.train.v2._internal.execution.controller import TrainController
from ray.train.v2._internal.execution.worker_group import Worker, WorkerGroup
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

CLEANING_SECONDS = 5.0
"""How often Ray Train's helper asks the dashboard whether a controller lives: no small question."""


class Trainer(DataParallelTrainer):
    """Trains as Ray Train does; what a controller needs stays for the next start."""

    def _initialize_and_run_controller(self, **settings: Any) -> Result:
        context = ray.get_runtime_context()
        idle = _idle.setdefault((context.get_session_name(), context.get_job_id()), [])
        controllers = idle.pop() if idle else _started()
        if threading.current_thread() is threading.main_thread():
            self._register_sigint_handler(controllers)
        result: Result = ray.get(controllers.run.remote(settings))
        idle.append(controllers)
        return result

    def _create_default_callbacks(self) -> list[Any]:
        datasets: Any = self.datasets
        ours = {
            DatasetsCallback: _Shards(self.train_run_context, datasets),
            PlacementGroupCleanerCallback: _Cleaner(CLEANING_SECONDS),
        }
        return [ours.get(type(theirs), theirs) for theirs in super()._create_default_callbacks()]


_idle: dict[tuple[str, str], list[Any]] = {}
"""The actors that have nothing to do now, by the cluster and this process's job there."""


def _started() -> Any:
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    start: Any = ray.remote(num_cpus=0)(Controllers).options(scheduling_strategy=here)
    return start.remote()


class Controllers:
    """An actor in which the controllers of a driver's starts run, one after the other.

    Each in a process of its own would import Ray Train again, which takes seconds of every start.
    """

    def __init__(self) -> None:
        self._controller: Any = None

    async def run(self, settings: dict[str, Any]) -> Result:
        """What a controller with these settings comes to."""
        self._controller = _Controller(**settings)
        try:
            await self._controller.run()
            result: Result = self._controller.get_result()
            return result
        finally:
            self._controller = None
            # An actor of Ray's ends when nothing refers to it, and its objects form cycles.
            gc.collect()

    async def abort(self) -> None:
        """End the run, and this process with it."""
        if self._controller:
            await self._controller.abort()


class _Workers(WorkerGroup):
    @staticmethod
    def _get_worker_runtime_env(custom_runtime_env: Any) -> Any:
        return custom_runtime_env


class _Controller(TrainController):
    worker_group_cls = _Workers


@dataclass(frozen=True)
class _Dealt:
    """A worker's shards."""

    shards: dict[str, DataIterator]

    def get_dataset_shard(self, asked: DatasetShardMetadata) -> DataIterator:
        """The shard of one dataset."""
        return self.shards[asked.dataset_name]


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
        return {"dataset_shard_provider": [_Dealt(shards) for shards in dealt]}


class _Cleaner(PlacementGroupCleanerCallback):
    """Keeps Ray Train's helper, which gives the workers' room back when its controller is gone.

    It stays with the process of the controllers, and ends after it.
    """

    kept: ClassVar["_Cleaner | None"] = None

    def after_controller_start(self, train_run_context: TrainRunContext) -> None:
        kept = _Cleaner.kept
        if kept is None:
            super().after_controller_start(train_run_context)
            _Cleaner.kept = self
        else:
            self._cleaner = kept._cleaner
            self._controller_actor_id = kept._controller_actor_id

    def _stop_cleaner(self) -> None:
        pass
