"""Access to a Ray that Longwave starts: addresses, token, and files that run code."""

import ast
import importlib.metadata
import os
import re
import secrets
import stat
import subprocess
import sys
import sysconfig
import time

import psutil
import pytest

from scaling.cluster import auth
from scaling.cluster.auth import TokenError
from scaling.common.paths import PACKAGES
from tests.helpers.clone import CLONE

LOOPBACK = ("127.0.0.1", "::1", "::ffff:127.0.0.1")
OUTSIDE = {"RAY_ADDRESS", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_TOKEN", "RAY_AUTH_MODE"}
SECRETS = re.compile(
    r"AKIA[0-9A-Z]{16}|-----BEGIN [A-Z ]*PRIVATE KEY|gh[ps]_[0-9A-Za-z]{36}|hf_[0-9A-Za-z]{30}"
    r"|(?:api_?key|token|password|secret)[\"']?\s*[:=]\s*[\"']?[0-9A-Fa-f]{32,}",
    re.IGNORECASE,
)
UNSAFE = {
    *("pickle.load", "pickle.loads", "cloudpickle.load", "cloudpickle.loads", "dill.load"),
    *("joblib.load", "yaml.load", "yaml.unsafe_load", "yaml.full_load", "marshal.loads"),
    *("eval", "exec", "shelve.open", "pandas.read_pickle", "pd.read_pickle"),
}

ALLOWED = {
    # Data between Ray's processes of one run, never from a file.
    ("datasets/jobs.py", "pickle.loads"),
    # Arithmetic that the user types, after a check of every node of its tree.
    ("scaling/fitting/expression.py", "eval"),
}


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Make an empty home, without a token from elsewhere."""
    for name in OUTSIDE:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.fault(
    "Security",
    "there is no token, or others can read it",
    "a token is made, readable by its user alone",
)
def test_a_token_is_made_and_nobody_else_reads_it(home):
    auth.store_token()
    file = home / ".ray" / "auth_token"
    assert auth.token_path() == file
    assert mode(file) == 0o600
    made = file.read_text()
    assert len(made) == 64
    file.chmod(0o644)
    auth.store_token()
    assert mode(file) == 0o600
    assert file.read_text() == made


def test_a_token_from_the_environment_is_not_replaced(home, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_TOKEN", "x")
    auth.store_token()
    assert not (home / ".ray").exists()


@pytest.mark.fault(
    "Security",
    "a cluster on a network has no token",
    "Longwave refuses before it connects",
)
@pytest.mark.parametrize("address", ["10.0.0.5:6379", "ray://head.example:10001", "[fd00::5]:6379"])
def test_a_cluster_on_a_network_without_a_token_is_refused(home, monkeypatch, address):
    assert refusal(address) is None
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    assert f"RAY_AUTH_MODE is disabled and RAY_ADDRESS is {address}" in refusal(address)
    monkeypatch.setenv(auth.PERMISSION, "1")
    assert refusal(address) is None


@pytest.mark.parametrize("address", ["127.0.0.1:6379", "localhost:6379", "[::1]:6379"])
def test_a_cluster_on_the_loopback_needs_no_token(home, monkeypatch, address):
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    assert refusal(address) is None


def refusal(address):
    """Return the sentence with which a cluster is refused, or None."""
    try:
        auth.require_token(address)
    except TokenError as error:
        return str(error)


def outside(home):
    """Return the environment of a user in this home, without the cluster of the tests."""
    kept = {name: value for name, value in os.environ.items() if name not in OUTSIDE}
    return {**kept, "HOME": str(home)}


def test_train_refuses_before_it_connects(home):
    """The address does not answer, so a connection would take long and fail otherwise."""
    done = subprocess.run(
        [sys.executable, "-m", "scaling", "train", "--config", "configs/runs/demo.yaml"],
        cwd=CLONE,
        env={**outside(home), "RAY_AUTH_MODE": "disabled", "RAY_ADDRESS": "192.0.2.77:6379"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1
    assert "export RAY_AUTH_MODE=token" in done.stderr


@pytest.mark.fault(
    "Security",
    "a run is on one machine",
    "every port is on the loopback; no file of the run has the token",
)
@pytest.mark.slow
def test_a_run_on_this_machine_listens_on_the_loopback_and_writes_its_token_to_no_file(
    embedded_corpus, home
):
    words = [
        *("train", "--config", "configs/runs/demo.yaml", f"corpus={embedded_corpus.folder}"),
        *("train.steps=4", "train.batch=2", "cluster.workers=2", f"cluster.storage={home}/runs"),
    ]
    run = subprocess.Popen([sys.executable, "-m", "scaling", *words], cwd=CLONE, env=outside(home))
    listening = set()
    while run.poll() is None:
        listening |= listeners(run.pid)
        time.sleep(0.5)
    assert run.returncode == 0
    # Ray's head, its agents and both workers.
    assert len({name for _, name in listening}) >= 5, listening
    assert {place for place in listening if place[0] not in LOOPBACK} == set()
    file = home / ".ray" / "auth_token"
    assert mode(file) == 0o600
    token = file.read_text().strip()
    written = [path for path in (home / "runs").rglob("*") if path.is_file()]
    assert written
    assert [path for path in written if token.encode() in path.read_bytes()] == []


def listeners(pid):
    """Return the addresses, with process names, on which a process and its children listen."""
    try:
        family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.Error:
        return set()
    found = set()
    for process in family:
        try:
            name = " ".join(process.cmdline())[:80]
            places = process.net_connections("inet")
        except psutil.Error:
            continue
        found |= {(it.laddr.ip, name) for it in places if it.status == psutil.CONN_LISTEN}
    return found


def sources():
    return [path for name in PACKAGES for path in sorted((CLONE / name).rglob("*.py"))]


def calls(path):
    """Yield the dotted name of each call in a file, and the call."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


@pytest.mark.fault(
    "Security",
    "a file would run code when it is read",
    "no reader of such files is called anywhere",
)
@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(CLONE)))
def test_nothing_that_runs_code_is_read_from_files(path):
    for name, call in calls(path):
        if (path.relative_to(CLONE).as_posix(), name) in ALLOWED:
            continue
        assert name not in UNSAFE, f"line {call.lineno}: {name}"
        words = {word.arg: ast.unparse(word.value) for word in call.keywords}
        assert words.get("allow_pickle") != "True", f"line {call.lineno}: {name}"
        if name == "torch.load":
            assert words.get("weights_only") == "True", f"line {call.lineno}: {name}"


def test_the_search_for_unsafe_reads_finds_them(tmp_path):
    path = tmp_path / "x.py"
    path.write_text("import torch\ntorch.load('x')\neval('1')\n")
    assert [name for name, _ in calls(path)] == ["torch.load", "eval"]


@pytest.mark.fault("Security", "a file of the project has a secret", "a test fails")
def test_no_file_of_the_project_has_a_secret():
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=CLONE, capture_output=True, text=True, check=True
    ).stdout.split()
    found = [
        f"{name}: {match[0][:12]}..."
        for name in tracked
        if (CLONE / name).is_file()
        for match in SECRETS.finditer((CLONE / name).read_bytes().decode("latin-1"))
    ]
    assert found == []
    assert SECRETS.search(f"token: {secrets.token_hex(32)}")


def test_every_installed_distribution_has_its_pin():
    lines = (CLONE / "constraints.txt").read_text()
    pins = dict(re.findall(r"^([A-Za-z0-9._-]+)==([^\s;]+)", lines, re.MULTILINE))
    pins = {normal(name): version for name, version in pins.items()}
    # Ray also puts its bundled packages on the path.
    installed = importlib.metadata.distributions(path=[sysconfig.get_path("purelib")])
    for distribution in installed:
        name = normal(distribution.metadata["Name"])
        if name in ("pip", "setuptools", "wheel"):
            continue
        assert pins.get(name) == distribution.version.partition("+")[0], name


def normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()
