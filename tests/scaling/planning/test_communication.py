"""Bytes that real workers send, keep and save, compared with the formulas."""

import pytest
from deepspeed.runtime.zero.config import DeepSpeedZeroConfig

from scaling.benchmarks import worker_bench
from scaling.benchmarks.worker_bench import Case, Trial, combine_workers
from scaling.planning import footprint
from scaling.planning.footprint import Volume, checkpoint, volume
from scaling.training import engine

WORKERS = 4
CASES = (
    *(Case(stage, "float32") for stage in (0, 1, 2, 3)),
    *(Case(stage, "bfloat16") for stage in (1, 3)),
)
IDS = [f"{case.stage}-{case.precision}" for case in CASES]
# The 4 bytes of a norm or of a flag; the rest is of the order of a millionth.
SCALARS = 64


@pytest.fixture(scope="module")
def trial(tmp_path_factory):
    """Run three steps at each stage in four gloo processes with the project's engine."""
    trial = Trial(WORKERS, CASES, 1, tmp_path_factory.mktemp("trial"))
    return trial, dict(zip(CASES, zip(*worker_bench.run_trial(trial), strict=True), strict=True))


@pytest.fixture(params=CASES, ids=IDS)
def case(request, trial):
    """Return a case, its number of parameters, and its counts."""
    _, found = trial
    workers = found[request.param]
    return request.param, workers[0]["parameters"], combine_workers(request.param, list(workers))


@pytest.mark.slow
def test_a_step_sends_the_bytes_of_the_formula(case):
    asked, parameters, counted = case
    expected = volume(asked.stage, parameters, half=asked.precision == "bfloat16")
    # The biases of the keys do not change the softmax and get no gradient (0.01 %). Stage 3 sends
    # small tensors, and in bfloat16 norms and biases, whole and in float32 (0.4 %).
    assert counted.volume.sent(WORKERS) == pytest.approx(expected.sent(WORKERS), rel=0.01)
    for kind in ("all_reduced", "scattered", "gathered"):
        said = getattr(counted.volume, kind)
        assert said == pytest.approx(getattr(expected, kind), rel=0.01, abs=SCALARS), kind
    assert counted.other < SCALARS


@pytest.mark.slow
def test_all_workers_send_the_same_bytes(trial):
    _, found = trial
    for workers in found.values():
        assert len({str(sorted(worker["given"].items())) for worker in workers}) == 1


@pytest.mark.slow
def test_a_worker_keeps_the_bytes_of_the_formula(case):
    asked, parameters, counted = case
    half = asked.precision == "bfloat16"
    held = footprint.footprint(asked.stage, parameters, WORKERS, half=half)
    # At stage 2 the first reduction comes before any reduced gradient exists.
    expected = held.total - (held.gradients if asked.stage == 2 else 0)
    assert counted.held_reducing == pytest.approx(expected, rel=0.01)
    lasting = held.parameters + held.optimizer
    if asked.stage == 3:
        buckets = (footprint.FULL + footprint.HALF * half) * footprint.BUCKET
        lasting += held.gradients + buckets
    assert counted.held == pytest.approx(lasting, rel=0.01)


@pytest.mark.slow
def test_a_checkpoint_has_the_bytes_that_the_formula_counts(case):
    _, parameters, counted = case
    expected = checkpoint(parameters, WORKERS)
    assert sum(counted.saved) == pytest.approx(expected.whole, rel=0.01)
    # Tensors are divided whole: with few large ones the parts differ.
    assert max(counted.saved) == pytest.approx(expected.part, rel=0.35)


@pytest.mark.slow
def test_new_processes_continue_from_a_trials_checkpoint(trial):
    done, _ = trial
    (again,) = zip(
        *worker_bench.resume_trial(Trial(WORKERS, CASES[1:2], 0, done.folder)), strict=True
    )
    assert [found["step"] for found in again] == [worker_bench.STEPS] * WORKERS
    assert all(0 < found["restored"] < found["seconds"] for found in again)


@pytest.mark.slow
@pytest.mark.parametrize("distance", [0, 4_000_000])
def test_stage_3_gathers_released_parameters_again(tmp_path, distance):
    trial = Trial(2, (Case(3, "float32"),), 0, tmp_path)
    worker_bench.run_forked(_forgetful, (trial, "meeting", distance), 2)
    found = trial.found()[0][0]
    given, parameters = found["given"]["gathered"], found["parameters"]
    # DeepSpeed counts to the end of a module, here of up to 4.2 M parameters.
    slack = 2 * worker_bench.MODEL.width * worker_bench.MODEL.feed_forward if distance else 0
    most = volume(3, parameters, reuse_distance=distance).gathered
    least = volume(3, parameters, reuse_distance=distance + slack).gathered
    assert 0.999 * least <= given <= most
    assert least > 1.5 * volume(3, parameters).gathered


def _forgetful(rank: int, trial: Trial, meeting: str, distance: int) -> None:
    """Run a worker whose engine keeps few gathered parameters, as with a large model."""
    settings = engine._settings

    def short(train, workers, micro_batches):
        found = settings(train, workers, micro_batches)
        found["zero_optimization"] |= {
            "stage3_max_reuse_distance": distance,
            "stage3_param_persistence_threshold": 0,
            "stage3_prefetch_bucket_size": 0,
        }
        return found

    engine._settings = short
    worker_bench.train_cases(rank, trial, meeting)


def test_the_formulas_have_deepspeeds_defaults():
    for stage in (0, 1, 2, 3):
        settings = DeepSpeedZeroConfig(stage=stage)
        assert settings.max_reuse_distance == footprint.REUSE_DISTANCE
        assert settings.reduce_bucket_size == footprint.BUCKET
        assert settings.use_multi_rank_bucket_allreduce
        assert settings.overlap_comm == footprint.OVERLAPPED[stage]


def test_a_ring_sends_twice_the_whole_less_one_part_for_an_all_reduce():
    # Six workers send a sixth five times to add up, and five times to distribute the sums.
    assert Volume(600, 0, 0).sent(6) == 10 * 100
    assert Volume(0, 600, 0).sent(6) == Volume(0, 0, 600).sent(6) == 5 * 100
    assert Volume(600, 600, 600).sent(1) == 0


def test_micro_batches_repeat_the_communication_from_stage_2_on():
    one, four = (
        [volume(stage, 1_000, accumulate=pieces) for stage in (0, 1, 2, 3)] for pieces in (1, 4)
    )
    assert one[:2] == four[:2]
    assert four[2] == Volume(16_000, 0, 4_000)
    assert four[3] == Volume(0, 16_000, 16_000)
