"""A rehearsal: every fault is injected into a real run, and its result stays the same."""

import json

import pytest
from pydantic import TypeAdapter

from scaling.fault_injection.rehearsal import APART, EVERY, SENTENCES, Rehearsal
from tests.helpers.clone import CLONE
from tests.helpers.command import rehearse, scaling
from tests.helpers.documents import markdown

pytestmark = pytest.mark.slow

RESTARTED = "the run continues from the newest checkpoint, with the reason in the record"


@pytest.fixture(scope="module")
def found(embedded_corpus):
    """All faults, one after the other, on three workers at ZeRO 2."""
    return rehearse(embedded_corpus, "--faults", "all", "--workers", "3")


def restarts(found, words):
    return [restart for restart in found["restarts"] if words in restart["why"]]


def struck(found, fault):
    """Return the restart after a fault, found by the step of its injection."""
    step = APART * (found["faults"].index(fault) + 1) + 3
    (restart,) = [it for it in found["restarts"] if it["step"] + it["lost_steps"] + 1 == step]
    return restart


@pytest.mark.fault(
    "Processes",
    "nine faults, one after the other",
    "the order and the losses of an undisturbed run; no partial file",
)
def test_the_losses_and_the_order_are_those_of_an_undisturbed_run(found):
    assert found["problems"] == []
    assert found["faults"] == list(SENTENCES)
    # The bits are equal until the memory fault, in its block of steps, halves the micro-batches.
    # The steps after it sum in another order: `problems` has a loss that differs by over CLOSE.
    assert found["same_split_steps"] == APART * (found["faults"].index("memory") + 1)
    assert found["same_split_difference"] == 0


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        pytest.param(
            *("error", "worker 2: error injected into rank 2 at step 13"),
            marks=pytest.mark.fault("Processes", "a worker raises an error", RESTARTED),
        ),
        pytest.param(
            *("nan", "the loss of step 23 is nan (windows ["),
            marks=pytest.mark.fault("Numbers", "the loss of one step is NaN", RESTARTED),
        ),
        ("worker", "died"),
        ("freeze", "worker 2 (process"),
        # It is started again with smaller micro-batches.
        pytest.param(
            "memory",
            "out of memory: injected into rank 2 at step 73: smaller micro-batches are",
            marks=pytest.mark.fault(
                "Processes",
                "a worker lacks memory for its micro-batch",
                "the run continues with smaller micro-batches and the same batches",
            ),
        ),
    ],
)
def test_a_worker_that_fails_costs_no_more_than_the_steps_since_its_checkpoint(found, fault, words):
    restart = struck(found, fault)
    assert words in restart["why"]
    assert restart["workers"] == 3
    # The checkpoint before may not have been complete yet.
    assert 0 < restart["lost_steps"] <= 2 * EVERY


@pytest.mark.fault(
    "Processes",
    "a worker stops without ending (SIGSTOP)",
    "it is named and killed after cluster.hang_seconds; the run continues",
)
def test_a_frozen_worker_is_named(found):
    (restart,) = restarts(found, "was silent for")
    assert restart["why"].startswith("worker 2 (process ")


@pytest.mark.fault(
    "Processes",
    "a worker receives SIGTERM",
    "a checkpoint at the end of its step; no step is lost",
)
def test_a_worker_that_gets_sigterm_loses_no_step(found):
    (restart,) = restarts(found, "received SIGTERM")
    assert restart["lost_steps"] == 0
    assert restart["step"] % EVERY != 0


@pytest.mark.fault(
    "Checkpoints",
    "a part of the newest checkpoint is missing, truncated, empty, or has one wrong bit",
    "the run continues from the checkpoint before, with a warning",
)
def test_a_damaged_checkpoint_is_replaced_by_the_one_before_with_a_warning(found):
    (warning,) = [text for text in found["warnings"] if "is damaged" in text]
    assert "its SHA-256 is not that of the manifest: the checkpoint before it is used" in warning
    assert struck(found, "damage")["lost_steps"] > EVERY


@pytest.mark.fault(
    "Nodes and networks",
    "a node is lost, and later another one is added",
    "the run continues with fewer workers and the same batches, then grows without a lost step",
)
@pytest.mark.fault(
    "Nodes and networks",
    "a node of three is lost",
    "the run continues with a number of workers that divides the batch",
)
def test_a_lost_node_removes_workers_and_a_new_one_adds_them_without_a_lost_step(found):
    shrunk = [restart for restart in found["restarts"] if restart["workers"] == 2]
    assert shrunk and shrunk[0]["lost_steps"] <= EVERY
    (grown,) = restarts(found, "there is room for more workers")
    assert grown["workers"] == 3
    assert grown["lost_steps"] == 0


@pytest.mark.fault(
    "Storage",
    "the storage refuses checkpoints for 20 s",
    "one warning for each checkpoint; no restart",
)
def test_a_storage_that_refuses_checkpoints_for_20_seconds_stops_nothing(found):
    refused = [text for text in found["warnings"] if "was not written" in text]
    assert refused and all("Not a directory" in text for text in refused)


def test_the_document_has_the_table_of_the_record():
    record = json.loads((CLONE / "configs/measurements/recovery-cpu.json").read_text())
    plain = {name: value for name, value in record.items() if name not in ("hardware", "versions")}
    rehearsal = TypeAdapter(Rehearsal).validate_python(plain)
    assert rehearsal.faults == tuple(SENTENCES) and rehearsal.problems == []
    assert markdown(rehearsal.table()) in (CLONE / "docs/reliability.md").read_text()


def test_an_unknown_fault_is_refused_with_the_known_ones():
    done = scaling("rehearse", "--config", "configs/sweeps/demo.yaml", "--faults", "worker,fire")
    assert done.returncode == 2
    assert "--faults has fire: write some of" in done.stderr
    assert "preempt (a worker is preempted (SIGTERM))" in done.stderr
