"""Checkpoints: written atomically, and never used if they are damaged."""

import hashlib
import json
import pickle
import threading
from pathlib import Path

import pytest
import torch

from scaling.checkpoints.checkpoint import (
    FOLDER,
    KEPT,
    MANIFEST,
    Checkpoint,
    CheckpointError,
    Writer,
    committed,
    forget_partial,
    newest,
)
from scaling.checkpoints.train_state import TrainState

TENSORS = {"model/weight": torch.arange(6.0).view(2, 3), "exp_avg/weight": torch.ones(2, 3)}


def write(folder: Path, step: int, workers: int = 1, start: str = "s") -> None:
    """Write and commit a checkpoint, with its tensors assigned to the workers in turn."""
    threads = []
    for rank in reversed(range(workers)):
        mine = {name: TENSORS[name] for name in list(TENSORS)[rank::workers]}
        writer = Writer(folder, start, rank, workers)
        threads.append(
            threading.Thread(target=writer.write, args=(mine, TrainState(step, "d", 2.5)))
        )
        threads[-1].start()
    for thread in threads:
        thread.join()


def parts(folder: Path, step: int) -> list[Path]:
    return sorted((folder / FOLDER / f"{step:09d}").glob("*.safetensors"))


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_a_checkpoint_is_read_as_written_for_any_number_of_writers(tmp_path, workers):
    write(tmp_path, 7, workers)
    found, damage = newest(tmp_path)
    assert damage == []
    assert found.place == TrainState(7, "d", 2.5)
    assert found.workers == workers == len(found.parts)
    tensors = dict(found.tensors())
    assert tensors.keys() == TENSORS.keys()
    assert all(torch.equal(tensors[name], TENSORS[name]) for name in TENSORS)


def test_the_newest_ones_are_kept(tmp_path):
    for step in (3, 6, 9, 12):
        write(tmp_path, step)
    assert [path.name for path in committed(tmp_path)] == ["000000012", "000000009"]
    assert len(list((tmp_path / FOLDER).iterdir())) == KEPT == 2


@pytest.mark.fault(
    "Checkpoints",
    "one worker cannot write its part",
    "the checkpoint is abandoned by all workers",
)
def test_a_missing_part_leaves_no_checkpoint(tmp_path):
    write(tmp_path, 3)
    writer = Writer(tmp_path, "s", 0, 2)
    writer.abandoned.set()
    with pytest.raises(CheckpointError, match="another worker could not write its part"):
        writer.write(TENSORS, TrainState(6))
    assert [path.name for path in (tmp_path / FOLDER).iterdir()] == ["000000003"]


@pytest.mark.fault(
    "Checkpoints",
    "a worker is killed while it writes a checkpoint",
    "it is never used, and removed at the next start",
)
def test_a_killed_writers_part_is_never_used_by_a_later_start(tmp_path):
    first = Writer(tmp_path, "first", 1, 2)
    first.write({"model/weight": torch.zeros(1)}, TrainState(6))
    assert committed(tmp_path) == []
    write(tmp_path, 6, 2, start="second")
    assert torch.equal(dict(newest(tmp_path)[0].tensors())["model/weight"], TENSORS["model/weight"])
    assert len(list((tmp_path / FOLDER).iterdir())) == 2
    forget_partial(tmp_path)
    assert [path.name for path in (tmp_path / FOLDER).iterdir()] == ["000000006"]


def damage(path: Path, how: str) -> None:
    content = bytearray(path.read_bytes())
    if how == "missing":
        path.unlink()
    elif how == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif how == "empty":
        path.write_bytes(b"")
    else:
        content[-3] ^= 1
        path.write_bytes(content)


@pytest.mark.fault(
    "Checkpoints",
    "a part of the newest checkpoint is missing, truncated, empty, or has one wrong bit",
    "the run continues from the checkpoint before, with a warning",
)
@pytest.mark.parametrize("how", ["missing", "truncated", "empty", "one bit"])
@pytest.mark.parametrize("rank", [0, 1])
def test_a_run_with_a_damaged_part_continues_from_the_checkpoint_before(tmp_path, how, rank):
    write(tmp_path, 3, 2)
    write(tmp_path, 6, 2)
    damage(parts(tmp_path, 6)[rank], how)
    found, sentences = newest(tmp_path)
    assert found.place.step == 3
    (sentence,) = sentences
    assert f"000000006/part-0000{rank}.safetensors" in sentence
    # It is renamed: the step can be written again, and is then the newest.
    write(tmp_path, 6, 2)
    assert newest(tmp_path)[0].place.step == 6
    assert not list((tmp_path / FOLDER).glob("*.damaged"))


@pytest.mark.fault(
    "Checkpoints",
    "the newest checkpoint's manifest is damaged",
    "the run continues from the checkpoint before, with a warning",
)
@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", "not json", '{"version": 1}', '{"version": "x"}', "null", "[" * 200_000],
)
def test_a_run_with_a_damaged_manifest_continues_from_the_checkpoint_before(tmp_path, text):
    write(tmp_path, 3)
    write(tmp_path, 6)
    (tmp_path / FOLDER / "000000006" / MANIFEST).write_text(text)
    found, sentences = newest(tmp_path)
    assert found.place.step == 3
    assert "cannot be used" in sentences[0]


@pytest.mark.fault(
    "Checkpoints",
    "all checkpoints are damaged",
    "the run stops and names all of them; it never restarts at step 0",
)
def test_a_run_never_restarts_at_step_0_if_all_checkpoints_are_damaged(tmp_path):
    assert newest(tmp_path) == (None, [])
    for step in (3, 6):
        write(tmp_path, step)
        damage(parts(tmp_path, step)[0], "one bit")
    with pytest.raises(CheckpointError, match=r"no checkpoint of .* can be used.*remove the run"):
        newest(tmp_path)
    assert len(committed(tmp_path)) == 2


@pytest.mark.fault(
    "Checkpoints",
    "a checkpoint is of another version",
    "it is refused with both versions, and not changed",
)
def test_a_checkpoint_of_another_version_is_refused_and_not_changed(tmp_path):
    write(tmp_path, 3)
    path = tmp_path / FOLDER / "000000003" / MANIFEST
    path.write_text(json.dumps({**json.loads(path.read_text()), "version": 99}))
    with pytest.raises(CheckpointError, match="has version 99 and this Longwave reads version 1"):
        Checkpoint.read(path.parent)


@pytest.mark.fault(
    "Security",
    "a checkpoint's manifest names files elsewhere",
    "it is refused, and the files are not read",
)
@pytest.mark.parametrize("name", ["../000000003/part-00000.safetensors", "/dev/zero", "", None])
def test_a_manifest_that_names_foreign_files_or_none_is_refused(tmp_path, name):
    write(tmp_path, 3)
    path = tmp_path / FOLDER / "000000003" / MANIFEST
    content = json.loads(path.read_text())
    (part,) = content["parts"].values()
    content["parts"] = {} if name is None else {name: part}
    path.write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match="cannot be used"):
        newest(tmp_path)


@pytest.mark.fault(
    "Security",
    "a part of a checkpoint has the right hash and no tensors",
    "it is refused with a sentence",
)
def test_a_part_with_the_right_hash_but_no_tensors_is_refused_with_the_reason(tmp_path):
    write(tmp_path, 3)
    (part,) = parts(tmp_path, 3)
    part.write_bytes(b"no tensors at all")
    path = part.parent / MANIFEST
    content = json.loads(path.read_text())
    digest = hashlib.sha256(part.read_bytes()).hexdigest()
    content["parts"][part.name] = {"sha256": digest, "bytes": 17}
    path.write_text(json.dumps(content))
    found, damage = newest(tmp_path)
    assert damage == []
    with pytest.raises(CheckpointError, match=r"part-00000\.safetensors cannot be read: "):
        dict(found.tensors())


class Trap:
    """An object that runs code when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return (Path.touch, (self.mark,))


@pytest.mark.fault(
    "Security", "a pickle in place of a checkpoint", "it is refused, and its code never runs"
)
def test_a_hostile_checkpoint_runs_nothing(tmp_path):
    write(tmp_path, 3)
    mark = tmp_path / "ran"
    for path in (parts(tmp_path, 3)[0], tmp_path / FOLDER / "000000003" / MANIFEST):
        path.write_bytes(pickle.dumps(Trap(mark)))
        with pytest.raises(CheckpointError):
            newest(tmp_path)
    assert not mark.exists()
