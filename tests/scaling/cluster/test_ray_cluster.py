"""Connection to Ray: what a cluster offers, which folders its nodes share, and its environment."""

from pathlib import Path
from typing import Any

import pytest
import ray
import yaml

from scaling.cluster import ray_cluster
from tests.helpers.clone import CLONE


def test_a_named_cluster_is_used_and_left_running(ray_session):
    assert ray_cluster.is_named()
    with ray_cluster.connected():
        assert ray_cluster.cluster_resources() == {"CPU": 3.0, "GPU": 0}
    assert ray_cluster.cluster_resources()["CPU"] == 3.0


@pytest.fixture(scope="module")
def text_of_ray() -> bytes:
    """Read Ray's own sources and its node daemon."""
    root = Path(ray.__file__).parent
    parts = ("_private", "_common", "autoscaler", "data", "train", "dashboard")
    sources = [path for part in parts for path in (root / part).rglob("*.py")]
    daemon = root / "core/src/ray/raylet/raylet"
    return b"".join(path.read_bytes() for path in (*sources, daemon))


@pytest.mark.parametrize(
    "name",
    sorted(
        {
            *ray_cluster.ENVIRONMENT,
            *ray_cluster.EMBEDDED,
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER",
            "RAY_GCS_SERVER_PORT",
        }
        - {"GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"}
    ),
)
def test_ray_reads_each_variable_of_its_environment(text_of_ray, name):
    """A variable that Ray renames would be ignored without a word."""
    assert name.encode() in text_of_ray


def test_a_folder_that_every_node_sees_is_shared(ray_session, tmp_path):
    assert ray_cluster.nodes_without_folder(tmp_path / "runs") == []
    assert list((tmp_path / "runs").iterdir()) == []


@pytest.mark.fault(
    "Storage",
    "some nodes do not share cluster.storage",
    "the run is refused, with the nodes' names",
)
def test_a_folder_that_a_node_does_not_see_is_named_with_the_remedy(ray_session, tmp_path):
    # A path through a process's working folder leads elsewhere in every other process.
    own = Path("/proc/self/cwd") / "not-shared"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        (problem,) = ray_cluster.nodes_without_folder(own)
    assert "cluster.storage" in problem
    assert str(own) in problem


@pytest.fixture
def config() -> dict[str, Any]:
    """Return the cluster file of the head, in which Ray has filled in the resources."""
    content = yaml.safe_load((CLONE / "cluster.yaml").read_text())
    for kind in content["available_node_types"].values():
        kind["resources"] = {"CPU": 96, "GPU": 8}
    content["available_node_types"]["head"]["resources"] = {"CPU": 16}
    return content


def written(config: dict[str, Any], home: Path) -> Path:
    (home / ray_cluster.BOOTSTRAP).write_text(yaml.safe_dump(config))
    return home


def test_the_ceiling_is_the_head_and_as_many_nodes_as_the_cluster_may_have(config, tmp_path):
    assert ray_cluster.autoscaling_resources(written(config, tmp_path)) == {
        "CPU": 16 + 2 * 96,
        "GPU": 2 * 8,
    }


def test_no_kind_of_node_counts_beyond_its_own_limit(config, tmp_path):
    config["max_workers"] = 10
    config["available_node_types"]["a100_spot"]["max_workers"] = 0
    assert ray_cluster.autoscaling_resources(written(config, tmp_path))["GPU"] == 2 * 8


def test_without_the_file_the_cluster_cannot_grow(tmp_path):
    assert ray_cluster.autoscaling_resources(tmp_path) == {"CPU": 0, "GPU": 0}


def test_a_cluster_of_own_machines_cannot_grow(config, tmp_path):
    for kind in config["available_node_types"].values():
        kind["resources"] = {}
    assert ray_cluster.autoscaling_resources(written(config, tmp_path)) == {"CPU": 0, "GPU": 0}
