"""The cost of runs comes from their logs, and at the cap they stop in checkpoints."""

import json

import numpy as np
import pytest
import yaml

from scaling.config.run_config import ClusterConfig
from scaling.orchestration import supervision
from scaling.orchestration.restarts import TrainingError
from scaling.orchestration.train import make_job, train
from scaling.runs.cost_cap import CostCap
from scaling.runs.log import LOG_NAME, RunHistory, read_failure
from scaling.runs.study import finished_record
from tests.helpers.clone import CLONE
from tests.helpers.runs import digests, expected_digests, losses, plain_losses, small_run

HOUR = 3_600.0


def write(folder, *lines):
    folder.mkdir(parents=True)
    said = [{"kind": kind, "time": time * HOUR, **more} for kind, time, more in lines]
    (folder / LOG_NAME).write_text("".join(json.dumps(line) + "\n" for line in said))


def test_workers_cost_from_their_first_line_to_the_next_start_or_the_last_line(tmp_path):
    eight, four = {"workers": 8}, {"workers": 4}
    write(tmp_path / "a", ("start", 1, eight), ("step", 2, {}), ("start", 3, four), ("step", 5, {}))
    write(tmp_path / "b", ("start", 0, eight), ("step", 0.9, {}))
    write(tmp_path / "c", ("start", 2, four), ("validation", 3, {}), ("step", 2.5, {}))
    # 8 x 2 + 4 x 2 of a, nothing of b, which was before the command, and 4 x 1 of c.
    assert CostCap(56.01, 2.0, 1 * HOUR).reached(tmp_path) is None
    said = CostCap(56.0, 2.0, 1 * HOUR).reached(tmp_path)
    assert "have cost 56.00 dollars" in said and "cluster.max_dollars is 56:" in said


def test_runs_that_have_not_begun_cost_nothing(tmp_path):
    assert CostCap(1e-9, 1.0, 0.0).reached(tmp_path) is None


def test_a_worker_pays_for_its_share_of_a_node():
    a100 = CLONE / "configs/hardware/a100.yaml"
    price = yaml.safe_load(a100.read_text())["dollars_per_hour"]
    made = CostCap.of(ClusterConfig(max_dollars=5, hardware=a100))
    assert made.dollars == 5 and made.dollars_per_worker_hour == pytest.approx(price / 8)
    assert CostCap.of(ClusterConfig()) is None


@pytest.mark.slow
@pytest.mark.fault(
    "Configurations",
    "a run costs more than cluster.max_dollars while it trains",
    "it stops in a checkpoint with a sentence; the next call continues from there",
)
def test_a_run_that_reaches_its_cap_stops_in_a_checkpoint_and_continues_when_started_again(
    embedded_corpus, tmp_path, monkeypatch
):
    monkeypatch.setattr(supervision, "CAP_SECONDS", 0.1)
    price = yaml.safe_load((CLONE / "configs/hardware/cpu.yaml").read_text())
    dear = tmp_path / "dear.yaml"
    # A dollar a second, shared by the two workers of a node.
    dear.write_text(yaml.safe_dump({**price, "dollars_per_hour": 2 * HOUR}))
    changes = {"train__steps": 300, "train__checkpoint_every": 1_000, "validation__every": 1_000}
    capped = {"cluster__max_dollars": 1.0, "cluster__hardware": str(dear)}
    config = small_run(embedded_corpus, tmp_path, **changes, **capped)
    with pytest.raises(TrainingError, match=r"dollars by their logs since the command started"):
        train(make_job(config, {}))
    reached = RunHistory.read(config.folder).steps[-1]["step"]
    assert finished_record(config) is None and 0 < reached < 300
    assert "cluster.max_dollars is 1:" in read_failure(config.folder)
    free = small_run(embedded_corpus, tmp_path, **changes)
    assert free.folder == config.folder
    train(make_job(free, {}))
    first, second = RunHistory.read(free.folder).starts
    # Nothing is lost: the checkpoint is of the last step before the workers stopped.
    assert (second["step"], second["lost_steps"]) == (reached, 0) and first["step"] == 0
    assert digests(free) == expected_digests(free, embedded_corpus)
    np.testing.assert_allclose(losses(free), plain_losses(free, embedded_corpus), atol=2e-3)
