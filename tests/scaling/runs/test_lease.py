"""One writer per run: rules of the lease."""

import json
import os
import subprocess
import sys

import pytest
import yaml

from scaling.runs import lease
from scaling.runs.lease import FILE_NAME, LeaseError, hold_lease
from tests.helpers.command import scaling
from tests.helpers.runs import small_run

HOLD = """
import sys, time
from pathlib import Path
from scaling.runs.lease import hold_lease
with hold_lease(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path):
    """Start a process that has the lease of ``tmp_path``."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


@pytest.mark.fault(
    "Processes",
    "a second driver starts to train the same run",
    "it is refused with the first one's name",
)
def test_a_second_driver_is_refused_with_the_firsts_name(tmp_path, holder):
    with pytest.raises(LeaseError, match=f"is being trained by process {holder.pid} on "):
        with hold_lease(tmp_path):
            pytest.fail("two hold one lease")
    assert json.loads((tmp_path / FILE_NAME).read_text())["process"] == holder.pid


@pytest.mark.fault(
    "Processes",
    "a second driver starts to train the same run",
    "it is refused with the first one's name",
)
@pytest.mark.slow
def test_train_names_the_process_that_trains_the_run(embedded_corpus, tmp_path):
    config = small_run(embedded_corpus, tmp_path, train__steps=1)
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(config.resolved()))
    config.folder.mkdir(parents=True)
    with hold_lease(config.folder):
        done = scaling("train", "--config", path)
    assert done.returncode == 1
    assert f"is being trained by process {os.getpid()} on " in done.stderr
    assert "Traceback" not in done.stderr
    assert not (config.folder / "config.yaml").exists()


@pytest.mark.fault(
    "Processes", "a killed driver leaves its lease", "the lease is free at once on its machine"
)
def test_a_killed_drivers_lease_is_free_at_once(tmp_path, holder, monkeypatch):
    monkeypatch.setattr(lease, "PATIENCE_SECONDS", 1e9)
    holder.kill()
    with hold_lease(tmp_path):
        assert json.loads((tmp_path / FILE_NAME).read_text())["process"] != holder.pid
    assert not (tmp_path / FILE_NAME).exists()


def elsewhere(tmp_path):
    """Write the lease of a driver on another machine, which nobody renews."""
    content = {"holder": "x", "host": "elsewhere", "process": 1, "process_started": 0.0}
    (tmp_path / FILE_NAME).write_text(json.dumps({**content, "renewals": 3}))


@pytest.mark.fault(
    "Processes",
    "a driver on a lost machine leaves its lease",
    "the lease is free after 20 s without renewal",
)
def test_a_lease_of_another_machine_is_free_after_a_time_without_renewal(tmp_path, monkeypatch):
    elsewhere(tmp_path)
    monkeypatch.setattr(lease, "PATIENCE_SECONDS", 0.5)
    with hold_lease(tmp_path):
        assert json.loads((tmp_path / FILE_NAME).read_text())["host"] != "elsewhere"


def test_a_renewed_lease_is_not_free(tmp_path, monkeypatch):
    elsewhere(tmp_path)
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.5)
    real = lease.time.sleep

    def renewed(seconds):
        path = tmp_path / FILE_NAME
        path.write_text(json.dumps({**json.loads(path.read_text()), "renewals": 4}))
        real(0)

    monkeypatch.setattr(lease.time, "sleep", renewed)
    with pytest.raises(LeaseError, match="process 1 on elsewhere"):
        with hold_lease(tmp_path):
            pytest.fail("two hold one lease")
