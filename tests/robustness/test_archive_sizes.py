"""Limits on the unpacked size of archives, whatever size they declare."""

import shutil
import zlib

import pytest

from datasets import archives
from tests.helpers.archives import (
    FAMILIES,
    MIB,
    packed,
    patched,
    place_in,
    refused,
    tree,
    unpacked,
    zipped,
)


@pytest.fixture
def place(tmp_path):
    return place_in(tmp_path)


@pytest.mark.fault(
    "Archives and folders",
    "an archive unpacks to 200 times its size or more",
    "it is refused; an archive of silence is not",
)
@pytest.mark.parametrize("suffix", [".zip", ".tar.gz"])
def test_a_bomb_is_refused_and_silence_is_not(place, suffix):
    bomb = packed([("zeros.wav", bytes(200 * MIB))], suffix)
    error = refused(place, f"x{suffix}", bomb)
    assert "its member 'zeros.wav' takes it to 2097" in error
    assert f"over 200 times its own {len(bomb)}" in error and len(bomb) < MIB
    silence = {"zeros.wav": bytes(32 * MIB)}
    assert tree(unpacked(place, f"y{suffix}", packed(silence.items(), suffix))) == silence


@pytest.mark.fault(
    "Archives and folders",
    "an archive exceeds the limits, or the room on the disk",
    "it is refused before anything is written",
)
@FAMILIES
def test_an_archive_over_a_limit_or_the_free_disk_is_refused(place, suffix, monkeypatch):
    name = f"x{suffix}"
    data = packed([("a/b.wav", bytes(3_000)), ("a/c.wav", bytes(3_000))], suffix)
    assert "'a/c.wav' is file or folder 3, but at most 2 are allowed" in refused(
        place, name, data, MAX_MEMBERS=2
    )
    assert "over the 5000 allowed" in refused(place, name, data, MAX_BYTES=5_000)
    usage = shutil.disk_usage(place)._replace(free=100_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    for members in ([("a.wav", bytes(93_000))], [(f"{n}.wav", b"a") for n in range(24)]):
        assert "of which 95000 may be used: make" in refused(place, name, packed(members, suffix))
    assert len(tree(unpacked(place, name, data, MAX_MEMBERS=3, MAX_BYTES=8_000))) == 3


@pytest.mark.fault(
    "Archives and folders",
    "a member's size differs from its declaration",
    "the archive is refused whole, and no file is left",
)
@pytest.mark.parametrize("forged", [False, True])
@pytest.mark.parametrize("declared", [0, 10, MIB - 1, MIB + 1, 9 * MIB])
def test_a_member_of_another_size_than_declared_is_refused(place, declared, forged):
    data, true = zipped([("a.wav", bytes(MIB))]), bytes(declared if forged else MIB)
    values = (zlib.crc32(true), data.index(b"PK\1\2") - 35, declared)
    error = refused(place, "x.zip", patched(data, 14, 16, "<III", *values), early=False)
    passed = min(declared + archives.READ_BYTES - declared % archives.READ_BYTES, MIB)
    sentence = f"{passed} bytes of its member 'a.wav' can be read, which declares {declared}"
    assert sentence in error or (forged and "Bad CRC" in error)
