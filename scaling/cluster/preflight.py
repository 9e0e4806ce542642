"""What stands between a cluster and a run: looked at from every node, each problem one sentence."""

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayError

from datasets.manifest import Corpus, ManifestError
from scaling.cluster import all_reduce, node_state, ray_cluster
from scaling.cluster.doctor import GIB, LITTLE_DISK, NO_DISK, CheckResult
from scaling.cluster.node_state import NodeState
from scaling.common import environment
from scaling.config.run_config import RunConfig

ANSWER_SECONDS = 120.0
"""How long a node may take to start a process and look around."""
CLOCK_SECONDS = 1.0
"""How far a node's clock may be from the driver's: logs of all nodes are compared by it."""


@dataclass(frozen=True)
class NodeReport:
    """A node with its name, what it says of itself, and how far its clock is ahead (seconds)."""

    name: str
    node: dict[str, Any]
    state: NodeState
    ahead: float


def examine(config: RunConfig | None) -> list[CheckResult]:
    """Every check of the connected cluster, and of what ``config`` needs of it, in this order."""
    seen, findings = _seen(config)
    findings += _versions(seen)
    findings += _every(seen, "clock", _clock, "within a second of this machine's clock")
    findings += _every(seen, "disk", _disk, "enough free for checkpoints and Ray's objects")
    findings += _every(
        seen, "GPUs", lambda it: it.state.gpu_problems, f"{sum(it.state.gpus for it in seen)} fit"
    )
    if config is not None:
        findings += _storage(config)
        findings += _every(
            seen, "corpus", lambda it: it.state.corpus_problems, f"{config.corpus} is readable"
        )
        findings += _room(config, [it.node for it in seen])
    findings.append(all_reduce.check_all_reduce([(it.name, it.node) for it in seen]))
    return findings


@ray.remote(num_cpus=0)
class _Probe:
    """A process on a node that looks around there."""

    def look(self, *asked: Any) -> NodeState:
        return node_state.inspect_node(*asked)

    def clock(self) -> float:
        return time.time()


def _seen(config: RunConfig | None) -> tuple[list[NodeReport], list[CheckResult]]:
    """The nodes that answer, and a finding about all."""
    nodes = {_name(node): node for node in sorted(ray.nodes(), key=_name) if node["Alive"]}
    probes = {
        name: _Probe.options(scheduling_strategy=ray_cluster.affinity_to(node)).remote()  # type: ignore[attr-defined]
        for name, node in nodes.items()
    }
    asked = _asked(config)
    answers = {name: probe.look.remote(*asked) for name, probe in probes.items()}
    ray.wait(list(answers.values()), num_returns=len(answers), timeout=ANSWER_SECONDS)
    seen, problems = [], []
    for name, answer in answers.items():
        try:
            state = ray.get(answer, timeout=0)
            seen.append(NodeReport(name, nodes[name], state, _ahead(probes[name])))
        except (GetTimeoutError, RayError) as error:
            why = f"in {ANSWER_SECONDS:.0f} s" if isinstance(error, GetTimeoutError) else str(error)
            problems.append(
                CheckResult(
                    "nodes",
                    "problem",
                    f"{name} gives no answer ({why.splitlines()[-1]}): look at it, or take it out "
                    "of the cluster (`ray stop` there).",
                )
            )
    everyone = f"{len(nodes)} nodes: {', '.join(nodes)}."
    return seen, problems or [CheckResult("nodes", "ok", everyone)]


def _asked(config: RunConfig | None) -> tuple[Sequence[str], str | None, str | None]:
    """What the nodes are to look at: folders, the corpus, its fingerprint as it is here."""
    folders = ["/tmp", "/dev/shm"]
    if config is None:
        return folders, None, None
    folders.append(str(config.cluster.storage.resolve()))
    try:
        return folders, config.corpus, Corpus.load(config.corpus).fingerprint
    except ManifestError:
        return folders, config.corpus, None


def _name(node: dict[str, Any]) -> str:
    return f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})"


def _ahead(probe: Any) -> float:
    """Seconds that a node's clock is ahead of ours, by a call that takes milliseconds."""
    before = time.time()
    there = float(ray.get(probe.clock.remote(), timeout=ANSWER_SECONDS))
    after = time.time()
    return there - min(max(there, before), after)


def _every(
    seen: Sequence[NodeReport],
    check: str,
    problems: Callable[[NodeReport], Sequence[str]],
    fine: str,
) -> list[CheckResult]:
    """A finding for each problem of each node, or one that says that all is fine."""
    found = [
        CheckResult(check, "problem", f"{it.name}: {sentence.rstrip('.')}.")
        for it in seen
        for sentence in problems(it)
    ]
    return found or [CheckResult(check, "ok", f"{len(seen)} nodes: {fine}.")]


def _versions(seen: Sequence[NodeReport]) -> list[CheckResult]:
    own, files = environment.versions(), environment.files_digest()

    def different(it: NodeReport) -> Iterator[str]:
        for name in sorted(own.keys() | it.state.versions.keys()):
            here, there = own.get(name, "missing"), it.state.versions.get(name, "missing")
            if here != there:
                yield f"{name} is {there}, and {here} where the command was typed: install the same"
        if it.state.files != files:
            yield (
                "its files of Longwave are others than where the command was typed: start jobs "
                "with `ray job submit --working-dir .`, or update its clone"
            )

    fine = ", ".join(f"{name} {version}" for name, version in own.items())
    return _every(seen, "versions", lambda it: list(different(it)), f"{fine}, files {files}")


def _clock(it: NodeReport) -> list[str]:
    if abs(it.ahead) <= CLOCK_SECONDS:
        return []
    where = "ahead of" if it.ahead > 0 else "behind"
    return [
        f"its clock is {abs(it.ahead):.1f} s {where} this machine's: start a time service on it, "
        "such as chrony"
    ]


def _disk(it: NodeReport) -> list[str]:
    return [
        f"{free / GIB:.1f} GiB are free in {folder}: {LITTLE_DISK / GIB:.0f} GiB or more are wanted"
        for folder, free in it.state.free.items()
        if free < (NO_DISK if folder.startswith("/dev") else LITTLE_DISK)
    ]


def _storage(config: RunConfig) -> list[CheckResult]:
    folder = config.study_folder
    try:
        unshared = ray_cluster.nodes_without_folder(folder)
        free = shutil.disk_usage(folder).free
    except OSError as error:
        why = f"{folder} cannot be written to ({error.strerror}): write another cluster.storage."
        return [CheckResult("storage", "problem", why)]
    fine = f"All nodes write to {folder} and see each other's files; {free / GIB:.0f} GiB are free."
    return [CheckResult("storage", "problem", f"{it}.") for it in unshared] or [
        CheckResult("storage", "ok", fine)
    ]


def _room(config: RunConfig, nodes: Sequence[dict[str, Any]]) -> list[CheckResult]:
    """Whether the run's workers, each whole on one node, have room beside Ray Data's reading."""
    wanted = config.cluster
    needs = {"CPU": float(wanted.cpus_per_worker)} | ({"GPU": 1.0} if wanted.gpu else {})
    places = [
        int(min(node["Resources"].get(name, 0.0) // need for name, need in needs.items()))
        for node in nodes
    ]
    kind = ", ".join(f"{need:g} {name}" for name, need in needs.items())
    offered = ray_cluster.cluster_resources()
    if sum(places) >= wanted.workers and all(
        offered[name] >= need * wanted.workers for name, need in needs.items()
    ):
        fine = f"{wanted.workers} workers of {kind} have room on the nodes that are here."
        return [CheckResult("room", "ok", fine)]
    fits = min(sum(places), *(int(offered[name] // need) for name, need in needs.items()))
    return [
        CheckResult(
            "room",
            "warning" if ray_cluster.can_grow() else "problem",
            f"{fits} of {wanted.workers} workers of {kind} have room beside the "
            f"{ray_cluster.READING_CPUS} CPU that reads: write cluster.workers={max(fits, 1)} or "
            "another cluster.cpus_per_worker, or add nodes.",
        )
    ]
