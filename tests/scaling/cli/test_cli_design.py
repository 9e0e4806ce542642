import json

import pytest

from scaling.cli.main import app
from scaling.config import load
from scaling.config.load import ConfigError
from tests.helpers.clone import CLONE
from tests.helpers.records import study

DEMO = str(CLONE / "configs/runs/demo.yaml")
A100 = str(CLONE / "configs/hardware/a100.yaml")
AXIS = ("--axis", "model.context=8000,64000,512000")


def ran(*words):
    app(list(words), standalone_mode=False)


def test_a_design_is_printed_and_written(tmp_path, capsys):
    out = tmp_path / "sweep.yaml"
    guess = ("--guess", "model.context=0.1,0.4")
    ran("design", DEMO, *AXIS, *guess, "--flops", "1e15", "--seeds", "2", "--out", str(out))
    printed = capsys.readouterr().out
    assert "equal-data design of 5 runs" in printed and "model.context.exponent" in printed
    assert "model.context adds 0.1 nats" in printed
    assert len(load.sweep(out).runs) == 5
    assert f"python -m scaling plan {out}" in printed.replace("\n", "")


def test_a_budget_in_dollars_needs_hardware_with_a_price(capsys):
    widths = ("--axis", "model.width=16,32,64,128", "--isoflop", "--budgets", "2")
    ran("design", DEMO, *widths, "--dollars", "5", "--hardware", A100)
    printed = capsys.readouterr().out
    assert "isoflop design of 12 runs" in printed and "dollars" in printed
    assert "sweep:" in printed


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--flops", "1e15"), "no axis"),
        ((*AXIS,), "give one budget"),
        ((*AXIS, "--flops", "1", "--dollars", "1"), "give one budget"),
        ((*AXIS, "--dollars", "1"), "needs hardware with a price"),
        ((*AXIS, "--flops", "1e15", "--noise", "0"), "--noise is 0.0: write nats above 0"),
        (("--axis", "model.context=8000", "--flops", "1e15"), "two or more different numbers"),
        (("--axis", "model.context=a,b", "--flops", "1e15"), "two or more different numbers"),
        ((*AXIS, "--flops", "1e15", "--guess", "model.context=1"), "write KEY=NATS,EXPONENT"),
    ],
)
def test_a_wrong_request_for_a_design_is_refused_with_the_remedy(words, message):
    with pytest.raises(ConfigError, match=message):
        ran("design", DEMO, *words)


def test_the_power_of_a_comparison_is_printed_and_given_as_json(capsys):
    stated = ("--seed-noise", "0.004", "--target-noise", "0.4")
    ran("power", "--difference", "0.02", *stated, "--recordings", "30", "--correlation", "0.001")
    assert "seeds each" in capsys.readouterr().out
    ran("power", "--difference", "0.02", *stated, "--per-recording", "10", "--json")
    content = json.loads(capsys.readouterr().out)
    assert [need["seeds"] for need in content["needs"]] == list(range(1, 11))


def test_the_noise_of_a_studys_runs_is_read_from_its_folder(tmp_path, capsys):
    for record in study():
        (tmp_path / record.id).mkdir()
        record.write(tmp_path / record.id)
    ran("power", "--difference", "0.02", "--runs", str(tmp_path))
    assert "from 2 degrees of freedom" in " ".join(capsys.readouterr().out.split())
    ran("power", "--difference", "0.02", "--runs", str(tmp_path), "--target-noise", "0.3")
    assert "0.3 of a target's difference" in " ".join(capsys.readouterr().out.split())
    ran("power", "--difference", "0.02", "--runs", str(tmp_path), "--seed-noise", "0.001")
    assert "degrees of freedom" not in " ".join(capsys.readouterr().out.split())


def test_all_problems_of_a_request_for_power_are_reported_at_once():
    with pytest.raises(ConfigError) as caught:
        ran("power", "--difference", "-1", "--correlation", "2", "--recordings", "1")
    assert len(caught.value.problems) == 4
    both = ("--recordings", "3", "--per-recording", "3", "--runs", "x")
    with pytest.raises(ConfigError, match="both given: give one"):
        ran("power", "--difference", "1", *both)
