"""Trackers get every step's figures, and can neither stop nor slow a run."""

import json
import struct
import time
import urllib.request

import pytest
import ray

from scaling.config import check
from scaling.orchestration.train import make_job, train
from scaling.runs.log import RunHistory
from scaling.runs.record import bits
from scaling.training import trackers
from scaling.training.trackers import Tracking
from tests.helpers.runs import small_run

STEPS = {
    step: {"step": step, "nats": 4.0 - step, "seconds": 0.5, "data_wait_seconds": 0.1}
    for step in (1, 2, 3)
}


@pytest.fixture
def config(embedded_corpus, tmp_path):
    return small_run(embedded_corpus, tmp_path, train__steps=3)


def tracked(config, name, steps=(1, 2, 3)):
    """Pass these steps to a tracker. Return its warnings."""
    config = config.model_copy(
        update={"cluster": config.cluster.model_copy(update={"trackers": (name,)})}
    )
    config.folder.mkdir(parents=True, exist_ok=True)
    tracking = Tracking(config, steps[0] - 1, began=time.time() - 10)
    found = [tracking.note("step", STEPS[step], training_seconds=5.0) for step in steps]
    tracking.close()
    return sum(found, tracking.note("start", {}, 0.0))


def tensorboard_events(folder):
    """Return the scalars of TensorBoard's files: by name, the newest value of each step."""
    event_pb2 = pytest.importorskip("tensorboardX.proto.event_pb2")
    found = {}
    for path in sorted(folder.iterdir()):
        content = path.read_bytes()
        while content:
            (length,) = struct.unpack("<Q", content[:8])
            event = event_pb2.Event.FromString(content[12 : 12 + length])
            for value in event.summary.value:
                found.setdefault(value.tag, {})[event.step] = value.simple_value
            content = content[16 + length :]
    return found


def test_tensorboard_has_the_figures_of_every_step(config):
    assert tracked(config, "tensorboard") == []
    found = tensorboard_events(config.folder / "tensorboard")
    assert found["bits"] == pytest.approx({s: bits(line["nats"]) for s, line in STEPS.items()})
    assert found["targets_per_second"][2] == config.targets_per_step / 0.5
    assert found["data_wait_share"][3] == pytest.approx(0.2)
    assert found["goodput"][3] == pytest.approx(0.5, rel=0.1)


def test_mlflow_has_one_run_for_all_starts_of_a_run(config, tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow", reason="`make trackers` installs it")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlflow").as_uri())
    assert tracked(config, "mlflow", (1, 2)) == []
    assert tracked(config, "mlflow", (2, 3)) == []
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name(config.study)
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.run_name == config.id
    history = client.get_metric_history(run.info.run_id, "bits")
    assert {it.step: it.value for it in history} == pytest.approx(
        {step: bits(line["nats"]) for step, line in STEPS.items()}
    )


def test_weights_and_biases_gets_every_step(config, monkeypatch):
    pytest.importorskip("wandb", reason="`make trackers` installs it")
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert tracked(config, "wandb") == []
    (written,) = (config.folder / "wandb").glob(f"offline-run-*-{config.id}/run-{config.id}.wandb")
    # W&B's own process writes it.
    deadline = time.monotonic() + 60
    while "exit" not in (records := wandb_records(written)):
        assert time.monotonic() < deadline, "W&B did not end its file"
        time.sleep(0.1)
    assert records["bits"] == pytest.approx({s: bits(line["nats"]) for s, line in STEPS.items()})


def wandb_records(path):
    """Return the kinds of records in W&B's file (LevelDB's log format), and each step's bits."""
    from wandb.proto.wandb_internal_pb2 import Record

    content, found = path.read_bytes()[7:], {"bits": {}}
    while len(content) >= 7:
        _, length, whole = struct.unpack("<IHB", content[:7])
        assert whole == 1
        record = Record.FromString(content[7 : 7 + length])
        found[record.WhichOneof("record_type")] = True
        items = {item.nested_key[0]: json.loads(item.value_json) for item in record.history.item}
        if "bits" in items:
            found["bits"][items["_step"]] = items["bits"]
        content = content[7 + length :]
    return found


@pytest.mark.fault(
    "Processes",
    "a tracker fails",
    "it is dropped with a warning; the run and the other trackers continue",
)
def test_a_tracker_that_fails_is_dropped_with_a_warning_and_the_others_continue(
    config, tmp_path, monkeypatch
):
    def refusing(config, step):
        raise ConnectionError("nobody answers")

    monkeypatch.setitem(trackers.MAKERS, "ray", refusing)
    (sentence,) = tracked(config, "tensorboard")
    assert sentence == (
        "the tracker ray failed and gets no more figures: ConnectionError: nobody answers"
    )
    assert len(tensorboard_events(config.folder / "tensorboard")["bits"]) == 3


@pytest.mark.fault("Processes", "a tracker does not answer", "it delays neither steps nor the end")
def test_a_tracker_that_hangs_delays_neither_steps_nor_the_end(config, monkeypatch):
    def hanging(config, step):
        time.sleep(3_600)

    monkeypatch.setitem(trackers.MAKERS, "tensorboard", hanging)
    monkeypatch.setattr(trackers, "CLOSE_SECONDS", 0.1)
    monkeypatch.setattr(trackers, "WAITING_LINES", 2)
    assert tracked(config, "tensorboard") == []


def test_a_tracker_that_is_not_installed_is_a_problem_of_the_configuration(
    embedded_corpus, tmp_path, monkeypatch
):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    config = small_run(embedded_corpus, tmp_path, cluster__trackers=["wandb"])
    (problem,) = check.problems(config, None)
    assert problem.startswith("cluster.trackers has wandb, whose package wandb is not installed")


@pytest.mark.slow
def test_a_run_that_cannot_write_to_its_tracker_ends_with_a_warning(embedded_corpus, tmp_path):
    config = small_run(embedded_corpus, tmp_path, train__steps=8, cluster__trackers=["tensorboard"])
    config.folder.mkdir(parents=True)
    (config.folder / "tensorboard").touch()
    record = train(make_job(config, {}))
    (warning,) = record.warnings
    assert warning.startswith("the tracker tensorboard failed and gets no more figures: ")
    assert len(RunHistory.read(config.folder).steps) == 8


@pytest.mark.slow
def test_rays_metrics_have_a_runs_figures(embedded_corpus, config):
    tracking = Tracking(config, 0, began=time.time() - 10)
    tracking.note("step", STEPS[2], training_seconds=5.0)
    tracking.note("validation", {"step": 2, "nats": 1.0}, training_seconds=5.0)
    (node,) = ray.nodes()
    url = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
    deadline, wanted = time.monotonic() + 120, {"bits", "targets_per_second", "goodput"}
    wanted = {f"ray_longwave_{name}" for name in wanted | {"data_wait_share", "validation_bits"}}
    while wanted - set(lines := exported(url, config.id)):
        assert time.monotonic() < deadline, f"{wanted - set(lines)} are not exported"
        time.sleep(1)
    assert lines["ray_longwave_bits"] == pytest.approx(bits(2.0))
    tracking.close()


def exported(url, run):
    """Return the values of a run's metrics by name, as Prometheus would read them."""
    with urllib.request.urlopen(url) as answer:
        text = answer.read().decode()
    rows = [line for line in text.splitlines() if f'run="{run}"' in line]
    return {row.partition("{")[0]: float(row.rpartition(" ")[2]) for row in rows}
