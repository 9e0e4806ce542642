"""10,000 damaged inputs for each loader of binary files: an error, or the file's content."""

import hashlib
import json
import shutil

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import strategies as st

from datasets import archives, audio, shards
from datasets.archives import ArchiveError
from datasets.audio import AudioError
from datasets.shards import ShardError
from datasets.storage import Folder
from scaling.checkpoints import checkpoint as checkpoints
from scaling.checkpoints import engine_state
from scaling.checkpoints.checkpoint import CheckpointError
from scaling.checkpoints.train_state import TrainState
from tests.helpers.archives import MEMBERS, packed, random_codes, written
from tests.helpers.fuzzing import Surface, changed, changes, damaged, damages
from tests.helpers.sounds import noise, sound

RATE = 16_000


def kinds_of(folder):
    """Return a file of a tenth of a second in each supported format, by name."""
    stereo = np.stack([noise(1_600), noise(1_600, 1)], axis=1)
    paths = [
        sound(folder / "a.wav", 1_600),
        sound(folder / "b.wav", stereo, 44_100, subtype="FLOAT"),
        sound(folder / "c.wav", stereo, 8_000, subtype="PCM_24"),
        sound(folder / "d.flac", 1_600),
        sound(folder / "e.ogg", 1_600),
        sound(folder / "f.mp3", 1_600),
        sound(folder / "g.aiff", 1_600),
        sound(folder / "h.rf64", 1_600, format="RF64"),
    ]
    return {path.name: path.read_bytes() for path in paths}


@pytest.mark.fault(
    "Foreign bytes",
    "10,000 damaged files: audio in eight formats",
    "the loader raises its documented error or returns the file's content; it writes no "
    "file elsewhere",
)
def test_damaged_audio_is_read_or_refused_with_the_reason(tmp_path):
    files = kinds_of(tmp_path / "sound")
    surface = Surface(tmp_path / "given", (AudioError,))

    def give(drawn):
        name, other, damage = drawn
        path = surface.folder / name
        path.write_bytes(damaged(files[name], damage, files[other]))

        def load():
            audio.read_properties(path)
            for block in audio.read_blocks(path, RATE):
                assert block.ndim == 1 and np.isfinite(block).all()

        surface.give(load)

    names = st.sampled_from(sorted(files))
    surface.fuzz(st.tuples(names, names, damages), give)


@pytest.mark.fault(
    "Foreign bytes",
    "10,000 damaged files: archives in eight endings",
    "the loader raises its documented error or returns the file's content; it writes no "
    "file elsewhere",
)
def test_damaged_archives_are_unpacked_into_their_folder_or_refused_whole(tmp_path):
    packs = {suffix: packed(MEMBERS, suffix) for suffix in archives.SUFFIXES}
    surface = Surface(tmp_path / "given", (ArchiveError,))

    def give(drawn):
        suffix, other, damage = drawn
        path = surface.folder / f"x{suffix}"
        path.write_bytes(damaged(packs[suffix], damage, packs[other]))
        out = surface.folder / "out"
        surface.give(lambda: archives.unpack(path, out))
        left = {entry.name for entry in surface.folder.iterdir()}
        assert left <= {path.name, "out"}
        if out.exists():
            assert not any(entry.is_symlink() for entry in out.rglob("*"))
            shutil.rmtree(out)
        path.unlink()

    suffixes = st.sampled_from(sorted(packs))
    surface.fuzz(st.tuples(suffixes, suffixes, damages), give)


@pytest.mark.fault(
    "Foreign bytes",
    "10,000 damaged files: shards",
    "the loader raises its documented error or returns the file's content; it writes no "
    "file elsewhere",
)
def test_damaged_shards_are_read_or_refused_with_the_reason(tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "BLOCK", 100)
    made = tmp_path / "made"
    found = {
        levels: written(made, [random_codes(250, levels), random_codes(7, levels)], levels, name)
        for levels, name in ((256, "shards/a.parquet"), (65_536, "shards/b.parquet"))
    }
    files = {levels: (made / places[0].shard).read_bytes() for levels, places in found.items()}
    # Reading slices raises ShardError, and reading row groups pyarrow's own errors.
    surface = Surface(tmp_path / "given", (ShardError, OSError, pa.ArrowException))
    count = 0

    def give(drawn):
        nonlocal count
        levels, other, damage = drawn
        count += 1
        path = surface.folder / f"{count}.parquet"
        path.write_bytes(damaged(files[levels], damage, files[other]))

        def load():
            for root in (surface.folder, f"file://{surface.folder}"):
                folder = Folder.of(root)
                for before in found[levels]:
                    place = shards.ShardLocation(path.name, before.row, before.samples)
                    try:
                        assert len(shards.read(folder, place, 3, place.samples - 3)) == (
                            place.samples - 3
                        )
                    except ShardError as error:
                        assert "prepare the corpus again" in str(error)
            shards.read_row_groups(Folder.of(surface.folder), path.name)

        surface.give(load)
        path.unlink()

    levels = st.sampled_from(sorted(files))
    surface.fuzz(st.tuples(levels, levels, damages), give)


@pytest.mark.fault(
    "Foreign bytes",
    "10,000 damaged files: checkpoints",
    "the loader raises its documented error or returns the file's content; it writes no "
    "file elsewhere",
)
def test_damaged_checkpoints_are_loaded_or_refused_with_the_reason(tmp_path):
    network = torch.nn.Linear(3, 2)
    tensors = {f"model/{name}": tensor for name, tensor in network.state_dict().items()}
    write(tmp_path / "made", 7, tensors)
    folder = tmp_path / "made" / checkpoints.FOLDER / "000000007"
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert len(files) == 3
    surface = Surface(tmp_path / "given", (CheckpointError,))

    def give(drawn):
        name, other, damage, change, forged = drawn
        content = damaged(files[name], damage, files[other])
        if name == checkpoints.MANIFEST and change:
            content = json.dumps(changed(json.loads(files[name]), change)).encode()
        run = surface.folder / "run"
        shutil.rmtree(run, ignore_errors=True)
        put(run, {**files, name: content}, forged=forged and name != checkpoints.MANIFEST)
        surface.give(lambda: load(run, network))

    names = st.sampled_from(sorted(files))
    change = st.one_of(st.just([]), changes)
    surface.fuzz(st.tuples(names, names, damages, change, st.booleans()), give)


def write(run, step, tensors):
    """Write a checkpoint of two workers."""
    names = sorted(tensors)
    second = checkpoints.Writer(run, "s", 1, 2)
    second.write({name: tensors[name] for name in names[1:]}, TrainState(step, "d", 2.5))
    checkpoints.Writer(run, "s", 0, 2).write(
        {names[0]: tensors[names[0]]}, TrainState(step, "d", 2.5)
    )


def put(run, files, *, forged):
    """Write a checkpoint of these files; if ``forged``, the manifest has their hashes."""
    folder = run / checkpoints.FOLDER / "000000007"
    folder.mkdir(parents=True)
    if forged:
        manifest = json.loads(files[checkpoints.MANIFEST])
        for name, part in manifest["parts"].items():
            part.update(sha256=hashlib.sha256(files[name]).hexdigest(), bytes=len(files[name]))
        files = {**files, checkpoints.MANIFEST: json.dumps(manifest).encode()}
    for name, content in files.items():
        (folder / name).write_bytes(content)


def load(run, network):
    """Load a run's newest checkpoint as a start does."""
    checkpoint, _ = checkpoints.newest(run)
    assert checkpoint is not None
    engine_state.load_model(network, checkpoint)
