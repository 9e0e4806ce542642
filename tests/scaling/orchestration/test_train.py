"""Whole runs under a real Ray Train, compared with a plain loop."""

import json
import os
import signal
import subprocess
import sys
import threading

import numpy as np
import psutil
import pytest
import yaml
from safetensors.torch import load_file

from scaling.orchestration.restarts import TrainingError
from scaling.orchestration.train import make_job, train
from scaling.runs.log import RunHistory
from scaling.runs.trained_model import WEIGHTS_NAME
from scaling.training.data import training_stream
from scaling.training.engine import build_network
from tests.helpers.clone import CLONE
from tests.helpers.runs import (
    digests,
    expected_digests,
    losses,
    plain_losses,
    small_run,
    wait_for_steps,
)

pytestmark = pytest.mark.slow


CAUSAL = {"model__attention": "causal", "windows__per_window": None}
CHUNKS = {**CAUSAL, "windows__targets": "chunks"}
SAMPLES = {**CAUSAL, "windows__targets": "samples", "windows__phases": 20}


@pytest.mark.parametrize(
    ("changes", "zero"), [({**CHUNKS, "model__recent": 0}, 1), (SAMPLES, 2), (SAMPLES, 3)]
)
def test_every_latent_and_every_phase_trains_as_the_plain_loop_does(
    embedded_corpus, tmp_path, changes, zero
):
    config = small_run(embedded_corpus, tmp_path, train__zero=zero, cluster__workers=2, **changes)
    record = train(make_job(config, {}))
    np.testing.assert_allclose(losses(config), plain_losses(config, embedded_corpus), atol=1e-4)
    assert digests(config) == expected_digests(config, embedded_corpus)
    per_window = 8 * config.targets.phases
    assert record.targets.seen == record.targets.unique == 8 * 4 * per_window
    trained = record.targets.by_context
    assert [(part.shortest, part.longest) for part in trained] == [
        (500, 500),
        (1_000, 1_000),
        (1_500, 2_000),
        (2_500, 4_000),
    ]
    last = RunHistory.read(config.folder).steps[-2:]
    by_octave = np.array([line["nats_by_context"] for line in last])
    assert trained[2].nats == pytest.approx(by_octave[:, 2].mean())
    # The share of an octave is its number of contexts of the 8.
    shares = np.array([1, 1, 2, 4]) / 8
    np.testing.assert_allclose(by_octave @ shares, [line["nats"] for line in last], atol=1e-5)
    scored = record.validation.by_context
    assert [part.longest for part in scored] == [500, 1_000, 2_000, 4_000]
    assert scored[-1].nats == record.validation.nats
    assert scored[0].nats != scored[1].nats
    assert scored[-1].excess == 0
    assert scored[0].excess == pytest.approx(scored[0].nats - scored[-1].nats)


@pytest.mark.parametrize(("workers", "accumulate"), [(1, 2), (2, 1)])
def test_a_run_equals_the_plain_loop_on_any_number_of_workers(
    embedded_corpus, tmp_path, workers, accumulate
):
    config = small_run(
        embedded_corpus, tmp_path, cluster__workers=workers, train__accumulate=accumulate
    )
    record = train(make_job(config, {"seed": 0}))
    assert [part.longest for part in record.validation.by_context] == [4_000]
    assert record.targets.by_context == []
    np.testing.assert_allclose(losses(config), plain_losses(config, embedded_corpus), atol=1e-4)
    assert digests(config) == expected_digests(config, embedded_corpus)
    assert record.targets.order_digest == digests(config)[-1]
    assert record.targets.seen == record.targets.unique == 8 * 4 * 3
    assert record.validation.targets == 5 * 4
    assert record.restarts == []
    # The formula leaves out the parts without products, which are counted.
    counted = record.operations.counted_per_target
    assert counted == pytest.approx(record.operations.per_target, rel=0.02)
    assert 0 < record.throughput.idle_memory_bytes < record.throughput.peak_memory_bytes
    assert [point.step for point in record.validation_curve] == [4, 8]
    assert sum(record.parameters.values()) == sum(
        tensor.numel() for tensor in build_network(config, embedded_corpus).parameters()
    )
    saved = load_file(config.folder / WEIGHTS_NAME)
    assert saved.keys() == build_network(config, embedded_corpus).state_dict().keys()


def test_padded_and_inverted_windows_train_as_the_plain_loop_does(embedded_corpus, tmp_path):
    config = small_run(
        embedded_corpus,
        tmp_path,
        cluster__workers=2,
        model__context=400_000,
        model__chunk=4_000,
        windows__short="pad",
        windows__polarity=True,
        validation__spacing=4_000,
    )
    record = train(make_job(config, {}))
    np.testing.assert_allclose(losses(config), plain_losses(config, embedded_corpus), atol=1e-4)
    assert digests(config) == expected_digests(config, embedded_corpus)
    windows = training_stream(config, embedded_corpus).windows
    padded = np.count_nonzero(windows.padding(np.arange(len(windows))))
    assert record.targets.padded_windows == padded > len(windows) // 6
    assert record.targets.left_out == windows.left_out
    plain = small_run(embedded_corpus, tmp_path, model__context=400_000, model__chunk=4_000)
    assert len(windows) > len(training_stream(plain, embedded_corpus).windows)


def test_held_out_targets_are_the_same_at_every_context_and_number_of_workers(
    embedded_corpus, tmp_path
):
    changes = {"windows__history": 4_000, "train__steps": 1}
    short = small_run(embedded_corpus, tmp_path, model__context=2_000, **changes)
    long = small_run(embedded_corpus, tmp_path, cluster__workers=2, **changes)
    one, other = (train(make_job(config, {})).validation for config in (short, long))
    assert one.targets_hash == other.targets_hash
    assert one.references == other.references.model_copy(
        update={
            "margin": one.references.margin,
            "margin_standard_error": one.references.margin_standard_error,
        }
    )


def kill_a_worker_after(config, steps):
    """Send SIGKILL to one of the two workers, once, after so many steps."""
    wait_for_steps(config, steps)
    # The workers of the session's own Ray.
    workers = [
        process
        for process in psutil.Process().children(recursive=True)
        if "RayTrainWorker" in " ".join(process.cmdline())
    ]
    assert len(workers) == 2
    workers[-1].send_signal(signal.SIGKILL)


@pytest.mark.fault(
    "Processes",
    "a worker is killed (SIGKILL), at ZeRO 0 and 1",
    "the run continues from the newest checkpoint; each window once, in order; the same losses",
)
@pytest.mark.parametrize("zero", [0, 1])
def test_a_run_of_two_workers_continues_after_one_was_killed(embedded_corpus, tmp_path, zero):
    config = small_run(
        embedded_corpus, tmp_path, train__zero=zero, train__steps=40, cluster__workers=2
    )
    killer = threading.Thread(target=kill_a_worker_after, args=(config, 7))
    killer.start()
    record = train(make_job(config, {}))
    killer.join()
    starts = RunHistory.read(config.folder).starts
    (restart,) = record.restarts
    assert restart.step == starts[1]["step"]
    assert restart.seconds > 0
    assert starts[1]["step"] >= 3
    assert digests(config) == expected_digests(config, embedded_corpus)
    np.testing.assert_allclose(losses(config), plain_losses(config, embedded_corpus), atol=2e-3)


@pytest.mark.fault(
    "Processes",
    "the driver is killed (SIGKILL)",
    "its workers end; the same command continues with the same order and losses",
)
def test_a_run_killed_with_its_driver_continues_from_its_checkpoint(embedded_corpus, tmp_path):
    drops = {"model__dropout": 0.1, "model__encoder_dropout": 0.2, "model__token_drop": 0.1}
    config = small_run(embedded_corpus, tmp_path, train__steps=50, **drops)
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(config.resolved()))
    command = [sys.executable, "-m", "scaling", "train", "--config", str(path)]
    first = subprocess.Popen(command, cwd=CLONE, start_new_session=True, stdout=subprocess.PIPE)
    wait_for_steps(config, 20)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    done = subprocess.run(command, cwd=CLONE, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    starts = RunHistory.read(config.folder).starts
    assert len(starts) == 2
    assert starts[1]["step"] >= 3
    assert digests(config) == expected_digests(config, embedded_corpus)
    np.testing.assert_allclose(losses(config), plain_losses(config, embedded_corpus), atol=2e-3)
    assert "bits/sample" in done.stdout


def test_bfloat16_stays_near_float32(embedded_corpus, tmp_path):
    config = small_run(
        embedded_corpus, tmp_path, train__precision="bfloat16", train__zero=1, train__steps=3
    )
    train(make_job(config, {}))
    plain = plain_losses(config, embedded_corpus)
    assert losses(config) != pytest.approx(plain, abs=1e-7)
    assert losses(config) == pytest.approx(plain, abs=0.02)


@pytest.mark.fault(
    "Numbers",
    "the loss of a step is not finite at two starts",
    "the run stops before the step and names its windows",
)
def test_a_loss_that_is_not_finite_twice_stops_the_run_before_the_step(embedded_corpus, tmp_path):
    config = small_run(embedded_corpus, tmp_path, train__learning_rate=1e30)
    with pytest.raises(TrainingError, match=r"step 2 is (nan|inf) .* lower train\.learning_rate"):
        train(make_job(config, {}))
    history = RunHistory.read(config.folder)
    assert [line["step"] for line in history.steps] == [1]
    assert len(history.starts) == 2
    failure = json.loads((config.folder / "failure.json").read_text())
    assert "was not taken" in failure["problem"]
