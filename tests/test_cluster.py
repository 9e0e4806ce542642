from pathlib import Path

import pytest

from scaling import cluster


def test_a_named_cluster_is_used_and_left_running(ray_session):
    assert cluster.named()
    with cluster.connected():
        assert cluster.offered() == {"CPU": 3.0, "GPU": 0}
    assert cluster.offered()["CPU"] == 3.0


def test_a_folder_that_every_node_sees_is_shared(ray_session, tmp_path):
    assert cluster.unshared(tmp_path / "runs") == []
    assert list((tmp_path / "runs").iterdir()) == []


@pytest.mark.fault(
    "Storage",
    "some nodes do not share cluster.storage",
    "the run is refused, with the nodes' names",
)
def test_a_folder_that_a_node_does_not_see_is_named_with_the_remedy(ray_session, tmp_path):
    # A path through the asking process's own working folder leads elsewhere in every other one.
    own = Path("/proc/self/cwd") / "not-shared"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        (problem,) = cluster.unshared(own)
    assert "cluster.storage" in problem
    assert str(own) in problem
