"""Checks of a connected cluster before a run: of every node, and of all nodes together."""

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayError

from datasets.manifest import Corpus, ManifestError
from datasets.verify import quick_check
from scaling.cluster import all_reduce, ray_cluster
from scaling.cluster.doctor import GIB, NODE_CHECKS, Check, CheckResult, check_corpus
from scaling.cluster.machine import MachineFacts, Reference, own_versions, read_facts
from scaling.config.run_config import RunConfig

ANSWER_SECONDS = 120.0
"""Time that a node has to start a process and read its facts."""


@dataclass(frozen=True)
class NodeReport:
    """A node of ``ray.nodes()``, its name and its facts."""

    name: str
    node: dict[str, Any]
    facts: MachineFacts


def examine(config: RunConfig | None) -> list[CheckResult]:
    """Check the connected cluster, and what ``config`` needs of it."""
    reports, results = _read_reports(config)
    checks = NODE_CHECKS if config is None else (*NODE_CHECKS, check_corpus)
    results += [result for check in checks for result in run_check(check, reports)]
    if config is not None:
        results += _check_storage(config)
        results.append(check_room(config, [report.node for report in reports]))
    results.append(all_reduce.check_all_reduce([(it.name, it.node) for it in reports]))
    return results


def run_check(check: Check, reports: Sequence[NodeReport]) -> list[CheckResult]:
    """Return the warnings and problems of all nodes, or one result if all nodes pass."""
    results = [
        replace(result, sentence=f"{report.name}: {result.sentence}")
        for report in reports
        for result in [check(report.facts)]
    ]
    if failed := [result for result in results if result.status != "ok"]:
        return failed
    others = " All other nodes pass too." if len(results) > 1 else ""
    return [replace(result, sentence=f"{result.sentence}{others}") for result in results[:1]]


@ray.remote(num_cpus=0)
class _Probe:
    """A process on a node that reads its facts."""

    def read(
        self, reference: Reference, folders: list[str], corpus: str | None, fingerprint: str | None
    ) -> MachineFacts:
        facts = read_facts(reference, folders)
        problems = corpus_problems(corpus, fingerprint) if corpus else []
        return replace(facts, corpus_problems=problems)

    def clock(self) -> float:
        return time.time()


def _read_reports(config: RunConfig | None) -> tuple[list[NodeReport], list[CheckResult]]:
    """Return the nodes that answer, and one result about all nodes or one for each silent node."""
    nodes = {_name(node): node for node in sorted(ray.nodes(), key=_name) if node["Alive"]}
    probes = {
        name: _Probe.options(scheduling_strategy=ray_cluster.affinity_to(node)).remote()  # type: ignore[attr-defined]
        for name, node in nodes.items()
    }
    asked = (own_versions(), *_read_places(config))
    answers = {name: probe.read.remote(*asked) for name, probe in probes.items()}
    ray.wait(list(answers.values()), num_returns=len(answers), timeout=ANSWER_SECONDS)
    reports, problems = [], []
    for name, answer in answers.items():
        try:
            facts = replace(ray.get(answer, timeout=0), ahead=_seconds_ahead(probes[name]))
            reports.append(NodeReport(name, nodes[name], facts))
        except (GetTimeoutError, RayError) as error:
            why = f"in {ANSWER_SECONDS:.0f} s" if isinstance(error, GetTimeoutError) else str(error)
            problems.append(
                CheckResult(
                    "nodes",
                    "problem",
                    f"{name} gives no answer ({why.splitlines()[-1]}): repair it, or run "
                    "`ray stop` there to take it out of the cluster.",
                )
            )
    everyone = f"{len(nodes)} nodes: {', '.join(nodes)}."
    return reports, problems or [CheckResult("nodes", "ok", everyone)]


def _read_places(config: RunConfig | None) -> tuple[list[str], str | None, str | None]:
    """Return the folders to measure, the corpus, and its fingerprint as this machine reads it."""
    folders = ["/tmp"]
    if config is None:
        return folders, None, None
    folders.append(str(config.cluster.storage.resolve()))
    try:
        return folders, config.corpus, Corpus.load(config.corpus).fingerprint
    except ManifestError:
        return folders, config.corpus, None


def corpus_problems(corpus: str, fingerprint: str | None) -> list[str]:
    """Return sentences if this machine cannot read the corpus, or reads another one.

    ``fingerprint`` is that on the machine of the command, None if it could not be read.
    """
    try:
        found = Corpus.load(corpus)
    except (ManifestError, OSError) as error:
        return [str(error)]
    if fingerprint and found.fingerprint != fingerprint:
        return [
            f"{corpus} has the fingerprint {found.fingerprint[:12]}, but {fingerprint[:12]} on the "
            "machine of the command: name a corpus that all nodes share."
        ]
    return quick_check(found)


def _name(node: dict[str, Any]) -> str:
    return f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})"


def _seconds_ahead(probe: Any) -> float:
    """Return how far a node's clock is ahead of this machine's; the call takes milliseconds."""
    before = time.time()
    there = float(ray.get(probe.clock.remote(), timeout=ANSWER_SECONDS))
    after = time.time()
    return there - min(max(there, before), after)


def _check_storage(config: RunConfig) -> list[CheckResult]:
    """Check that all nodes write to the study's folder and see each other's files."""
    folder = config.study_folder
    try:
        unshared = ray_cluster.nodes_without_folder(folder)
        free = shutil.disk_usage(folder).free
    except OSError as error:
        problem = f"{folder} cannot be written to ({error.strerror}): set another cluster.storage."
        return [CheckResult("storage", "problem", problem)]
    fine = f"All nodes write to {folder} and see each other's files; {free / GIB:.0f} GiB are free."
    return [CheckResult("storage", "problem", f"{problem}.") for problem in unshared] or [
        CheckResult("storage", "ok", fine)
    ]


def check_room(config: RunConfig, nodes: Sequence[dict[str, Any]]) -> CheckResult:
    """Check that the run's workers fit on the nodes, each whole on one, beside Ray Data's tasks."""
    wanted = config.cluster
    needs = {"CPU": float(wanted.cpus_per_worker)} | ({"GPU": 1.0} if wanted.gpu else {})
    offered = ray_cluster.cluster_resources()
    on_nodes = sum(
        int(min(node["Resources"].get(name, 0.0) // need for name, need in needs.items()))
        for node in nodes
    )
    fits = min(on_nodes, *(int(offered[name] // need) for name, need in needs.items()))
    kind = ", ".join(f"{need:g} {name}" for name, need in needs.items())
    if fits >= wanted.workers:
        fine = f"{wanted.workers} workers of {kind} fit on the present nodes."
        return CheckResult("room", "ok", fine)
    return CheckResult(
        "room",
        "warning" if ray_cluster.can_grow() else "problem",
        f"{fits} of {wanted.workers} workers of {kind} fit beside the {ray_cluster.READING_CPUS} "
        f"CPU that reads: set cluster.workers={max(fits, 1)} or another cluster.cpus_per_worker, "
        "or add nodes.",
    )
