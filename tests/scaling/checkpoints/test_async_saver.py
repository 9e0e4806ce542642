"""Checkpoints in the background, while the storage refuses them or not."""

import os
import subprocess
import threading
import time
from pathlib import Path

import pytest
import torch

from scaling.checkpoints import async_saver, engine_state
from scaling.checkpoints.async_saver import AsyncSaver
from scaling.checkpoints.checkpoint import FOLDER, Writer, committed, newest
from scaling.checkpoints.train_state import TrainState
from scaling.runs.job import WorkerStart

MEBIBYTE = 2**20


@pytest.fixture
def refuses(tmp_path):
    """Mount something over the checkpoints' folder while the block runs."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a file system")
    folder = tmp_path / FOLDER
    folder.mkdir()

    def mount(options: str) -> None:
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)])
        if done.returncode:
            pytest.skip("this machine lets nobody mount a file system")

    yield mount
    subprocess.run(["umount", "--lazy", str(folder)], capture_output=True)


@pytest.fixture
def saver(tmp_path, monkeypatch):
    """Return the saver of a single rank with a state of one mebibyte, and its warnings."""
    tensors = {"model/weight": torch.zeros(MEBIBYTE // 4)}
    monkeypatch.setattr(engine_state, "gather_tensors", lambda *_: tensors)
    warnings: list[str] = []
    made = AsyncSaver(
        tmp_path,
        WorkerStart(id="s", workers=1, micro_batches=1),
        0,
        all_reduce_sum=lambda values: values,
        tick=lambda _: None,
        warn=warnings.append,
    )
    return made, warnings


@pytest.mark.fault(
    "Storage",
    "the disk is full",
    "that checkpoint is lost with a warning and leaves no partial file; later ones are written",
)
def test_a_run_continues_on_a_full_disk_and_saves_later(tmp_path, refuses, saver):
    refuses("size=3m")
    made, warnings = saver
    filler = tmp_path / FOLDER / "filler"
    for step in (1, 2):
        made.begin(None, TrainState(step))
        if step == 1:
            made.wait_until_written()
            filler.write_bytes(bytes(3 * MEBIBYTE // 2))
    made.begin(None, TrainState(3))
    (warning,) = warnings
    assert warning.startswith("the checkpoint of step 2 was not written")
    assert "No space left on device" in warning
    made.begin(None, TrainState(4))
    assert len(warnings) == 2
    with pytest.raises(OSError, match="No space left"):
        made.wait_until_written()
    # The committed checkpoint is whole, and no partial one fills the disk.
    assert newest(tmp_path)[0].place.step == 1
    assert {path.name for path in (tmp_path / FOLDER).iterdir()} == {"000000001", "filler"}
    filler.unlink()
    made.begin(None, TrainState(5))
    made.wait_until_written()
    assert newest(tmp_path)[0].place.step == 5


@pytest.mark.fault(
    "Storage",
    "the storage is read-only for a while at the end",
    "the last files are tried again for two minutes",
)
def test_the_last_checkpoint_waits_for_a_storage_that_is_read_only_for_a_while(
    tmp_path, refuses, saver, monkeypatch
):
    refuses("ro")
    made, _ = saver
    tries: list[float] = []
    real = time.sleep
    monkeypatch.setattr(
        async_saver.time, "sleep", lambda seconds: (tries.append(seconds), real(0.05))
    )

    def back() -> None:
        while tries.count(1) < 20:
            real(0.01)
        subprocess.run(["umount", str(tmp_path / FOLDER)], check=True)

    thread = threading.Thread(target=back)
    thread.start()
    made.finish(None, TrainState(9))
    thread.join()
    assert tries.count(1) >= 20
    assert newest(tmp_path)[0].place.step == 9


@pytest.mark.fault("Storage", "the storage stays read-only", "an error after a limited time")
def test_a_storage_that_stays_read_only_is_an_error_after_a_limited_wait(
    refuses, saver, monkeypatch
):
    refuses("ro")
    monkeypatch.setattr(async_saver, "STORAGE_SECONDS", 2)
    with pytest.raises(OSError, match="Read-only file system"):
        saver[0].finish(None, TrainState(9))


@pytest.mark.fault(
    "Storage",
    "the storage is slow",
    "steps continue; one checkpoint at a time is written",
)
def test_a_slow_storage_delays_no_step_and_gets_one_checkpoint_at_a_time(
    tmp_path, saver, monkeypatch
):
    made, warnings = saver
    real, free = Writer.write, threading.Event()
    begun: list[int] = []

    def slow(writer, tensors, place):
        begun.append(place.step)
        assert free.wait(60)
        real(writer, tensors, place)

    monkeypatch.setattr(Writer, "write", slow)
    # `begin` returns while the storage still blocks.
    made.begin(None, TrainState(3))
    second = threading.Thread(target=made.begin, args=(None, TrainState(6)))
    second.start()
    second.join(0.3)
    assert second.is_alive() and begun == [3] and committed(tmp_path) == []
    free.set()
    second.join()
    made.wait_until_written()
    assert begun == [3, 6] and warnings == []
    assert newest(tmp_path)[0].place.step == 6


def test_a_saved_step_is_not_written_again(tmp_path, saver):
    made, warnings = saver
    made.begin(None, TrainState(4))
    made.wait_until_written()
    before = committed(tmp_path)[0].stat().st_mtime_ns
    made.finish(None, TrainState(4))
    assert committed(tmp_path)[0].stat().st_mtime_ns == before
    assert warnings == []


@pytest.mark.fault(
    "Storage",
    "the disk is full while the log is written",
    "its lines wait in memory, and none is lost",
)
def test_the_log_keeps_lines_that_a_full_disk_refuses(tmp_path: Path, refuses):
    from scaling.runs.log import RunHistory, RunLog

    refuses("size=64k")
    folder = tmp_path / FOLDER
    log = RunLog(folder, 0)
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
        while True:
            file.write(bytes(4_096))
    for step in range(1, 200):
        log.write("step", step=step, nats=1.0)
    with pytest.raises(OSError, match="No space"):
        log.flush()
    filler.unlink()
    log.write("step", step=200, nats=1.0)
    assert [line["step"] for line in RunHistory.read(folder).steps] == list(range(1, 201))
