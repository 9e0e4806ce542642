from importlib.metadata import version

from scaling.common import environment
from scaling.common.hardware import hardware


def test_versions_are_those_that_are_installed():
    assert environment.versions()["ray"] == version("ray")


def test_hardware_names_processor_and_cores():
    found = hardware()
    assert found["cores"] >= 1
    assert found["processor"]
    assert found["memory_bytes"] > 2**28


def test_without_git_the_code_version_is_a_digest_of_the_code(monkeypatch, tmp_path):
    assert not environment.code_version().startswith("files-")
    monkeypatch.setattr(environment, "CLONE", tmp_path)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "head.py").write_text("")
    (tmp_path / "notes.txt").write_text("")
    version = environment.code_version()
    assert version.startswith("files-")
    (tmp_path / "notes.txt").write_text("not code")
    assert environment.code_version() == version
    (tmp_path / "model" / "head.py").write_text("pass")
    assert environment.code_version() != version
