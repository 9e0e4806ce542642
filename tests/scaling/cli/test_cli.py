"""The command line, in processes of its own as for a user."""

import json
import subprocess
import sys

import numpy as np
import pytest
import soundfile
import yaml

from datasets.manifest import Corpus
from tests.helpers.clone import CLONE
from tests.helpers.command import scaling_in_new_process
from tests.helpers.runs import small_run

HEAVY = ("torch", "ray", "deepspeed")


def written(run, path):
    path.write_text(yaml.safe_dump(run.resolved()))
    return path


A100 = ("--hardware", "configs/hardware/a100.yaml")
CPU = ["--hardware", "configs/hardware/cpu.yaml"]


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["plan", "configs/sweeps/demo.yaml"],
        ["plan", "configs/sweeps/demo.yaml", *A100],
        ["plan", "configs/runs/paper.yaml", *A100, "--nodes", "1,5"],
        [
            "plan",
            "configs/sweeps/demo.yaml",
            *CPU,
            "--rates",
            "configs/measurements/bench-cpu.json",
        ],
        ["plan", "configs/runs/paper.yaml", "--parameters", "3.14M", "--vary", "model.width"],
        ["design", "configs/runs/demo.yaml", "--axis", "model.layers=1,2", "--flops", "1e15"],
        ["power", "--difference", "0.01", "--seed-noise", "0.004", "--target-noise", "0.4"],
        ["report", "--help"],
    ],
)
def test_help_plan_and_report_import_neither_torch_nor_ray(words):
    program = (
        f"import sys; sys.argv = ['scaling', *{words!r}]\n"
        "from scaling.__main__ import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=CLONE, capture_output=True, text=True, timeout=60
    )
    assert done.stderr.strip().splitlines()[-1] == "[]"


def test_a_plan_for_hardware_states_if_the_stream_keeps_up():
    done = scaling_in_new_process(
        "plan", "configs/runs/paper.yaml", "cluster.workers=64", "train.batch=64", *A100
    )
    assert "the stream on NVIDIA A100" in done.stdout
    assert ": the stream delivers" in done.stdout
    done = scaling_in_new_process("plan", "configs/runs/paper.yaml", "--json", *A100)
    assert json.loads(done.stdout)["runs"][0]["forecast"]["nodes"] == 1


@pytest.mark.parametrize(("option", "value"), [("--measured", "record.json"), ("--nodes", "1")])
def test_rates_and_nodes_without_hardware_are_refused(option, value):
    done = scaling_in_new_process("plan", "configs/runs/paper.yaml", option, value)
    assert done.returncode == 2
    assert done.stderr == (
        f"error: {option} needs --hardware: add --hardware configs/hardware/a100.yaml\n"
    )


def test_a_plan_for_numbers_of_nodes_is_printed_and_is_json():
    done = scaling_in_new_process("plan", "configs/runs/paper.yaml", *A100, "--nodes", "2,1")
    assert done.returncode == 0
    for shown in ("figures behind the tables", "not whole", "note: run", "simulation of"):
        assert shown in done.stdout
    done = scaling_in_new_process(
        "plan", "configs/runs/paper.yaml", *A100, "--nodes", "2,1", "--json"
    )
    rows = json.loads(done.stdout)["runs"][0]["nodes"]
    assert [(row["nodes"], row["step"] is None) for row in rows] == [(1, False), (2, True)]


def test_a_wrong_key_is_refused_in_one_line_with_exit_code_2():
    done = scaling_in_new_process("train", "--config", "configs/runs/demo.yaml", "model.layres=3")
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "error: model.layres = 3 is not a key of the configuration: the nearest is model.layers"
    ]


@pytest.mark.fault(
    "Configurations",
    "a combination of settings is impossible",
    "every problem is printed with what to write, and Ray is not started",
)
def test_all_problems_of_a_run_are_printed_before_anything_starts(embedded_corpus, tmp_path):
    path = written(small_run(embedded_corpus, tmp_path), tmp_path / "run.yaml")
    overrides = ["model.width=7", "cluster.workers=9", "train.accumulate=3"]
    done = scaling_in_new_process("train", "--config", path, *overrides, RAY_ADDRESS="")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 3


def test_a_missing_configuration_is_reported_with_the_command_to_type():
    done = scaling_in_new_process("plan")
    assert done.returncode == 2
    assert "--config configs/runs/demo.yaml" in done.stderr


def test_an_unknown_verb_is_a_usage_error():
    assert scaling_in_new_process("trian").returncode == 2


def test_a_plan_is_json_when_asked(embedded_corpus, tmp_path):
    path = written(small_run(embedded_corpus, tmp_path), tmp_path / "run.yaml")
    done = scaling_in_new_process("plan", path, "--json")
    assert done.returncode == 0
    (run,) = json.loads(done.stdout)["runs"]
    assert run["targets"] == 8 * 4 * 3


@pytest.mark.parametrize("verb", ["status", "report"])
def test_a_folder_without_a_study_is_refused_in_one_line_with_exit_code_1(verb, tmp_path):
    done = scaling_in_new_process(verb, tmp_path)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert str(tmp_path) in done.stderr


def test_prepare_uses_the_good_files_and_names_the_others(ray_session, tmp_path):
    for period, name in enumerate(("a.wav", "b.flac", "c.wav"), 9):
        tone = np.sin(np.arange(32_000) / period).astype(np.float32) / 2
        soundfile.write(tmp_path / name, tone, 16_000)
    (tmp_path / "d.wav").write_text("no audio at all")
    path = tmp_path / "corpus.yaml"
    content = {
        "name": "tones",
        "root": str(tmp_path),
        "files": ["*.wav", "*.flac"],
        "destination": str(tmp_path / "prepared"),
        "licence": "made for a test",
        "split": {"rule": "order", "fractions": [0.34, 0.33, 0.33]},
    }
    path.write_text(yaml.safe_dump(content))
    done = scaling_in_new_process("prepare", path)
    assert done.returncode == 0, done.stderr
    assert len(Corpus.load(tmp_path / "prepared").recordings) == 3
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("left out")]
    assert "d.wav" in line
    for number in range(50):
        (tmp_path / f"e{number}.wav").write_text("no audio at all")
    many = scaling_in_new_process("prepare", path).stdout
    assert many.count("left out '") == 40
    assert "left out 11 files more" in many
    path.write_text(yaml.safe_dump({**content, "strict": True}))
    strict = scaling_in_new_process("prepare", path)
    assert strict.returncode == 1
    assert "d.wav" in strict.stderr
    assert "Traceback" not in strict.stderr


def test_doctor_gives_json():
    findings = json.loads(scaling_in_new_process("doctor", "--json").stdout)
    assert {"ok", "warning", "problem"} >= {finding["status"] for finding in findings}


@pytest.mark.fault(
    "Configurations",
    "another package is named `datasets`",
    "it is refused with a sentence",
)
def test_a_foreign_package_named_datasets_is_refused_with_the_reason(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "__init__.py").write_text("")
    program = (
        f"import sys; sys.path.insert(0, {str(CLONE)!r})\n"
        f"import scaling; sys.path.insert(0, {str(tmp_path)!r})\n"
        "sys.argv = ['scaling', 'plan']\n"
        "from scaling.__main__ import main\nsys.exit(main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert "model" in done.stderr
    assert "Traceback" not in done.stderr
