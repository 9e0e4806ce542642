"""Ray Train's trainer, whose controller starts like every other process of the cluster."""

import threading
from typing import Any

import ray
from ray.train import Result
from ray.train.v2._internal.execution.controller import TrainController
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy


class Trainer(DataParallelTrainer):
    """Leaves the environment to the cluster, which has the variables of Ray Train for all of a run.

    Ray Train gives its controller variables of its own. What has such, and whatever that starts,
    is never one of the processes that Ray keeps ready, and each goes through a Python process more.
    """

    def _initialize_and_run_controller(self, **settings: Any) -> Result:
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        start: Any = ray.remote(num_cpus=0)(TrainController).options(scheduling_strategy=here)
        controller = start.remote(**settings)
        if threading.current_thread() is threading.main_thread():
            self._register_sigint_handler(controller)
        ray.get(controller.run.remote())
        result: Result = ray.get(controller.get_result.remote())
        return result
