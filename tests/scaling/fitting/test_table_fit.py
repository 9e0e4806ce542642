"""``python -m scaling fit`` on public tables of runs with published fits, and on generated ones.

The public tables are in the folder that LONGWAVE_SCALING_DATA names, or in ``shared/data/scaling``
beside the clone.
"""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.clone import CLONE
from tests.helpers.command import scaling_in_new_process
from tests.helpers.surfaces import TRUTH, codes, design, fitted, grid, noisy, surface, table

DATA = Path(os.environ.get("LONGWAVE_SCALING_DATA", CLONE.parent / "shared/data/scaling"))
public = pytest.mark.skipif(not DATA.is_dir(), reason=f"no public tables of runs in {DATA}")

EPOCH = (
    DATA / "epoch_chinchilla/svg_extracted_data.csv",
    *("--loss", "loss", "--where", "loss < loss.nlargest(5).min()"),
)
SIZES = ("--term", "N=Model Size", "--term", "D=Training FLOP / (6 * Model Size)")


@pytest.fixture
def run(tmp_path):
    def run(*words):
        out = tmp_path / "out.json"
        done = scaling_in_new_process("fit", *words, "--json", out, OMP_NUM_THREADS="1")
        assert done.returncode == 0, done.stderr
        return json.loads(out.read_text())

    return run


def parameters(content):
    terms = content["terms"]
    return {
        "E": content["E"],
        **{
            f"{name}.{key}": terms[name][key]
            for name in terms
            for key in ("coefficient", "exponent")
        },
    }


@public
def test_the_huber_fit_of_chinchillas_runs_is_the_true_minimum(run):
    """Values of Besiroglu et al. 2024 (arXiv 2404.10102), at delta 1e-3."""
    found = run(*EPOCH, *SIZES, "--cost", "6 * N * D", "--bootstrap", "400")
    assert found["n"] == 240 and found["converged"]
    assert found["objective"] <= 0.00101827402 * (1 + 1e-6)
    values = parameters(found)
    assert values["E"] == pytest.approx(1.8172, abs=0.001)
    assert values["N.exponent"] == pytest.approx(0.3473, abs=0.0005)
    assert values["D.exponent"] == pytest.approx(0.3672, abs=0.0007)
    assert values["N.coefficient"] == pytest.approx(477.8, rel=0.01)
    assert values["D.coefficient"] == pytest.approx(2143, rel=0.015)
    assert found["frontier"]["exponents"]["N"] == pytest.approx(0.5139, abs=0.001)
    published = {
        "E": 0.0257,
        "N.exponent": 0.0154,
        "D.exponent": 0.0206,
        "N.compute_exponent": 0.020,
    }
    errors = {name: found["standard_errors"][name] for name in published}
    assert errors == pytest.approx(published, rel=0.2)


@public
@pytest.mark.parametrize("delta", ["1e-6", "1e-8", "1e-10"])
def test_the_narrow_limit_gives_the_published_table(run, delta):
    """The notebook of the paper maximises a likelihood with a free scale: least absolute errors."""
    found = parameters(run(*EPOCH, *SIZES, "--delta", delta, "--bootstrap", "0"))
    assert found["N.coefficient"] == pytest.approx(482.01, rel=0.005)
    assert found["D.coefficient"] == pytest.approx(2085.43, rel=0.005)
    assert found["N.exponent"] == pytest.approx(0.3478, abs=0.0003)
    assert found["D.exponent"] == pytest.approx(0.3658, abs=0.0003)


@public
def test_least_squares_predict_the_largest_of_chinchillas_runs(run):
    """Values of Apple's ml-scalefit on the same runs, in millions and billions."""
    found = run(
        *EPOCH,
        *("--term", "N=Model Size / 1e6", "--term", "D=Training FLOP / (6e9 * Model Size)"),
        *("--objective", "mse", "--space", "raw", "--holdout", "Training FLOP >= 1e21"),
    )
    assert found["n"] == 217 and found["holdout"]["rows"] == 23
    expected = {
        "E": 1.9051,
        "N.coefficient": 4.0005,
        "N.exponent": 0.3511,
        "D.coefficient": 1.0509,
        "D.exponent": 0.4587,
    }
    assert parameters(found) == pytest.approx(expected, abs=0.0005)
    assert found["goodness"]["r_squared"] == pytest.approx(0.99604, abs=1e-5)
    assert found["holdout"]["mean_abs_relative_error"] <= 0.0134
    assert found["holdout"]["max_abs_relative_error"] == pytest.approx(0.040, abs=0.0005)


SMALL = "(cc_mult == 1 and params < 4.2e8 or cc_mult == 16 and model.str.startswith('d=96_'))"


@public
@pytest.mark.parametrize(
    ("dataset", "expected"),
    [
        ("c4_original", {"E": 1.508, "a": 141.3, "b": 189.5, "eta": 0.1212}),
        ("rpj", {"E": 1.837, "a": 212.2, "b": 366.7, "eta": 0.1364}),
        ("rw_original", {"E": 1.734, "a": 157.1, "b": 246.2, "eta": 0.1272}),
    ],
)
def test_five_small_runs_give_the_overtraining_law(run, dataset, expected):
    """Values of Gadre et al. 2024 (arXiv 2403.08540), with their two held-out errors."""
    found = run(
        DATA / "gadre/runs.csv",
        *("--loss", "loss_c4_val", "--term", "N=params", "--term", "D=tokens"),
        *("--form", "overtraining", "--objective", "mse", "--space", "raw"),
        *("--where", f"dataset == '{dataset}' and ({SMALL} or params > 1e9)"),
        *("--holdout", "params > 1e9"),
    )
    assert found["n"] == 5
    values = found["parameters"]
    assert values["a"] == pytest.approx(expected["a"], rel=0.02)
    assert values["b"] == pytest.approx(expected["b"], rel=0.02)
    assert values["eta"] == pytest.approx(expected["eta"], abs=0.001)
    assert values["E"] == pytest.approx(expected["E"], abs=0.01)
    assert "few_configurations" in codes(found)
    if dataset == "rpj":
        errors = [100 * abs(row["relative_error"]) for row in found["holdout"]["predictions"]]
        assert errors[-2:] == pytest.approx([0.7103, 0.7320], abs=0.03)


@public
def test_asymmetric_errors_reach_the_published_optimum(run):
    """Values of the package chinchilla on its own runs; its objective is the mean."""
    found = run(
        *(DATA / "kyo_takano/df.csv", "--loss", "loss", "--term", "N=N", "--term", "D=D"),
        *("--objective", "asymmetric", "--space", "raw"),
    )
    assert found["mean_objective"] <= 0.0227819 * (1 + 2e-5)
    assert found["objective"] == pytest.approx(234 * found["mean_objective"])
    values = parameters(found)
    expected = {"E": 1.70024, "N.exponent": 0.28901, "D.exponent": 0.35579}
    assert {name: values[name] for name in expected} == pytest.approx(expected, abs=0.001)


def test_the_law_of_a_generated_table_is_recovered_with_all_requested_results(tmp_path):
    n, d, loss = design(0.002)
    path = table(tmp_path, {"n": n, "d": d, "loss": loss})
    found = fitted(
        path,
        *("--loss", "loss", "--term", "N=n", "--term", "D=d", "--holdout", "n > 9e9"),
        *("--compare", "--cost", "6 * N * D", "--at", "1e24", "--bootstrap", "60"),
    )
    assert parameters(found)["N.exponent"] == pytest.approx(TRUTH["N.exponent"], abs=0.02)
    low, high = found["intervals"]["E"]
    assert low < TRUTH["E"] < high
    assert found["n"] == 30 and found["holdout"]["rows"] == 6
    assert found["holdout"]["mean_abs_relative_error"] < 0.01
    assert found["holdout"]["inside"] >= 5
    assert {score["name"] for score in found["forms"]} >= {"additive", "coupled", "overtraining"}
    assert found["frontier"]["best"][-1]["budget"] == 1e24
    assert codes(found) == {"far_extrapolation"}
    assert found["standard_errors"].keys() == found["intervals"].keys()
    assert found["isoflop"] is None


def test_values_that_were_not_requested_or_are_undetermined_are_null(tmp_path):
    x = np.geomspace(1, 100, 3)
    path = table(tmp_path, {"x": x, "loss": 2 + x**-0.5})
    found = fitted(path, "--loss", "loss", "--term", "x=x")
    for name in ("holdout", "forms", "isoflop", "frontier", "interval_method"):
        assert found[name] is None
    assert found["intervals"] == {"E": None, "x.coefficient": None, "x.exponent": None}
    assert "few_configurations" in codes(found)


def test_the_biased_parabola_is_given_beside_the_joint_fit(tmp_path):
    budgets = np.repeat(np.geomspace(1e17, 1e21, 5), 9)
    best = (0.34 * 406.4 / (0.28 * 410.7)) ** (1 / 0.62) * (budgets / 6) ** (0.28 / 0.62)
    n = best * np.tile(np.geomspace(1 / 8, 8, 9), 5)
    d = budgets / 6 / n
    path = table(tmp_path, {"n": n, "d": d, "loss": 1.69 + 406.4 / n**0.34 + 410.7 / d**0.28})
    words = ("--loss", "loss", "--term", "N=n", "--term", "D=d", "--isoflop", "6 * n * d")
    found = fitted(path, *words, "--at", "1e24", "--bootstrap", "20")
    exponents = found["isoflop"]["exponents"]["N"]
    assert exponents["joint"] == pytest.approx(0.28 / 0.62, abs=1e-6)
    at = found["isoflop"]["at"][0]["D"]
    assert at["parabola"] < 0.98 * at["joint"]
    assert at["cubic"] == pytest.approx(at["joint"], rel=0.002)


def test_rows_of_one_group_are_redrawn_together(tmp_path):
    n, d = grid(sizes=4)
    wide = np.repeat(np.arange(16), 5)
    loss = noisy(surface(n, d) * noisy(np.ones(16), 0.005), 0.0)[wide]
    path = table(
        tmp_path,
        {"n": n[wide], "d": d[wide], "run": wide, "loss": noisy(loss, 1e-4), "i": range(80)},
    )
    words = ("--loss", "loss", "--term", "N=n", "--term", "D=d")
    together = fitted(path, *words, "--group", "run")
    apart = fitted(path, *words, "--group", "i")
    assert together["configurations"] == 16 and apart["configurations"] == 80
    assert apart["standard_errors"]["E"] < 0.7 * together["standard_errors"]["E"]
