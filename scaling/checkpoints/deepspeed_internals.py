"""Private parts of DeepSpeed 0.19 that Longwave needs, each with the public way that was tried.

Import ``deepspeed`` from here: two of these parts have to be in place before its own import.
Seconds are CPU seconds of one process on a processor that nothing else uses.
"""

import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

if not Path("/dev/nvidia0").exists():
    # Public. Without it, DeepSpeed searches for accelerators at its import and logs each failure.
    os.environ.setdefault("DS_ACCELERATOR", "cpu")

# DeepSpeed imports its autotuner with its configuration, and the autotuner imports MLflow if it is
# installed: 1.2 s of each worker's start. No setting prevents it, and nothing here uses the tuner.
AUTOTUNER = "deepspeed.autotuning.autotuner"
sys.modules.setdefault(AUTOTUNER, SimpleNamespace(Autotuner=None))  # type: ignore[arg-type]

import deepspeed as deepspeed  # noqa: E402
from deepspeed.runtime import compiler  # noqa: E402

# For every optimizer that it checks, DeepSpeed imports Muon, whose functions it decorates with
# torch.compile. That loads PyTorch's compiler: 1.5 s of each worker's start. `torch.compile` has a
# switch, TORCH_COMPILE_DISABLE, but reads it only after that import. Nothing here uses Muon.
compiler.compile = lambda: compiler.dummy_decorator


def disable_shared_memory_all_reduce() -> None:
    """Prevent DeepSpeed from compiling its all-reduce for CPUs at the first start on a machine.

    The compilation takes minutes, and its lock outlives a killed process. gloo does the same work.
    DS_BUILD_SHM_COMM, the public switch, concerns the installation alone.
    """
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False


def link_optimizer_states(engine: Any) -> None:
    """Attach the optimizer's averages to each parameter, at ZeRO stages 1 and 2.

    ``safe_get_full_optimizer_state`` needs that. DeepSpeed does it once, after the first step of
    the first parameter group, when the parameters of the other groups have no averages yet.
    """
    engine.optimizer._hp_optimizer_states_linked = False
    engine.optimizer._lazy_init_hp_params_optimizer_state()
