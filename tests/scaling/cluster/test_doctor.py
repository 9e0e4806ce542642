"""The doctor finds each problem, and none on a healthy machine."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from scaling.cluster import doctor
from scaling.cluster.machine import pinned_versions, read_facts
from scaling.common.paths import PACKAGES, foreign_packages
from tests.helpers.clone import CLONE
from tests.helpers.command import executable
from tests.helpers.machines import GIB, healthy


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


def facts_here():
    return read_facts(pinned_versions(CLONE), [str(CLONE)])


def without_imported_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PACKAGES:
        monkeypatch.delitem(sys.modules, name, raising=False)


def test_a_healthy_machine_has_no_problem():
    results = doctor.examine(CLONE)
    assert [result for result in results if result.status == "problem"] == []
    names = [result.name for result in results]
    assert len(names) == len(set(names))
    assert set(names) > {"Python", "libraries", "packages", "disk", "GPUs", "Ray token"}
    for check in (*doctor.NODE_CHECKS, doctor.check_address, doctor.check_corpus):
        assert check(healthy()).status == "ok", check


@pytest.mark.parametrize(
    ("module", "absent"),
    [("scaling.cluster.doctor", {"torch", "ray"}), ("scaling.common.paths", {"psutil", "numpy"})],
)
def test_checks_import_neither_torch_nor_ray_and_the_first_one_no_library(module, absent):
    program = f"import sys, {module}; sys.exit(bool({absent} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", program], cwd=CLONE, check=True)


def test_an_old_python_is_a_problem():
    result = doctor.check_python(healthy(versions={"python": "3.10.4"}))
    assert result.status == "problem"
    assert "Python is 3.10.4" in result.sentence


@pytest.mark.fault(
    "Configurations",
    "a library's release differs from its pin",
    "`doctor` names it",
)
def test_a_library_of_another_release_is_a_problem(tmp_path: Path):
    (tmp_path / "constraints.txt").write_text("torch==1.0.0\nray==2.60.0\n")
    result = doctor.check_libraries(healthy(reference=pinned_versions(tmp_path)))
    assert result.status == "problem"
    assert "but constraints.txt has 1.0.0: run `python -m pip install torch==1.0.0`" in (
        result.sentence
    )
    assert "constraints.txt has no version of deepspeed" in result.sentence


def test_all_pins_are_read_and_a_local_label_names_the_same_release():
    pins = pinned_versions(CLONE)
    labelled = {name: f"{version}+cpu" for name, version in pins.versions.items()}
    result = doctor.check_libraries(healthy(reference=pins, versions=labelled))
    assert result.status == "ok"
    assert "torch" in result.sentence and "soxr" in result.sentence


def test_a_missing_library_is_a_problem():
    versions = {name: version for name, version in healthy().versions.items() if name != "ray"}
    result = doctor.check_libraries(healthy(versions=versions))
    assert result.status == "problem"
    assert "ray is not installed" in result.sentence


def test_missing_pins_are_a_problem(tmp_path: Path):
    result = doctor.check_libraries(healthy(reference=pinned_versions(tmp_path)))
    assert result.status == "problem"
    assert "constraints.txt has no version of torch" in result.sentence


def test_the_packages_of_the_clone_are_not_foreign():
    assert foreign_packages(CLONE) == []


def test_a_package_of_the_same_name_is_foreign(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "__init__.py").touch()
    without_imported_packages(monkeypatch)
    monkeypatch.syspath_prepend(tmp_path)
    (sentence,) = foreign_packages(CLONE)
    assert f"`datasets` resolves to {tmp_path / 'datasets'}" in sentence
    assert doctor.check_packages(facts_here()).status == "problem"


def test_a_module_of_the_same_name_is_foreign(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    (tmp_path / "model.py").touch()
    without_imported_packages(monkeypatch)
    monkeypatch.syspath_prepend(tmp_path)
    (sentence,) = foreign_packages(CLONE)
    assert str(tmp_path / "model.py") in sentence


def test_a_package_that_cannot_be_found_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    without_imported_packages(monkeypatch)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert len(foreign_packages(CLONE)) == len(PACKAGES)


def test_one_core_is_a_warning():
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        assert doctor.check_cores(facts_here()).status == "warning"
    finally:
        os.sched_setaffinity(0, allowed)


def test_little_memory_is_a_warning():
    result = doctor.check_memory(healthy(memory_available=GIB, memory_total=8 * GIB))
    assert result.status == "warning"
    assert "1.0 of 8.0 GiB" in result.sentence


@pytest.mark.fault("Storage", "the disk is nearly full before a run", "`doctor` reports it")
@pytest.mark.parametrize(("free", "status"), [(0.5, "problem"), (2.0, "warning"), (50.0, "ok")])
def test_a_nearly_full_disk_is_reported(free: float, status: str):
    result = doctor.check_disk(healthy(free={"/tmp": 50 * GIB, "/data": int(free * GIB)}))
    assert result.status == status
    assert f"{free} GiB" in result.sentence
    assert "/data" in result.sentence


def test_shared_memory_smaller_than_the_object_store_is_a_warning():
    # The default of a container: 64 MiB.
    result = doctor.check_shared_memory(healthy(shared_memory=64 * 2**20))
    assert result.status == "warning"
    assert "--shm-size=" in result.sentence


def test_missing_shared_memory_is_a_warning():
    assert doctor.check_shared_memory(healthy(shared_memory=None)).status == "warning"


def test_a_machine_without_a_driver_has_no_gpu():
    result = doctor.check_gpus(facts_here())
    assert result.status == "ok"
    assert "No GPU" in result.sentence


def with_driver(tmp_path: Path, script: str):
    """Return the facts of this machine with this ``nvidia-smi``."""
    executable(tmp_path / "bin" / "nvidia-smi", script)
    return facts_here()


@pytest.mark.fault(
    "Nodes and networks", "a GPU's driver does not answer", "it is named before a run"
)
def test_a_driver_that_does_not_answer_is_a_problem(tmp_path: Path):
    result = doctor.check_gpus(with_driver(tmp_path, "exit 9"))
    assert result.status == "problem"
    assert result.sentence.startswith("nvidia-smi fails (")


@pytest.mark.parametrize(("build", "status"), [("2.13.0+cpu", "warning"), ("2.13.0", "ok")])
def test_gpus_are_named_and_need_a_torch_with_cuda(tmp_path: Path, build: str, status: str):
    facts = with_driver(tmp_path, "echo '0, NVIDIA A100-SXM4-40GB, 40960, 3, 0, Not Active'")
    result = doctor.check_gpus(healthy(gpus=facts.gpus, versions={"torch": build}))
    assert result.status == status
    assert "A100-SXM4-40GB, 40 GiB" in result.sentence


@pytest.mark.fault(
    "Nodes and networks",
    "a GPU has memory errors, is in use, or is slowed down",
    "it is named before a run",
)
@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("0, NVIDIA A100, 40960, 3, 0, Not Active", None),
        ("1, NVIDIA A100, 40960, 3, 5, Not Active", "GPU 1 (NVIDIA A100) has had 5 memory errors"),
        ("2, NVIDIA A100, 40960, 20480, 0, Not Active", "has 20.0 GiB of its memory in use"),
        ("3, NVIDIA A100, 40960, 3, [N/A], Active", "is slowed down by its hardware"),
    ],
)
def test_a_gpu_that_is_not_fit_to_train_is_named(tmp_path, line, words):
    facts = with_driver(tmp_path, f"echo '{line}'")
    result = doctor.check_gpus(healthy(gpus=facts.gpus, versions={"torch": "2.13.0"}))
    if words is None:
        assert result.status == "ok"
    else:
        assert result.status == "problem"
        assert words in result.sentence


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
    result = doctor.check_build_locks(facts_here())
    assert result.status == "problem"
    assert f"rm {lock}" in result.sentence


def test_a_lock_in_the_default_folder_is_found(plain_machine: Path):
    lock = plain_machine / ".cache" / "torch_extensions" / "py311_cpu" / "cpu_adam" / "lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    assert doctor.check_build_locks(facts_here()).status == "problem"


def test_the_lock_of_a_running_build_is_left_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path))
    with (tmp_path / "lock").open("x"):
        assert doctor.check_build_locks(facts_here()).status == "ok"
    assert doctor.check_build_locks(facts_here()).status == "problem"


def test_a_token_that_others_can_read_is_a_warning(plain_machine: Path):
    token = plain_machine / ".ray" / "auth_token"
    token.parent.mkdir()
    token.touch()
    token.chmod(0o644)
    result = doctor.check_token(facts_here())
    assert result.status == "warning"
    assert f"chmod 600 {token}" in result.sentence
    token.chmod(0o600)
    assert doctor.check_token(facts_here()).status == "ok"


def test_a_named_token_file_that_is_missing_is_a_problem(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))
    assert doctor.check_token(facts_here()).status == "problem"


@pytest.mark.fault("Security", "the token is in the environment", "it is never printed")
def test_a_token_in_the_environment_is_never_printed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RAY_AUTH_TOKEN", "do-not-print-me")
    assert "do-not-print-me" not in repr(facts_here())
    assert doctor.check_token(facts_here()).status == "ok"


def test_the_address_of_another_cluster_is_a_warning(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.7:6379")
    result = doctor.check_address(facts_here())
    assert result.status == "warning"
    assert "10.0.0.7:6379" in result.sentence
