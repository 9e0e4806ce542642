"""The verb fit: its tables, its file, and its exit codes."""

import pytest

from scaling.cli.main import app
from tests.helpers.command import scaling_in_new_process
from tests.helpers.surfaces import design, table

TERMS = ("--term", "N=Model Size", "--term", "D=tokens")


def test_without_a_file_the_terminal_shows_intervals_and_warnings(tmp_path):
    n, d, loss = design(decades=0.8)
    path = table(tmp_path, {"Model Size": n, "tokens": d, "loss": loss})
    done = scaling_in_new_process("fit", path, "--loss", "loss", *TERMS, "--bootstrap", "20")
    assert done.returncode == 0, done.stderr
    assert "N.exponent" in done.stdout and "95% interval" in done.stdout
    assert "Intervals: 20 redraws of configurations." in done.stdout
    assert "warning: N spans a factor of 6.31, less than one decade. (narrow_range)" in done.stdout


def test_every_optional_table_is_shown(tmp_path, capsys):
    words = ("--holdout", "tokens > 5e11", "--compare", "--cost", "6 * N * D", "--at", "1e24")
    path = str(table(tmp_path))
    budget = ("--isoflop", "Model Size * tokens")
    app(
        ["fit", path, "--loss", "loss", *TERMS, *words, *budget, "--bootstrap", "10"],
        standalone_mode=False,
    )
    shown = capsys.readouterr().out
    for part in ("held out: 6 rows", "AICc", "best size at each budget", "best sizes for a budget"):
        assert part in shown


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--loss", "los", *TERMS), 2, "there is no column 'los': the nearest is 'loss'"),
        (("--loss", "loss"), 2, "there is no term: write at least one"),
        (("--loss", "loss", *TERMS, "--form", "quintic"), 2, "'quintic' is not one of"),
        (("--loss", "loss", *TERMS, "--where", "N < 2e7 and D < 3e10"), 1, "determine the 5"),
        (("--loss", "loss", *TERMS, "--cost", "6 * N"), 1, "there is no best size"),
        (("--loss", "loss", *TERMS, "--json", "nowhere/out.json"), 2, "there is no folder"),
    ],
)
def test_bad_input_is_refused_with_the_reason_and_an_exit_code(tmp_path, words, code, message):
    done = scaling_in_new_process("fit", table(tmp_path), *words, "--bootstrap", "2")
    assert done.returncode == code, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
