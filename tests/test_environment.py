from importlib.metadata import version

from scaling import environment


def test_versions_are_those_that_are_installed():
    assert environment.versions()["ray"] == version("ray")


def test_hardware_names_processor_and_cores():
    hardware = environment.hardware()
    assert hardware["cores"] >= 1
    assert hardware["processor"]
    assert hardware["memory_bytes"] > 2**28


def test_outside_a_git_clone_the_code_version_is_unknown(monkeypatch, tmp_path):
    assert environment.code_version() != "unknown"
    monkeypatch.setattr(environment, "CLONE", tmp_path)
    assert environment.code_version() == "unknown"
