"""Contract with the private parts of DeepSpeed that `deepspeed_internals` uses."""

import importlib
import importlib.util
import inspect
import sys

from deepspeed.runtime import compiler
from deepspeed.runtime.zero import utils
from deepspeed.runtime.zero.stage_1_and_2 import DeepSpeedZeroOptimizer

from scaling.checkpoints.deepspeed_internals import (
    AUTOTUNER,
    deepspeed,
    disable_shared_memory_all_reduce,
)


def test_deepspeed_has_the_autotuner_that_is_replaced_and_takes_one_class_from_it():
    package = importlib.util.find_spec("deepspeed.autotuning")
    folder = package.submodule_search_locations[0]
    text = open(f"{folder}/__init__.py").read()
    assert "from .autotuner import Autotuner" in text
    assert not hasattr(sys.modules[AUTOTUNER], "__file__")


def test_deepspeed_compiles_muon_by_the_function_that_is_replaced():
    assert "muon" in inspect.getsource(utils.is_zero_supported_optimizer)
    path = importlib.util.find_spec("deepspeed.runtime.zero.muon.original_muon").origin
    assert "@compiler.compile()" in open(path).read()
    assert compiler.compile()(len) is len


def test_deepspeed_looks_its_shared_memory_all_reduce_up_in_the_table_that_is_changed():
    disable_shared_memory_all_reduce()
    # As an attribute, deepspeed.comm.torch is PyTorch itself.
    backend = importlib.import_module("deepspeed.comm.torch")
    assert backend.build_shm_op() is None
    assert "deepspeed.ops.__compatible_ops__" in inspect.getsource(backend.build_shm_op)
    assert deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] is False


def test_zero_1_and_2_link_the_optimizers_states_once_by_the_names_that_are_used():
    text = inspect.getsource(DeepSpeedZeroOptimizer._lazy_init_hp_params_optimizer_state)
    assert "self._hp_optimizer_states_linked" in text
