import io
from pathlib import Path

import pytest

from scaling.runs.log import LOG_NAME, RunHistory, RunLog


class Growing(io.RawIOBase):
    """A file that grows while it is read: each read finds the next piece."""

    def __init__(self, *pieces):
        self._pieces = list(pieces)

    def readable(self):
        return True

    def readinto(self, buffer):
        piece = self._pieces.pop(0) if self._pieces else b""
        buffer[: len(piece)] = piece
        return len(piece)


def test_a_log_reads_as_one_undisturbed_run_after_a_resume(tmp_path):
    first = RunLog(tmp_path, 0)
    first.write("start", step=0)
    for step in (1, 2, 3, 4):
        first.write("step", step=step, nats=float(step))
    first.write("validation", step=4, nats=0.5)
    second = RunLog(tmp_path, 2)
    second.write("start", step=2)
    second.write("step", step=3, nats=30.0)
    history = RunHistory.read(tmp_path)
    assert [(line["step"], line["nats"]) for line in history.steps] == [
        (1, 1.0),
        (2, 2.0),
        (3, 30.0),
    ]
    assert [line["step"] for line in history.starts] == [0, 2]
    assert history.validations == []


@pytest.mark.fault("Storage", "a kill cuts the log's last line", "the line is left out")
def test_a_line_cut_by_a_kill_is_left_out(tmp_path):
    log = RunLog(tmp_path, 0)
    log.write("step", step=1, nats=1.0)
    with (tmp_path / LOG_NAME).open("a") as file:
        file.write('{"kind": "step", "st')
    assert len(RunHistory.read(tmp_path).steps) == 1
    RunLog(tmp_path, 1).write("step", step=2, nats=2.0)
    assert [line["step"] for line in RunHistory.read(tmp_path).steps] == [1, 2]


def test_a_line_that_is_finished_during_a_read_waits_for_the_next_read(tmp_path, monkeypatch):
    RunLog(tmp_path, 0).write("step", step=1, nats=1.25)
    line = (tmp_path / LOG_NAME).read_bytes()
    at_the_end = b""
    pieces = (line + line[:-9], at_the_end, line[-9:], at_the_end)
    growing = io.TextIOWrapper(io.BufferedReader(Growing(*pieces)))
    monkeypatch.setattr(Path, "open", lambda path: growing)
    assert [line["nats"] for line in RunHistory.read(tmp_path).steps] == [1.25]


def test_a_run_without_a_log_has_no_history(tmp_path):
    assert RunHistory.read(tmp_path).steps == []
