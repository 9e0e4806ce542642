import os
import subprocess
import sys

import torch

from model.build import build
from scaling.checkpoints.train_state import TrainState
from scaling.config.run_config import TrainConfig
from scaling.training.engine import learning_rate, optimizer_groups, set_learning_rate
from tests.helpers import small_sashimi
from tests.helpers.architectures import small
from tests.helpers.clone import CLONE


def test_the_learning_rate_has_two_phases():
    train = TrainConfig(steps=10, second_phase=0.7, learning_rate=1.0, second_learning_rate=0.1)
    assert [learning_rate(train, TrainState(step)) for step in range(10)] == [1.0] * 7 + [0.1] * 3


def test_the_papers_rates_are_the_default():
    assert learning_rate(TrainConfig(), TrainState(249_999)) == 1e-4
    assert learning_rate(TrainConfig(), TrainState(250_000)) == 0.5e-5


def test_the_order_digest_differs_between_orders():
    start = TrainState()
    one = start.advanced([1, 2], 1.5).advanced([3, 4], 1.5)
    assert one == start.advanced([1, 2], 1.5).advanced([3, 4], 1.5)
    assert one.step == 2
    others = [
        start.advanced([2, 1], 1.5).advanced([3, 4], 1.5),
        start.advanced([3, 4], 1.5).advanced([1, 2], 1.5),
    ]
    assert one.order_digest not in {other.order_digest for other in others}


def test_the_optimizer_takes_each_groups_share_of_the_rate_however_often_it_changes():
    model = build(small_sashimi.small())
    optimizer = torch.optim.Adam(optimizer_groups(model), lr=3.0)
    for rate in (0.4, 0.1, 0.4):
        set_learning_rate(optimizer, rate)
        rates = {
            id(weight): group["lr"]
            for group in optimizer.param_groups
            for weight in group["params"]
        }
        for name, weight in model.named_parameters():
            slow = name.endswith((".decay", ".frequency"))
            if weight.requires_grad:
                assert rates.pop(id(weight)) == (rate / 4 if slow else rate)
        assert not rates


def test_a_model_of_one_pace_is_one_group():
    (group,) = optimizer_groups(build(small()))
    assert group["factor"] == 1.0


def test_a_run_with_seconds_is_done_by_its_steps_or_its_seconds_whichever_is_more():
    train = TrainConfig(steps=10, seconds=4.0, second_phase=0.5)
    assert TrainState(2, seconds=1.0).share(train) == 0.25
    assert TrainState(9, seconds=1.0).share(train) == 0.9
    assert TrainState(2, seconds=4.5).share(train) > 1
    assert learning_rate(train, TrainState(2, seconds=1.9)) == train.learning_rate
    assert learning_rate(train, TrainState(2, seconds=2.0)) == train.second_learning_rate
    assert TrainState(2, seconds=1.0).advanced([0], 0.5).seconds == 1.5


STARTS = """
import sys

import torch
import torch.distributed as distributed

from model.build import build
from model.targets import Targets
from scaling.config.run_config import TrainConfig
from scaling.training import engine
from scaling.training.worker_usage import OperationCounter
from tests.helpers.architectures import small

distributed.init_process_group("gloo", init_method=f"file://{sys.argv[1]}", rank=0, world_size=1)
targets = Targets("last", small().chunk)
window = torch.zeros(1, targets.samples(2, small()), dtype=torch.uint8)
for zero in range(4):
    train = TrainConfig(batch=1, zero=zero)
    made = engine.start_engine(build(small()), train, workers=1, micro_batches=1)
    with OperationCounter():
        loss, _ = made(window, targets)
        made.backward(loss)
    made.step()
    print("stepped", zero)
    # DeepSpeed's own code for stage 3 loads PyTorch's compiler.
    assert zero == 3 or "torch._dynamo" not in sys.modules
"""


def test_no_step_compiles_anything_and_below_stage_3_none_loads_a_compiler(tmp_path):
    """The other workers of a node wait for a compilation, for ever if its worker is killed."""
    built = tmp_path / "extensions"
    done = subprocess.run(
        [sys.executable, "-c", STARTS, str(tmp_path / "meeting")],
        cwd=CLONE,
        capture_output=True,
        text=True,
        env={**os.environ, "TORCH_EXTENSIONS_DIR": str(built), "RANK": "0", "WORLD_SIZE": "1"}
        | {"LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"},
    )
    assert done.returncode == 0 and done.stdout.count("stepped") == 4, done.stderr
    assert not built.exists() or not list(built.rglob("*.*"))
