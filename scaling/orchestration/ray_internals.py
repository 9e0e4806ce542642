"""Private parts of Ray Train 2.60 that a driver needs, each with the public way that was tried.

The public way is ``DataParallelTrainer`` as it is. It costs about 10 CPU seconds more at each start
of two workers: 76 instead of 47 for a small run with three starts, on a machine of two cores.
"""

import threading
from typing import Any, ClassVar

import ray
from ray._common.constants import HEAD_NODE_RESOURCE_NAME
from ray.train import Result
from ray.train.v2._internal.callbacks.datasets import DatasetsCallback
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback
from ray.train.v2._internal.execution.controller import TrainController
from ray.train.v2._internal.execution.worker_group import WorkerGroup
from ray.train.v2._internal.execution.worker_group.placement_group_handle import (
    PlacementGroupHandle,
)
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from scaling.orchestration.controllers import ControllerHost, PlacementGroupReleaser


class Trainer(DataParallelTrainer):
    """Ray Train's trainer, which reuses the process of the controller at the next start."""

    def _initialize_and_run_controller(self, **settings: Any) -> Result:
        """Run the controller in an idle host, or in a new one.

        Ray Train starts a process for each controller, which imports Ray Train again.
        """
        context = ray.get_runtime_context()
        idle = _idle.setdefault((context.get_session_name(), context.get_job_id()), [])
        host = idle.pop() if idle else _start_host()
        if threading.current_thread() is threading.main_thread():
            self._register_sigint_handler(host)
        try:
            result: Result = ray.get(host.run.remote(_Controller, settings))
        except BaseException:
            # The releaser waits for the end of the host, and its handle keeps the host alive.
            ray.kill(host)
            raise
        idle.append(host)
        return result

    def _create_default_callbacks(self) -> list[Any]:
        """Return Ray Train's callbacks without two of them.

        DatasetsCallback starts an actor for the datasets at each start, even without datasets.
        PlacementGroupCleanerCallback asks the cluster's dashboard whether the controller is alive.
        A cluster of one machine has no dashboard, and that of another cluster answers "no".
        """
        unused = (DatasetsCallback, PlacementGroupCleanerCallback)
        callbacks = super()._create_default_callbacks()
        return [callback for callback in callbacks if not isinstance(callback, unused)]


_idle: dict[tuple[str, str], list[Any]] = {}
"""Idle hosts by the cluster and this process's job on it."""


def _start_host() -> Any:
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    host_class: Any = ray.remote(num_cpus=0)(ControllerHost).options(scheduling_strategy=here)
    releaser_class: Any = ray.remote(num_cpus=0)(PlacementGroupReleaser).options(
        lifetime="detached",
        # The head is the one node that is not taken away.
        resources={HEAD_NODE_RESOURCE_NAME: 0.001},
        # Otherwise Ray would use the placement group of a trial, which has no head in it.
        scheduling_strategy="DEFAULT",
    )
    releaser = releaser_class.remote()
    host = host_class.remote(releaser)
    releaser.wait.remote(host)
    return host


class _Workers(WorkerGroup):
    releaser: ClassVar[Any]

    def _create_placement_group(self, *arguments: Any) -> PlacementGroupHandle:
        """Register the placement group with the releaser before any worker starts in it.

        Ray removes it at the end of its job only, and the job of a trial is its whole sweep.
        """
        handle = super()._create_placement_group(*arguments)
        self.releaser.register.remote(handle.placement_group)
        return handle

    @staticmethod
    def _get_worker_runtime_env(custom_runtime_env: Any) -> Any:
        """Return an environment without Ray Train's own variables, which the cluster has already.

        An actor with its own variables never gets one of the processes that Ray keeps ready.
        """
        return custom_runtime_env


class _Controller(TrainController):
    worker_group_cls = _Workers

    def __init__(self, releaser: Any, **settings: Any) -> None:
        _Workers.releaser = releaser
        super().__init__(**settings)
