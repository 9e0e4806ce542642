"""``ray up`` with the on-prem file over three hosts, a sweep as a job, the token and ``ray down``.

The hosts are namespaces of this machine (tests/helpers/hosts.py), reached by ssh.
"""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from scaling.runs.record import FILE_NAME, RunRecord
from tests.helpers import hosts
from tests.helpers.clone import CLONE
from tests.helpers.runs import CONTENT

pytestmark = pytest.mark.slow

FILE = CLONE / "configs" / "clusters" / "onprem.yaml"
DASHBOARD = "http://127.0.0.1:8265"
# Small enough for three nodes on one machine.
SMALL = "--object-store-memory=120000000 --num-cpus="
ASK = """
import sys, urllib.error, urllib.request
request = urllib.request.Request(sys.argv[1], data=sys.argv[3].encode() or None)
request.add_header("Content-Type", "application/json")
if sys.argv[2]:
    request.add_header("Authorization", f"Bearer {sys.argv[2]}")
try:
    with urllib.request.urlopen(request, timeout=20) as answer:
        print(answer.status, answer.read().decode())
except urllib.error.HTTPError as error:
    print(error.code)
"""


def adapted(network: hosts.Hosts) -> dict[str, Any]:
    """Return the on-prem file with the five marked lines changed, and small sizes."""
    config = yaml.safe_load(FILE.read_text())
    head, *workers = [host.address for host in network.hosts]
    config["provider"] |= {"head_ip": head, "worker_ips": workers}
    config["auth"] = {"ssh_user": "root", "ssh_private_key": str(network.key)}
    config["min_workers"] = len(workers)
    for node, cpus in (("head", 1), ("worker", 3)):
        commands = config[f"{node}_start_ray_commands"]
        commands[-1] = commands[-1].replace("ray start ", f"ray start {SMALL}{cpus} ")
        assert SMALL in commands[-1]
    return config


class Cluster:
    """A running cluster, used from the launcher."""

    def __init__(self, network: hosts.Hosts, file: Path):
        self.network = network
        self.file = file
        self.token = self.succeeds("cat", "/root/.ray/auth_token").strip()

    def run(self, *words: str, token: str | None = None, seconds: float = 900):
        environment = ["RAY_AUTH_MODE=token", *([f"RAY_AUTH_TOKEN={token}"] if token else [])]
        return self.network.run("env", *environment, *words, seconds=seconds)

    def succeeds(self, *words: str) -> str:
        done = self.run(*words)
        assert done.returncode == 0, done.stdout
        return done.stdout

    def submit(self, *words: str, token: str | None = None):
        job = ["ray", "job", "submit", "--address", DASHBOARD, "--working-dir", "."]
        return self.run(*job, "--", *words, token=token)

    def ask(self, path: str, token: str, body: str = "") -> tuple[int, str]:
        """Return the status and the text of the answer; with a body, the request is a POST."""
        answer = self.network.run("python", "-c", ASK, DASHBOARD + path, token, body).stdout
        status, _, text = answer.strip().partition(" ")
        return int(status) if status.isdecimal() else 0, text

    def nodes(self) -> list[dict[str, Any]]:
        """Return the nodes that the dashboard lists as alive; none while it does not answer."""
        status, text = self.ask("/api/v0/nodes", self.token)
        if status != 200:
            return []
        found = json.loads(text)["data"]["result"]["result"]
        return [node for node in found if node["state"] == "ALIVE"]


def within(seconds: float, condition) -> bool:
    """Return whether the condition becomes true within ``seconds``."""
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.5)
    return True


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    if lacking := hosts.missing():
        pytest.skip(f"hosts cannot be made here without {', '.join(lacking)}")
    with hosts.made(3, tmp_path_factory.mktemp("hosts")) as network:
        file = network.shared / "onprem.yaml"
        file.write_text(yaml.safe_dump(adapted(network)))
        key = network.run("ray", "get-auth-token", "--generate")
        assert key.returncode == 0, key.stdout
        network.run("chmod", "600", "/root/.ray/auth_token")
        cluster = Cluster(network, file)
        cluster.succeeds("ray", "up", "--yes", "--no-config-cache", str(file))
        network.start("ray", "dashboard", "--no-config-cache", str(file))
        assert within(300, lambda: len(cluster.nodes()) == 3), log_of_autoscaler(cluster)
        yield cluster


def log_of_autoscaler(cluster: Cluster) -> str:
    words = "tail -n 60 /tmp/ray/session_latest/logs/monitor.*"
    return cluster.run("ray", "exec", str(cluster.file), words).stdout


def test_the_workers_are_hosts_of_their_own(cluster):
    addresses = {node["node_ip"] for node in cluster.nodes()}
    assert addresses == {host.address for host in cluster.network.hosts}


@pytest.mark.fault("Security", "the dashboard is asked without the token", "it refuses to answer")
@pytest.mark.parametrize(
    "path", ["/api/jobs/", "/api/v0/nodes", "/nodes?view=summary", "/api/cluster_status"]
)
@pytest.mark.parametrize("token", ["", "0" * 64], ids=["no token", "a wrong token"])
def test_the_dashboard_refuses_requests_without_the_token(cluster, path, token):
    status, text = cluster.ask(path, token)
    assert status in (401, 403)
    assert not text
    assert cluster.ask(path, cluster.token)[0] == 200


@pytest.mark.fault("Security", "a job is sent with a wrong token, or with none", "it is not taken")
def test_no_job_is_taken_with_a_wrong_token_or_none(cluster):
    taken = cluster.network.shared / "taken"
    done = cluster.submit("touch", str(taken), token="0" * 64)
    assert done.returncode != 0
    assert "Invalid" in done.stdout, done.stdout
    job = json.dumps({"entrypoint": f"touch {taken}"})
    for token in ("", "0" * 64):
        assert cluster.ask("/api/jobs/", token, body=job)[0] in (401, 403)
    assert not taken.exists()
    # With the token the same job is accepted, so only the token was missing.
    assert cluster.ask("/api/jobs/", cluster.token, body=job)[0] == 200
    assert within(60, taken.exists)


@pytest.mark.fault("Security", "the dashboard is asked from another machine", "it does not answer")
def test_the_dashboard_answers_on_the_loopback_of_the_head_alone(cluster):
    head = cluster.network.hosts[0].address
    probe = cluster.run("bash", "-c", f"exec 3<> /dev/tcp/{head}/8265")
    assert probe.returncode != 0


def test_a_job_sweeps_over_the_hosts_and_reports_into_the_shared_folder(cluster):
    shared = cluster.network.shared
    sweep = {
        **CONTENT,
        "study": "onprem",
        "corpus": str(shared / "corpus"),
        "train": {**CONTENT["train"], "steps": 3},
        # A worker takes two of a host's three CPUs, so a run's workers are on two hosts.
        "cluster": {"workers": 2, "cpus_per_worker": 2, "storage": str(shared / "runs")},
        "sweep": {"grid": {"model.context": [2_000, 4_000]}},
    }
    sweep["windows"] = {**CONTENT["windows"], "history": 4_000}
    file = shared / "sweep.yaml"
    file.write_text(yaml.safe_dump(sweep))
    steps = (
        f"prepare configs/corpora/embedded.yaml destination={shared / 'corpus'}",
        f"doctor --cluster {file}",
        f"sweep {file}",
        f"report {shared / 'runs' / 'onprem'}",
    )
    line = " && ".join(f"python -m scaling {step}" for step in steps)
    done = cluster.submit("bash", "-c", line)
    assert done.returncode == 0, done.stdout
    records = [
        RunRecord.model_validate_json(path.read_text())
        for path in (shared / "runs" / "onprem").glob(f"*/{FILE_NAME}")
    ]
    assert sorted(record.axes["model.context"] for record in records) == [2_000, 4_000]
    # The job carries the code without its history.
    assert all(record.code_version.startswith("files-") for record in records)
    assert "bits" in done.stdout
    names = ", ".join(f"host{i} ({host.address})" for i, host in enumerate(cluster.network.hosts))
    assert f"ok       nodes: 3 nodes: {names}." in done.stdout
    assert "ok       room: 2 workers of 2 CPU fit on the present nodes." in done.stdout
    assert re.search(r"ok       all-reduce: 8 MiB over 3 nodes by gloo in .* GB/s", done.stdout)
    assert (shared / "runs" / "onprem" / "report.html").exists()


@pytest.mark.fault(
    "Storage",
    "some nodes do not share cluster.storage",
    "the run is refused, with the nodes' names",
)
def test_a_storage_that_the_hosts_do_not_share_is_found_with_their_names(cluster):
    # Each host has its own /tmp.
    file = cluster.network.shared / "sweep.yaml"
    done = cluster.submit(
        *("python", "-m", "scaling", "doctor", "--cluster", str(file), "cluster.storage=/tmp/runs")
    )
    assert done.returncode != 0
    # Ray repeats the last lines of a failed job.
    problems = {line for line in done.stdout.splitlines() if line.startswith("problem  storage: ")}
    for number, host in list(enumerate(cluster.network.hosts))[1:]:
        (line,) = [line for line in problems if f"the node host{number} ({host.address})" in line]
        assert "does not share /tmp/runs/onprem, where runs are stored (it does not see it)" in line
    assert len(problems) == 2


def test_ray_down_leaves_no_process_on_any_host(cluster):
    for line, process in cluster.network.launcher.processes().items():
        if line.startswith("ssh "):
            # This is the test's own tunnel.
            process.kill()
    cluster.succeeds("ray", "down", "--yes", str(cluster.file))

    def left() -> list[str]:
        lines = [line for host in cluster.network.hosts for line in host.processes()]
        return [line for line in lines if not line.startswith("sshd")]

    assert within(60, lambda: not left()), left()
