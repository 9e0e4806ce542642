"""Contract with the private parts of Ray Train that the two `ray_internals` use."""

import inspect

import pytest
from ray.train.v2._internal.callbacks.datasets import DatasetsCallback
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback
from ray.train.v2._internal.execution.callback import WorkerCallback
from ray.train.v2._internal.execution.context import TrainContext
from ray.train.v2._internal.execution.controller import TrainController
from ray.train.v2._internal.execution.worker_group import WorkerGroup
from ray.train.v2._internal.execution.worker_group.placement_group_handle import (
    PlacementGroupHandle,
)
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (DataParallelTrainer, "_initialize_and_run_controller"),
        (DataParallelTrainer, "_create_default_callbacks"),
        (DataParallelTrainer, "_register_sigint_handler"),
        (TrainController, "run"),
        (TrainController, "get_result"),
        (TrainController, "abort"),
        (WorkerGroup, "_create_placement_group"),
        (WorkerGroup, "_get_worker_runtime_env"),
        (WorkerCallback, "after_init_train_context"),
    ],
)
def test_ray_train_has_the_method_that_is_called_or_replaced(owner, name):
    assert callable(getattr(owner, name))


def test_the_trainer_passes_settings_by_name_and_its_callbacks_have_the_two_that_are_left_out():
    (_, settings) = inspect.signature(
        DataParallelTrainer._initialize_and_run_controller
    ).parameters.values()
    assert settings.kind is inspect.Parameter.VAR_KEYWORD
    text = inspect.getsource(DataParallelTrainer._create_default_callbacks)
    assert {DatasetsCallback.__name__, PlacementGroupCleanerCallback.__name__} <= set(
        text.replace("(", " ").split()
    )


def test_a_controller_makes_its_workers_of_the_class_that_is_replaced():
    assert TrainController.worker_group_cls is WorkerGroup
    assert list(inspect.signature(WorkerGroup._get_worker_runtime_env).parameters) == [
        "custom_runtime_env"
    ]
    assert isinstance(PlacementGroupHandle.placement_group, property)


def test_a_worker_reads_the_notice_of_a_drained_node_from_its_context():
    assert "preemption_context" in TrainContext.__dataclass_fields__
