"""The cluster of several nodes on this machine that rehearsals and benchmarks run on."""

import pytest

from tests import itself


@pytest.mark.slow
def test_its_nodes_do_not_ask_another_cluster_what_became_of_an_actor(ray_session):
    assert itself.states("scaling.bed", "bed", "1") == ["nobody answers"] * 2
