"""Memory of a worker on paper, and the advice for runs that do not fit."""

import pytest

from scaling.config import load
from scaling.planning.memory_plan import advice, changed, memory, memory_by_stage, memory_limit
from tests.helpers.clone import CLONE
from tests.helpers.hardware import HARDWARE

A100 = load.hardware(CLONE / "configs/hardware/a100.yaml")


def shipped(name, *overrides):
    return load.run(CLONE / f"configs/runs/{name}.yaml", list(overrides))


def test_every_stage_in_both_precisions_is_planned_and_the_configured_one_is_among_them():
    run = shipped("paper")
    table = memory_by_stage(run)
    assert len({(one.stage, one.precision) for one in table}) == 8
    assert memory(run) in table
    assert memory(run).peak > memory(run).footprint.total


def test_smaller_micro_batches_keep_fewer_activations():
    run = shipped("paper", "train.batch=64")
    whole, pieces = memory(run), memory(changed(run, {"train.accumulate": 4}))
    assert pieces.activations.encoder == pytest.approx(whole.activations.encoder / 4)
    assert pieces.peak < 0.5 * whole.peak


def test_a_run_that_fits_gets_no_advice():
    assert advice(shipped("paper"), A100) is None


@pytest.mark.fault(
    "Configurations",
    "a model does not fit the memory of a worker",
    "`plan` advises the least change that fits",
)
def test_the_least_change_is_advised_that_fits():
    said = advice(shipped("paper", "train.batch=4000"), A100)
    assert "needs" in said and "has 40.0 GB: write train.accumulate=" in said
    pieces = int(said.partition("train.accumulate=")[2].split()[0])
    fewer = changed(shipped("paper", "train.batch=4000"), {"train.accumulate": pieces - 1})
    assert 4_000 // 4 % pieces == 0
    assert memory(fewer).peak > 40e9 or 4_000 // 4 % (pieces - 1)


def test_a_large_model_is_advised_a_zero_stage():
    said = advice(shipped("scale/10b", "train.zero=0", "cluster.workers=8"), A100)
    assert "train.zero=3" in said


def test_windows_of_fewer_targets_come_last():
    little = A100.model_copy(update={"accelerator_bytes": 1.5e9})
    run = shipped("samples", "train.precision=bfloat16", "cluster.workers=1", "train.batch=1")
    assert "windows.phases=" in advice(run, little)


def test_if_no_change_fits_the_advice_states_it():
    tiny = A100.model_copy(update={"accelerator_bytes": 1_000})
    assert "make the model smaller" in advice(shipped("paper"), tiny)


def test_the_baselines_are_planned_without_activations():
    assert memory(shipped("wavenet")).activations is None
    assert memory(shipped("wavenet")).peak == memory(shipped("wavenet")).footprint.total


def test_a_worker_without_an_accelerator_has_its_share_of_the_node():
    assert memory_limit(HARDWARE) == 10**10 / 4
    assert memory_limit(A100) == 40e9
