"""The cluster files for on-prem, GCP, Kubernetes and Slurm: valid, private and without secrets."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

from tests.helpers import hosts
from tests.helpers.clone import CLONE
from tests.helpers.cluster_files import PLACEHOLDER, SECRETS, pinned

FOLDER = CLONE / "configs" / "clusters"
LAUNCHED = ("onprem.yaml", "gcp.yaml")
FILES = sorted(path.name for path in FOLDER.iterdir() if path.suffix in {".yaml", ".sh"})


def read(name: str) -> Any:
    return yaml.safe_load((FOLDER / name).read_text())


@pytest.mark.parametrize("name", LAUNCHED)
def test_the_launcher_of_ray_accepts_it_and_refuses_a_misspelt_key(name):
    validate_config(prepare_config(read(name)))
    with pytest.raises(Exception, match="idle_timeout_minute"):
        validate_config(prepare_config({**read(name), "idle_timeout_minute": 20}))


@pytest.mark.parametrize("name", LAUNCHED)
def test_its_dashboard_is_private_and_every_ray_starts_with_the_token(name):
    config = read(name)
    head, worker = (config[f"{node}_start_ray_commands"][-1] for node in ("head", "worker"))
    assert "--dashboard-host=127.0.0.1" in head
    for start in (head, worker):
        assert start.startswith("export RAY_AUTH_MODE=token")
    assert any(remote.endswith("/.ray/auth_token") for remote in config["file_mounts"])


@pytest.mark.parametrize("name", LAUNCHED)
def test_set_up_ends_with_the_check_of_the_node(name):
    assert read(name)["setup_commands"][-1].rstrip("; }").endswith("node_check.py constraints.txt")


@pytest.mark.fault(
    "Nodes and networks",
    "a host's `ray start` gives up on a slow disk",
    "it is tried once more; if it fails again, the host is left out with Ray's message",
)
@pytest.mark.parametrize(("failures", "code"), [(0, 0), (1, 0), (2, 1)])
def test_a_start_that_ray_gave_up_is_tried_once_more(tmp_path, failures, code):
    programs = tmp_path / "longwave" / ".venv" / "bin"
    programs.mkdir(parents=True)
    ray = programs / "ray"
    ray.write_text(
        f"#!/bin/sh\n[ $1 = start ] || exit 0\necho start >> {tmp_path}/starts\n"
        f"[ $(wc -l < {tmp_path}/starts) -gt {failures} ] || {{ echo timed out; exit 1; }}\n"
        "echo Ray runtime started\n"
    )
    ray.chmod(0o755)
    start = read("onprem.yaml")["worker_start_ray_commands"][-1]
    # Ray's launcher runs commands in this form.
    done = subprocess.run(
        ["bash", "--login", "-c", "-i", f"true && ({start})"],
        env={**os.environ, "HOME": str(tmp_path), "RAY_HEAD_IP": "10.0.0.1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == code, done.stderr
    assert ("timed out" in done.stdout) == bool(code)
    assert len((tmp_path / "starts").read_text().splitlines()) == min(failures + 1, 2)


@pytest.mark.parametrize("name", LAUNCHED)
def test_no_command_has_a_comment(name):
    """Ray puts a command into brackets; a comment would hide the closing one."""
    config = read(name)
    commands = [line for key, lines in config.items() if "commands" in key for line in lines]
    assert commands
    assert not [line for line in commands if "#" in line]


@pytest.mark.parametrize("name", FILES)
def test_the_file_has_no_secret_and_marks_every_line_to_change(name):
    text = (FOLDER / name).read_text()
    assert not SECRETS.search(text)
    settings = [line.partition(" #")[0] for line in text.splitlines() if not line.startswith("#")]
    marked = [line for line in text.splitlines() if "CHANGE" in line]
    assert marked
    for line in settings:
        if PLACEHOLDER.search(line):
            assert any(line in other for other in marked), f"no mark: {line}"


def test_the_nodes_of_google_run_the_pinned_ray_without_public_addresses():
    config = read("gcp.yaml")
    assert config["docker"]["image"] == f"rayproject/ray:{pinned('ray')}-py311-gpu"
    assert config["provider"]["use_internal_ips"]
    for kind in config["available_node_types"].values():
        assert not any("accessConfigs" in card for card in kind["node_config"]["networkInterfaces"])
    scheduling = config["available_node_types"]["a100_spot"]["node_config"]["scheduling"]
    assert scheduling["provisioningModel"] == "SPOT"


def test_a_ray_job_of_kubernetes_is_whole_and_ends_by_itself():
    job = read("kuberay.yaml")
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    spec = job["spec"]
    assert spec["shutdownAfterJobFinishes"]
    assert spec["activeDeadlineSeconds"] > 0
    assert yaml.safe_load(spec["runtimeEnvYAML"])["working_dir"].endswith(".zip")
    assert (CLONE / spec["entrypoint"].split()[-1]).exists()
    cluster = spec["rayClusterSpec"]
    assert cluster["rayVersion"] == pinned("ray")
    assert cluster["authOptions"] == {"mode": "token"}
    (group,) = cluster["workerGroupSpecs"]
    assert group["minReplicas"] == group["replicas"] == group["maxReplicas"]


def test_pods_of_kubernetes_run_one_image_without_privileges_and_find_their_volumes():
    cluster = read("kuberay.yaml")["spec"]["rayClusterSpec"]
    pods = [
        group["template"]["spec"]
        for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])
    ]
    containers = [
        container
        for pod in pods
        for container in (*pod["containers"], *pod.get("initContainers", ()))
    ]
    assert len({container["image"] for container in containers}) == 1
    assert len(containers) == 3
    for container in containers:
        assert container["securityContext"]["runAsNonRoot"]
        assert not container["securityContext"]["allowPrivilegeEscalation"]
    for pod in pods:
        named = {volume["name"] for volume in pod["volumes"]}
        mounted = {mount["name"] for mount in pod["containers"][0]["volumeMounts"]}
        assert named == mounted
    (worker,) = pods[1]["containers"]
    assert worker["resources"]["limits"]["nvidia.com/gpu"] == "8"


def test_a_linter_finds_nothing_in_the_script_for_slurm():
    program = Path(sys.executable).parent / "shellcheck"
    found = subprocess.run([program, FOLDER / "slurm.sh"], capture_output=True, text=True)
    assert found.returncode == 0, found.stdout + found.stderr


# Slurm's answers on a cluster of one node, this machine.
SCONTROL = """#!/bin/sh
echo localhost
"""
SRUN = """#!/bin/sh
while [ "${1#--}" != "$1" ]; do shift; done
echo "srun: $*"
exec "$@"
"""


@pytest.mark.slow
def test_the_script_for_slurm_starts_ray_runs_and_leaves_neither_ray_nor_token(tmp_path):
    if lacking := hosts.missing():
        pytest.skip(f"hosts cannot be made here without {', '.join(lacking)}")
    with hosts.made(0, tmp_path) as network:
        programs = network.shared
        for name, text in {"scontrol": SCONTROL, "srun": SRUN}.items():
            (programs / name).write_text(text)
            (programs / name).chmod(0o755)
        done = network.run(
            *("env", "SLURM_JOB_NODELIST=localhost", "SLURM_JOB_NUM_NODES=1"),
            *("bash", "-c", f'PATH={programs}:$PATH; exec bash "$@"', "slurm"),
            *("configs/clusters/slurm.sh", "plan", "configs/runs/demo.yaml"),
            seconds=600,
        )
        assert done.returncode == 0, done.stdout
        assert "pinned releases" in done.stdout
        assert "Head node started" in done.stdout
        assert "MFLOP" in done.stdout
        assert not network.launcher.processes()
    assert not list(CLONE.glob(".ray-token-*"))
