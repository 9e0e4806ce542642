"""The doctor finds each problem where there is one, and nothing on a healthy machine."""

import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from scaling.cluster import doctor
from tests.helpers.clone import CLONE
from tests.helpers.command import executable


@pytest.fixture(autouse=True)
def plain_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty home, no GPU driver and none of the variables that the checks read."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    for name in ("RAY_ADDRESS", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "TORCH_EXTENSIONS_DIR"):
        monkeypatch.delenv(name, raising=False)
    return home


def without_imported_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in doctor.PACKAGES:
        monkeypatch.delitem(sys.modules, name, raising=False)


def test_a_healthy_machine_has_no_problem():
    findings = doctor.examine(CLONE)
    assert [finding for finding in findings if finding.status == "problem"] == []
    names = [finding.name for finding in findings]
    assert len(names) == len(set(names))
    assert set(doctor.LIBRARIES) < set(names)


def test_the_doctor_needs_neither_torch_nor_ray():
    program = (
        "import sys, scaling.cluster.doctor; sys.exit(bool({'torch', 'ray'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", program], cwd=CLONE, check=True)


def test_an_old_python_is_a_problem(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "version_info", (3, 10, 4, "final", 0))
    finding = doctor.python()
    assert finding.status == "problem"
    assert "Python is 3.10.4" in finding.sentence


@pytest.mark.fault(
    "Configurations",
    "a library's release differs from its pin",
    "`doctor` names it",
)
def test_a_library_of_another_release_is_a_problem(tmp_path: Path):
    (tmp_path / "constraints.txt").write_text("torch==1.0.0\nray==2.60.0\n")
    findings = {finding.name: finding for finding in doctor.libraries(tmp_path / "constraints.txt")}
    assert findings["torch"].status == "problem"
    assert "1.0.0 is pinned" in findings["torch"].sentence
    assert findings["deepspeed"].status == "problem"
    assert "no line in constraints.txt" in findings["deepspeed"].sentence


def test_a_missing_library_is_a_problem():
    finding = doctor.library("longwave-no-such-library", "1.0")
    assert finding.status == "problem"
    assert "not installed" in finding.sentence


def test_missing_pins_are_a_problem(tmp_path: Path):
    (finding,) = doctor.libraries(tmp_path / "constraints.txt")
    assert finding.status == "problem"
    assert "constraints.txt" in finding.sentence


def test_the_packages_of_the_clone_are_not_foreign():
    assert doctor.foreign_packages(CLONE) == []


def test_a_package_of_the_same_name_is_foreign(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "__init__.py").touch()
    without_imported_packages(monkeypatch)
    monkeypatch.syspath_prepend(tmp_path)
    (sentence,) = doctor.foreign_packages(CLONE)
    assert f"`datasets` resolves to {tmp_path / 'datasets'}" in sentence
    assert doctor.folders(CLONE).status == "problem"


def test_a_module_of_the_same_name_is_foreign(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    (tmp_path / "model.py").touch()
    without_imported_packages(monkeypatch)
    monkeypatch.syspath_prepend(tmp_path)
    (sentence,) = doctor.foreign_packages(CLONE)
    assert str(tmp_path / "model.py") in sentence


def test_a_package_that_cannot_be_found_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    without_imported_packages(monkeypatch)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert len(doctor.foreign_packages(CLONE)) == len(doctor.PACKAGES)


def test_one_core_is_a_warning():
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        assert doctor.cores().status == "warning"
    finally:
        os.sched_setaffinity(0, allowed)


def test_little_memory_is_a_warning(monkeypatch: pytest.MonkeyPatch):
    state = SimpleNamespace(available=doctor.GIB, total=8 * doctor.GIB)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: state)
    finding = doctor.memory()
    assert finding.status == "warning"
    assert "1.0 of 8.0 GiB" in finding.sentence


@pytest.mark.fault("Storage", "the disk is nearly full before a run", "`doctor` reports it")
@pytest.mark.parametrize(("free", "status"), [(0.5, "problem"), (2.0, "warning"), (50.0, "ok")])
def test_a_full_disk_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, free: float, status: str
):
    usage = SimpleNamespace(free=int(free * doctor.GIB))
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda folder: usage)
    finding = doctor.disk(tmp_path)
    assert finding.status == status
    assert f"{free} GiB" in finding.sentence


def test_shared_memory_smaller_than_the_object_store_is_a_warning(monkeypatch: pytest.MonkeyPatch):
    # The default of a container: 64 MiB.
    usage = SimpleNamespace(free=64 * 2**20)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda folder: usage)
    finding = doctor.shared_memory(Path("/dev/shm"))
    assert finding.status == "warning"
    assert "--shm-size=" in finding.sentence


def test_missing_shared_memory_is_a_warning(tmp_path: Path):
    assert doctor.shared_memory(tmp_path / "shm").status == "warning"


def test_a_machine_without_a_driver_has_no_gpu():
    finding = doctor.gpus()
    assert finding.status == "ok"
    assert "No GPU" in finding.sentence


def test_a_failing_driver_is_a_problem(tmp_path: Path):
    executable(tmp_path / "bin" / "nvidia-smi", "exit 9")
    assert doctor.gpus().status == "problem"


@pytest.mark.parametrize(("build", "status"), [("2.13.0+cpu", "warning"), ("2.13.0", "ok")])
def test_gpus_are_named_and_want_a_torch_with_cuda(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, build: str, status: str
):
    executable(tmp_path / "bin" / "nvidia-smi", "echo 'NVIDIA A100-SXM4-40GB, 40960 MiB'")
    monkeypatch.setattr(importlib.metadata, "version", lambda name: build)
    finding = doctor.gpus()
    assert finding.status == status
    assert "A100" in finding.sentence


@pytest.mark.fault(
    "Processes",
    "a killed build of an operator leaves its lock",
    "`doctor` names the lock and the command that removes it",
)
def test_a_lock_without_a_living_build_is_a_problem(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    lock = tmp_path / "cpu_adam" / "lock"
    lock.parent.mkdir()
    lock.touch()
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path))
    finding = doctor.build_locks()
    assert finding.status == "problem"
    assert f"rm {lock}" in finding.sentence


def test_a_lock_in_the_default_folder_is_found(plain_machine: Path):
    lock = plain_machine / ".cache" / "torch_extensions" / "py311_cpu" / "cpu_adam" / "lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    assert doctor.build_locks().status == "problem"


def test_the_lock_of_a_running_build_is_left_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path))
    with (tmp_path / "lock").open("x"):
        assert doctor.build_locks().status == "ok"
    assert doctor.build_locks().status == "problem"


def test_a_token_that_others_can_read_is_a_warning(plain_machine: Path):
    token = plain_machine / ".ray" / "auth_token"
    token.parent.mkdir()
    token.touch()
    token.chmod(0o644)
    finding = doctor.token()
    assert finding.status == "warning"
    assert f"chmod 600 {token}" in finding.sentence
    token.chmod(0o600)
    assert doctor.token().status == "ok"


def test_a_named_token_file_that_is_missing_is_a_problem(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))
    assert doctor.token().status == "problem"


@pytest.mark.fault("Security", "the token is in the environment", "it is never printed")
def test_a_token_in_the_environment_is_never_printed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RAY_AUTH_TOKEN", "do-not-print-me")
    finding = doctor.token()
    assert finding.status == "ok"
    assert "do-not-print-me" not in finding.sentence


def test_the_address_of_another_cluster_is_a_warning(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.7:6379")
    finding = doctor.address()
    assert finding.status == "warning"
    assert "10.0.0.7:6379" in finding.sentence
