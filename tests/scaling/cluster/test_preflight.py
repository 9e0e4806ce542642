"""Checks of a cluster before a run: each problem is found and named with its node."""

import shutil
from pathlib import Path

import pytest
import ray

from datasets.storage import Folder
from scaling.cluster import all_reduce, preflight
from scaling.cluster.doctor import NODE_CHECKS, check_clock, check_code, check_disk, check_libraries
from scaling.cluster.preflight import NodeReport, run_check
from tests.helpers.machines import GIB, healthy
from tests.helpers.runs import small_run

NODE = {"NodeManagerHostname": "a", "NodeManagerAddress": "10.0.0.1"}


def report(name="a (10.0.0.1)", **changes):
    return NodeReport(name, NODE, healthy(**changes))


def problems(results):
    return [result.sentence for result in results if result.status == "problem"]


def test_healthy_nodes_have_one_result_for_each_check():
    for check in NODE_CHECKS:
        (result,) = run_check(check, [report(), report(ahead=0.3)])
        assert result.status == "ok"
        assert result.sentence.startswith("a (10.0.0.1): ")
        assert result.sentence.endswith("All other nodes pass too.")


@pytest.mark.fault(
    "Nodes and networks",
    "a node has another torch, Ray or Longwave",
    "the difference is named with the node, before a run",
)
def test_other_releases_and_other_files_are_named_with_their_node():
    own = healthy().versions
    reports = [report(), report("b", versions={**own, "torch": "2.0.0"}, files="0" * 12)]
    assert problems(run_check(check_libraries, reports)) == [
        f"b: torch is 2.0.0, but the machine of the command has {own['torch']}: run "
        f"`python -m pip install torch=={own['torch']}` in this environment."
    ]
    (files,) = problems(run_check(check_code, reports))
    assert files.startswith("b: The source files of Longwave (digest 000000000000) differ from ")


@pytest.mark.fault(
    "Nodes and networks",
    "a node's clock is off, or its disk nearly full",
    "it is named before a run",
)
def test_a_wrong_clock_and_a_full_disk_are_reported():
    (clock,) = problems(run_check(check_clock, [report(ahead=-3.25)]))
    assert clock.startswith("a (10.0.0.1): The clock is 3.2 s behind that of the machine of the ")
    (disk,) = problems(run_check(check_disk, [report(free={"/tmp": GIB // 2})]))
    assert disk.startswith("a (10.0.0.1): 0.5 GiB of disk are free in /tmp. Checkpoints and ")


@pytest.mark.fault(
    "Corpora",
    "a node sees another corpus, a damaged one or none",
    "it is named before a run",
)
def test_a_missing_damaged_or_different_corpus_is_reported(embedded_corpus, tmp_path):
    source = Path(str(embedded_corpus.folder))
    assert preflight.corpus_problems(str(source), embedded_corpus.fingerprint) == []
    (other,) = preflight.corpus_problems(str(source), "0" * 64)
    assert "but 000000000000 on the machine of the command" in other
    (missing,) = preflight.corpus_problems(str(tmp_path / "nowhere"), None)
    assert str(tmp_path / "nowhere") in missing
    copy = tmp_path / "copy"
    shutil.copytree(source, copy)
    shard = copy / next(iter(embedded_corpus.shards))
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    (damaged,) = preflight.corpus_problems(str(copy), None)
    assert "is damaged" in damaged
    shard.write_bytes(content[:-1])
    (short,) = preflight.corpus_problems(str(copy), None)
    assert "corpus.json states" in short
    assert Folder.of(copy).list_files()


def test_the_cluster_of_the_tests_is_fit_for_a_run(embedded_corpus, tmp_path):
    config = small_run(embedded_corpus, tmp_path, cluster__workers=2)
    results = preflight.examine(config)
    assert problems(results) == []
    names = [result.name for result in results]
    assert names[:3] == ["nodes", "Python", "libraries"]
    assert names[-5:] == ["clock", "corpus", "storage", "room", "all-reduce"]
    assert len(names) == len(NODE_CHECKS) + 5
    assert not list(config.study_folder.glob(".shared-*"))


@pytest.mark.fault(
    "Nodes and networks",
    "the nodes have too little room for the requested workers",
    "`doctor --cluster` reports how many fit",
)
def test_workers_that_do_not_fit_are_reported_with_the_number_that_fits(embedded_corpus, tmp_path):
    nodes = [{"Resources": {"CPU": 4.0}}]
    config = small_run(embedded_corpus, tmp_path, cluster__workers=2, cluster__cpus_per_worker=2)
    result = preflight.check_room(config, nodes)
    assert result.status == "problem"
    assert result.sentence.startswith("1 of 2 workers of 2 CPU fit beside the 1 CPU that reads")
    assert "set cluster.workers=1" in result.sentence


@pytest.mark.fault("Nodes and networks", "a node does not answer", "it is named before a run")
def test_a_node_that_does_not_answer_is_named(ray_session, monkeypatch):
    monkeypatch.setattr(preflight, "ANSWER_SECONDS", 0.0)
    result, *_ = preflight.examine(None)
    assert result.status == "problem"
    (node,) = ray.nodes()
    assert f"({node['NodeManagerAddress']}) gives no answer (in 0 s)" in result.sentence


@pytest.mark.fault(
    "Nodes and networks",
    "nodes do not reach each other",
    "the node is named before a run",
)
def test_an_all_reduce_is_measured_or_names_the_node_that_fails(ray_session, monkeypatch):
    (node,) = ray.nodes()
    node = {**node, "Resources": {"CPU": 1.0}}
    reached = all_reduce.check_all_reduce([("a", node), ("b", node)])
    assert reached.status == "ok"
    assert "8 MiB over 2 nodes by gloo in " in reached.sentence
    assert "GB/s sent by each" in reached.sentence
    monkeypatch.setattr(all_reduce, "MEET_SECONDS", 5)
    lost = all_reduce.check_all_reduce([("a", node), ("b", {**node, "NodeID": "0" * 56})])
    assert lost.status == "problem"
    assert "b (" in lost.sentence
    monkeypatch.setattr(all_reduce, "START_SECONDS", 0)
    late = all_reduce.check_all_reduce([("a", node), ("b", node)])
    assert late.status == "problem" and late.sentence.startswith("a starts no process")
