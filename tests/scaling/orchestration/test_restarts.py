"""The starts of a run: restarts after failures, and the loss of the cluster."""

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
import yaml
from ray.exceptions import ActorDiedError

from datasets.storage import Folder
from scaling.checkpoints.checkpoint import Writer
from scaling.checkpoints.train_state import TrainState
from scaling.config.run_config import RunConfig
from scaling.orchestration import restarts
from scaling.orchestration.restarts import RAY_FOLDER, TrainingError
from scaling.runs.job import Job
from scaling.runs.log import RunHistory
from tests.helpers.clone import CLONE, free_port
from tests.helpers.runs import (
    digests,
    expected_digests,
    losses,
    plain_losses,
    small_run,
    wait_for_steps,
)


class Head:
    """The head of a separate cluster, which can be killed as a whole and started again."""

    def __init__(self, folder):
        self.port = free_port()
        self._words = [
            *("ray", "start", "--head", "--block", f"--port={self.port}", "--num-cpus=3"),
            *("--node-ip-address=127.0.0.1", f"--temp-dir={folder}"),
            "--include-dashboard=false",
        ]
        self.environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "RAY_ADDRESS": f"127.0.0.1:{self.port}",
            # A driver without its head gives up in seconds, not in a minute.
            "RAY_gcs_rpc_server_reconnect_timeout_s": "5",
        }

    def start(self):
        self._process = subprocess.Popen(
            self._words, env={**self.environment, "RAY_ADDRESS": ""}, stdout=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 60
        while not self._answers():
            assert time.monotonic() < deadline, "the head does not answer"
            time.sleep(0.2)

    def _answers(self):
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def kill(self):
        """Send SIGKILL to all processes of the head, like a machine that is switched off."""
        if self._process.poll() is not None:
            return
        processes = psutil.Process(self._process.pid).children(recursive=True)
        for process in [self._process, *processes]:
            process.kill()
        self._process.wait()
        psutil.wait_procs(processes)


@pytest.fixture(scope="module")
def head(ray_session):
    """A cluster besides the session's."""
    # The path of a socket may not be longer than 107 characters.
    with tempfile.TemporaryDirectory(prefix="ray") as folder:
        head = Head(folder)
        head.start()
        try:
            yield head
        finally:
            head.kill()


@pytest.mark.fault(
    "Nodes and networks",
    "the head node is killed",
    "the job ends; submitted again, it continues with the same order and losses",
)
@pytest.mark.slow
def test_a_run_whose_head_was_killed_continues_under_a_new_head(head, embedded_corpus, tmp_path):
    config = small_run(embedded_corpus, tmp_path, train__steps=80)
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(config.resolved()))
    command = [sys.executable, "-m", "scaling", "train", "--config", str(path)]
    driver = subprocess.Popen(command, cwd=CLONE, env=head.environment)
    wait_for_steps(config, 20)
    head.kill()
    assert driver.wait(timeout=120) != 0
    head.start()
    done = subprocess.run(
        command, cwd=CLONE, env=head.environment, capture_output=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    first, second = RunHistory.read(config.folder).starts
    assert first["step"] == 0 and second["step"] >= 3
    assert digests(config) == expected_digests(config, embedded_corpus)
    np.testing.assert_allclose(losses(config), plain_losses(config, embedded_corpus), atol=2e-3)


class NobodyWatches:
    """Supervision of a start without workers."""

    blame = None

    def __init__(self, config, start):
        pass

    def supervised(self):
        return contextlib.nullcontext()


ENDED = {"kind": "ended", "why": "", "step": 0}


@pytest.fixture
def started(tmp_path, monkeypatch):
    """Return a function that runs starts with the given ends, and returns each `WorkerStart`."""

    def run(*ends, room=1):
        config = RunConfig(study="s", corpus="c", cluster={"storage": tmp_path})
        job = Job(config, {}, Folder.of(tmp_path), tmp_path / "run", "v")
        begun, waiting = [], list(ends)

        def fit(job, start, supervision):
            begun.append(start)
            assert not (job.run_folder / RAY_FOLDER).exists()
            (job.run_folder / RAY_FOLDER).mkdir()
            (job.run_folder / RAY_FOLDER / "checkpoint_manager_snapshot.json").write_text("{")
            end = waiting.pop(0)
            if callable(end):
                end = end(job.run_folder)
            if isinstance(end, Exception):
                raise end
            return end

        monkeypatch.setattr(restarts, "_fit", fit)
        monkeypatch.setattr(restarts, "Supervision", NobodyWatches)
        monkeypatch.setattr(restarts.worker_count, "choose_worker_count", lambda *_, **__: room)
        restarts.run_with_restarts(job)
        return begun

    return run


def saves(step):
    """Return the end of a start that commits a checkpoint and fails."""

    def end(folder):
        Writer(folder, "s", 0, 1).write({"model/weight": torch.zeros(1)}, TrainState(step))
        return RuntimeError(f"failed after step {step}")

    return end


@pytest.mark.fault(
    "Processes",
    "every start fails at the same step",
    "the run stops after cluster.max_failures in a row without a newer checkpoint",
)
def test_a_run_that_fails_repeatedly_at_one_step_stops_with_the_reason(started):
    error = RuntimeError("Traceback\n  ...\nValueError: the window 7 of step 17 is bad")
    with pytest.raises(TrainingError) as stopped:
        started(*[error] * 9)
    assert str(stopped.value) == (
        "ValueError: the window 7 of step 17 is bad. This was failure 4 in a row without a "
        "checkpoint after step 0"
    )


@pytest.mark.fault(
    "Processes",
    "many failures occur, with newer checkpoints between them",
    "the run continues",
)
def test_failures_with_a_newer_checkpoint_between_them_do_not_add_up(started):
    begun = started(*[saves(step) for step in range(1, 9)], ENDED)
    assert [start.step for start in begun] == list(range(9))
    assert begun[-1].why == "failed after step 8"


@pytest.mark.fault(
    "Checkpoints",
    "Ray Train's own files of a run are damaged",
    "they are not read: the run continues from its own checkpoints",
)
def test_a_run_continues_if_rays_own_files_are_damaged(started):
    begun = started(ActorDiedError(), ENDED)
    assert len(begun) == 2 and begun[1].why


@pytest.mark.fault(
    "Processes",
    "a worker has too little memory, on a GPU or on its node",
    "the run continues with smaller micro-batches; at single windows it ends with the remedy",
)
@pytest.mark.parametrize(
    "said",
    [
        'raise Error("out of memory")\ntorch.OutOfMemoryError: CUDA out of memory. Tried 2 GiB.\n',
        "2 workers were killed due to the node running low on memory\nSee what is out of memory",
        "DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes",
    ],
)
def test_a_run_that_lacks_memory_continues_with_smaller_micro_batches_down_to_single_windows(
    started, said
):
    begun = started(RuntimeError(said), RuntimeError(said), ENDED)
    assert [start.micro_batches for start in begun] == [1, 2, 4]
    assert begun[1].why.endswith(": smaller micro-batches are tried")
    named = ("torch.OutOfMemoryError: CUDA out", "running low on memory:", "can't allocate memory:")
    assert any(words in begun[1].why for words in named)
    assert len(begun[1].why.splitlines()) == 1
    with pytest.raises(TrainingError, match=r"takes one window at a time already: set a lower"):
        started(*[RuntimeError(said)] * 9)


def test_the_last_line_of_a_workers_error_is_the_reason():
    failed = RuntimeError("training failed")
    failed.worker_failures = {1: RuntimeError("Traceback\n  line\nValueError: no such corpus")}
    assert restarts._reason(failed) == "worker 1: ValueError: no such corpus"


@pytest.mark.fault(
    "Nodes and networks",
    "a worker loses its connection to another one, which died",
    "the dead worker is named as the reason",
)
def test_a_lost_worker_is_distinguished_from_those_that_lost_their_connection_to_it():
    gone = RuntimeError("workers failed")
    gone.worker_failures = {0: RuntimeError("Connection closed by peer"), 1: ActorDiedError()}
    assert restarts._reason(gone) == "worker 1 died: its process or its node is gone"
    gone.worker_failures = {0: RuntimeError("Connection closed by peer [10.0.0.2]")}
    assert restarts._reason(gone) == "worker 0 lost its connection to another worker, which died"
    gone.worker_failures = {0: RuntimeError("The actor is dead because its process has died.")}
    assert restarts._reason(gone) == "worker 0 died: its process or its node is gone"


@pytest.mark.fault(
    "Nodes and networks",
    "the cluster has no room for the workers",
    "the run waits for cluster.wait_seconds, then ends with the remedy",
)
def test_a_run_without_room_for_its_workers_ends_with_the_command_to_type(started):
    with pytest.raises(TrainingError, match=r"no room for 1 workers in 3600 s\. Run `ray status`"):
        started(room=None)


@pytest.mark.fault(
    "Storage",
    "the run's folder cannot be written to at a start",
    "the run waits for ten minutes, then ends with the reason",
)
def test_a_run_waits_for_a_storage_that_refuses_it_then_names_it(started, monkeypatch, tmp_path):
    monkeypatch.setattr(restarts, "STORAGE_SECONDS", 0.0)
    (tmp_path / "run").write_text("a file where the run's folder should be")
    with pytest.raises(TrainingError, match=r"run could not be written to for 0 s \(.*free"):
        started(ENDED)
