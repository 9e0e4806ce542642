"""What a cluster that starts nodes on demand offers before it has started any."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from scaling import cluster
from tests.conftest import CLONE


@pytest.fixture
def config() -> dict[str, Any]:
    """The cluster file as it lies on the head, where Ray has filled in what the machines have."""
    content = yaml.safe_load((CLONE / "cluster.yaml").read_text())
    for kind in content["available_node_types"].values():
        kind["resources"] = {"CPU": 96, "GPU": 8}
    content["available_node_types"]["head"]["resources"] = {"CPU": 16}
    return content


def written(config: dict[str, Any], home: Path) -> Path:
    (home / cluster.BOOTSTRAP).write_text(yaml.safe_dump(config))
    return home


def test_the_ceiling_is_the_head_and_as_many_nodes_as_the_cluster_may_have(config, tmp_path):
    assert cluster.ceiling(written(config, tmp_path)) == {"CPU": 16 + 2 * 96, "GPU": 2 * 8}


def test_no_kind_of_node_counts_beyond_its_own_limit(config, tmp_path):
    config["max_workers"] = 10
    config["available_node_types"]["a100_spot"]["max_workers"] = 0
    assert cluster.ceiling(written(config, tmp_path))["GPU"] == 2 * 8


def test_without_the_file_nothing_is_promised(tmp_path):
    assert cluster.ceiling(tmp_path) == {"CPU": 0, "GPU": 0}


def test_own_machines_promise_nothing(config, tmp_path):
    for kind in config["available_node_types"].values():
        kind["resources"] = {}
    assert cluster.ceiling(written(config, tmp_path)) == {"CPU": 0, "GPU": 0}
