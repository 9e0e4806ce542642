"""``cluster.yaml``: Ray's launcher accepts it, it opens no port, and lines to change are marked."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

from tests.helpers.clone import CLONE
from tests.helpers.cluster_files import PLACEHOLDER, SECRETS

TEXT = (CLONE / "cluster.yaml").read_text()
MARK = "# CHANGE: "


@pytest.fixture
def cluster() -> dict[str, Any]:
    return yaml.safe_load(TEXT)


def settings(line: str) -> str:
    """Return a line without its comment."""
    return line.partition("#")[0]


def test_the_launcher_of_ray_accepts_it(cluster: dict[str, Any]):
    prepared = prepare_config(cluster)
    validate_config(prepared)
    assert prepared["available_node_types"].keys() == {"head", "a100_on_demand", "a100_spot"}


@pytest.mark.fault(
    "Configurations",
    "a key of the cluster's file is misspelt",
    "Ray's launcher refuses it",
)
def test_the_launcher_of_ray_would_refuse_a_misspelt_key(cluster: dict[str, Any]):
    cluster["idle_timeout_minute"] = 20
    with pytest.raises(Exception, match="idle_timeout_minute"):
        validate_config(prepare_config(cluster))


def test_the_dashboard_and_the_nodes_are_private(cluster: dict[str, Any]):
    start = cluster["head_start_ray_commands"][-1]
    assert "--dashboard-host=127.0.0.1" in start
    assert not any("0.0.0.0" in settings(line) for line in TEXT.splitlines())
    assert cluster["provider"]["use_internal_ips"]


@pytest.mark.parametrize("node", ["head", "worker"])
def test_every_ray_starts_with_the_token(cluster: dict[str, Any], node: str):
    starts = [line for line in cluster[f"{node}_start_ray_commands"] if "ray start" in line]
    assert starts
    assert all(start.startswith("export RAY_AUTH_MODE=token") for start in starts)
    assert "/home/ray/.ray/auth_token" in cluster["file_mounts"]


def test_the_file_has_no_secret():
    assert not SECRETS.search(TEXT)


def test_exactly_the_six_lines_to_change_are_marked():
    marked = [line for line in TEXT.splitlines() if MARK in line]
    assert len(marked) == 6
    unmarked = [line for line in TEXT.splitlines() if PLACEHOLDER.search(line) and MARK not in line]
    assert not unmarked, f"placeholders without a mark: {unmarked}"


def test_the_image_has_the_pinned_ray(cluster: dict[str, Any]):
    pinned = re.search(r"^ray==(.+)$", (CLONE / "constraints.txt").read_text(), re.MULTILINE)
    assert cluster["docker"]["image"] == f"rayproject/ray:{pinned.group(1)}-py311-gpu"


@pytest.mark.parametrize("program", ["node_check.py", "pip install"])
def test_set_up_installs_the_pins_that_are_mounted_and_checks_the_node(
    cluster: dict[str, Any], program: str
):
    mounted = {local: Path(remote) for remote, local in cluster["file_mounts"].items()}
    (command,) = cluster["setup_commands"]
    assert command.startswith(f"cd {mounted['./constraints.txt'].parent};")
    assert mounted["./configs/clusters"].parent == mounted["./constraints.txt"].parent
    assert program in command
    assert command.rstrip("; }").endswith("python clusters/node_check.py constraints.txt")


def test_the_head_can_talk_to_ec2_with_the_pins():
    assert re.search(r"^boto3==", (CLONE / "constraints.txt").read_text(), re.MULTILINE)


def test_workers_are_spot_or_their_fallback_and_the_head_is_neither(cluster: dict[str, Any]):
    types = cluster["available_node_types"]
    head = types.pop(cluster["head_node_type"])
    assert "InstanceMarketOptions" not in head["node_config"]
    assert head["max_workers"] == 0
    spot, on_demand = types["a100_spot"], types["a100_on_demand"]
    assert spot["node_config"].pop("InstanceMarketOptions") == {"MarketType": "spot"}
    assert spot == on_demand
    assert spot["max_workers"] <= cluster["max_workers"] == 2
    assert not spot["min_workers"]
    assert cluster["idle_timeout_minutes"] == 20


def test_only_workers_are_given_the_devices_of_efa(cluster: dict[str, Any]):
    """Docker refuses to start with a device that the machine lacks."""
    docker = cluster["docker"]
    assert "--device=/dev/infiniband" in docker["worker_run_options"]
    assert not any("--device" in option for option in docker["run_options"])


def test_no_command_has_a_comment(cluster: dict[str, Any]):
    """Ray puts a command into brackets; a comment would hide the closing one."""
    commands = [line for name, lines in cluster.items() if "commands" in name for line in lines]
    assert commands
    assert not [line for line in commands if "#" in line]
