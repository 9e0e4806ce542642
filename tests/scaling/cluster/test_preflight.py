"""What `doctor --cluster` finds on every node, and says of it."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import ray

from datasets.storage import Folder
from scaling.cluster import all_reduce, node_state, preflight
from scaling.cluster.node_state import NodeState
from scaling.cluster.preflight import NodeReport
from scaling.common import environment
from tests.helpers.command import executable
from tests.helpers.runs import small_run

GIB = 2**30
NODE = {"NodeManagerHostname": "a", "NodeManagerAddress": "10.0.0.1"}
HEALTHY = NodeState(
    versions=environment.versions(),
    files=environment.files_digest(),
    free={"/tmp": 50 * GIB, "/dev/shm": 8 * GIB},
    gpus=0,
    gpu_problems=[],
    corpus_problems=[],
)


def seen(ahead=0.0, **changes):
    return NodeReport("a (10.0.0.1)", NODE, replace(HEALTHY, **changes), ahead)


def problems(findings):
    return [finding.sentence for finding in findings if finding.status == "problem"]


def test_a_healthy_node_has_no_problem():
    assert problems(preflight._versions([seen()])) == []
    assert preflight._clock(seen(ahead=0.3)) == []
    assert preflight._disk(seen()) == []


@pytest.mark.fault(
    "Nodes and networks",
    "a node has another torch, Ray or Longwave",
    "the difference is named with the node, before a run",
)
def test_other_releases_and_other_files_are_named_with_their_node():
    own = environment.versions()["torch"]
    first, second = problems(
        preflight._versions(
            [seen(), seen(versions={**HEALTHY.versions, "torch": "2.0.0"}, files="0" * 12)]
        )
    )
    assert first == (
        f"a (10.0.0.1): torch is 2.0.0, and {own} where the command was typed: install the same."
    )
    assert second.startswith("a (10.0.0.1): its files of Longwave are others than where ")


@pytest.mark.fault(
    "Nodes and networks",
    "a node's clock is off, or its disk nearly full",
    "it is named before a run",
)
def test_a_clock_that_is_off_and_a_full_disk_are_sentences():
    (clock,) = preflight._clock(seen(ahead=-3.25))
    assert clock.startswith("its clock is 3.2 s behind this machine's: start a time service")
    (disk,) = preflight._disk(seen(free={"/tmp": GIB, "/dev/shm": 2 * GIB}))
    assert disk == "1.0 GiB are free in /tmp: 5 GiB or more are wanted"


@pytest.mark.fault(
    "Nodes and networks",
    "a GPU has memory errors, is in use, or is slowed down",
    "it is named before a run",
)
@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("0, NVIDIA A100, 3, 0, Not Active", None),
        ("1, NVIDIA A100, 3, 5, Not Active", "GPU 1 (NVIDIA A100) has had 5 memory errors"),
        ("2, NVIDIA A100, 20480, 0, Not Active", "has 20.0 GiB of its memory in use"),
        ("3, NVIDIA A100, 3, [N/A], Active", "is slowed down by its hardware"),
    ],
)
def test_a_gpu_that_is_not_fit_to_train_is_named(monkeypatch, tmp_path, line, words):
    executable(tmp_path / "bin" / "nvidia-smi", f"echo '{line}'")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    count, found = node_state.inspect_gpus()
    assert count == 1
    if words is None:
        assert found == []
    else:
        (sentence,) = found
        assert words in sentence


@pytest.mark.fault(
    "Nodes and networks", "a GPU's driver does not answer", "it is named before a run"
)
def test_a_driver_that_does_not_answer_is_a_problem(monkeypatch, tmp_path):
    executable(tmp_path / "bin" / "nvidia-smi", "exit 9")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    assert node_state.inspect_gpus()[1][0].startswith("nvidia-smi fails (")


@pytest.mark.fault(
    "Corpora",
    "a node sees another corpus, a damaged one or none",
    "it is named before a run",
)
def test_a_corpus_that_is_missing_damaged_or_another_one_is_a_sentence(embedded_corpus, tmp_path):
    source = Path(str(embedded_corpus.folder))
    assert node_state.inspect_corpus(str(source), embedded_corpus.fingerprint) == []
    (other,) = node_state.inspect_corpus(str(source), "0" * 64)
    assert "where the command was typed it has 000000000000" in other
    (missing,) = node_state.inspect_corpus(str(tmp_path / "nowhere"), None)
    assert str(tmp_path / "nowhere") in missing
    copy = tmp_path / "copy"
    shutil.copytree(source, copy)
    shard = copy / next(iter(embedded_corpus.shards))
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    (damaged,) = node_state.inspect_corpus(str(copy), None)
    assert "is damaged" in damaged
    shard.write_bytes(content[:-1])
    (short,) = node_state.inspect_corpus(str(copy), None)
    assert "corpus.json states" in short
    assert Folder.of(copy).list_files()


def test_the_cluster_of_the_tests_is_fit_for_a_run(embedded_corpus, tmp_path):
    config = small_run(embedded_corpus, tmp_path, cluster__workers=2)
    findings = preflight.examine(config)
    assert problems(findings) == []
    names = [finding.name for finding in findings]
    assert names == [
        *("nodes", "versions", "clock", "disk", "GPUs", "storage", "corpus", "room", "all-reduce")
    ]
    assert not list(config.study_folder.glob(".shared-*"))


@pytest.mark.fault(
    "Nodes and networks",
    "the nodes have too little room for the requested workers",
    "`doctor --cluster` reports how many fit",
)
def test_workers_that_do_not_fit_are_said_with_how_many_do(embedded_corpus, tmp_path):
    nodes = [{"Resources": {"CPU": 4.0}}]
    config = small_run(embedded_corpus, tmp_path, cluster__workers=2, cluster__cpus_per_worker=2)
    (finding,) = preflight._room(config, nodes)
    assert finding.status == "problem"
    assert finding.sentence.startswith("1 of 2 workers of 2 CPU have room beside the 1 CPU")
    assert "write cluster.workers=1" in finding.sentence


@pytest.mark.fault("Nodes and networks", "a node does not answer", "it is named before a run")
def test_a_node_that_does_not_answer_is_named(ray_session, monkeypatch):
    monkeypatch.setattr(preflight, "ANSWER_SECONDS", 0.0)
    (finding,) = preflight.examine(None)[:1]
    assert finding.status == "problem"
    (node,) = ray.nodes()
    assert f"({node['NodeManagerAddress']}) gives no answer (in 0 s)" in finding.sentence


@pytest.mark.fault(
    "Nodes and networks",
    "nodes do not reach each other",
    "the node is named before a run",
)
def test_an_all_reduce_is_measured_and_where_it_fails_the_node_is_named(ray_session, monkeypatch):
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
