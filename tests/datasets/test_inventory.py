import hashlib
import os

import pytest

from datasets import inventory
from datasets.audio import AudioError
from datasets.inventory import EarlierSplits, read_stated_splits, select_usable
from datasets.sources import Patterns, find_sources
from datasets.splits import SplitError, SplitRule
from datasets.storage import Folder
from tests.helpers.sounds import TIME, in_process

ORDER = SplitRule("order", (0.5, 0.25, 0.25))
HASH = SplitRule("hash", (0.5, 0.25, 0.25))
TABLE = SplitRule("table", files=("**/split.csv",))
LISTS = SplitRule("lists", files=("**/validation.txt", "**/test.txt"))
NOTHING = EarlierSplits({}, {})


@pytest.fixture(autouse=True)
def without_ray(monkeypatch):
    """Run the work in this process, the last piece first."""
    monkeypatch.setattr(inventory.jobs, "run_tasks", in_process)
    monkeypatch.setattr(inventory, "FILES_PER_TASK", 2)


def tree(root, **contents):
    """Write files by name (``__`` for a slash, ``_`` for a dot) with their contents."""
    for key, content in contents.items():
        path = root / key.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


def counted(root, rule=TIME, earlier=NOTHING, progress=lambda step, done, total: None):
    """Return the usable files below ``root``, the reasons against the others, and the splits."""
    found = find_sources(
        Folder.of(root), Patterns(), Folder.of(root / "unpacked"), lambda *step: None
    )
    files, rejected, owned = select_usable(
        rule, found, read_stated_splits(rule, found), earlier, progress
    )
    return (
        [file.source.name for file in files],
        {entry.name: (entry.reason, entry.split) for entry in rejected},
        owned,
    )


def test_files_are_counted_with_their_hash_and_size(tmp_path):
    tree(tmp_path, a_wav="one", b_wav="two!")
    found = find_sources(
        Folder.of(tmp_path), Patterns(), Folder.of(tmp_path / "u"), lambda *step: None
    )
    files, rejected, owned = select_usable(TIME, found, {}, NOTHING, lambda *step: None)
    assert [(file.source, file.sha256, file.bytes) for file in files] == [
        (found.sources[0], hashlib.sha256(b"one").hexdigest(), 3),
        (found.sources[1], hashlib.sha256(b"two!").hexdigest(), 4),
    ]
    assert (rejected, owned) == ([], {})


@pytest.mark.fault(
    "Archives and folders",
    "a file occurs twice",
    "it counts once, so it is in one split",
)
def test_a_content_counts_once_under_its_first_name(tmp_path):
    tree(tmp_path, b_wav="same", a__z_wav="same", c_wav="same", d_wav="other", e_wav="other")
    files, rejected, _ = counted(tmp_path)
    assert files == ["a/z.wav", "d.wav"]
    reason = "its bytes are those of {}, and a recording counts once"
    assert {name: why for name, (why, _) in rejected.items()} == {
        "b.wav": reason.format("a/z.wav"),
        "c.wav": reason.format("a/z.wav"),
        "e.wav": reason.format("d.wav"),
    }


def test_a_file_keeps_its_name_if_a_copy_is_added_that_sorts_before_it(tmp_path):
    tree(tmp_path, b_wav="same", c_wav="other", a_wav="same")
    files, rejected, owned = counted(tmp_path, HASH, EarlierSplits({"b.wav": "test"}, {}))
    assert files == ["b.wav", "c.wav"]
    assert "those of b.wav" in rejected["a.wav"][0]
    assert owned["b.wav"] == "test"


def test_a_file_that_was_renamed_keeps_its_split(tmp_path):
    tree(tmp_path, new_wav="content", other_wav="other")
    sha256 = hashlib.sha256(b"content").hexdigest()
    for split in ("train", "validation", "test"):
        assert (
            counted(tmp_path, HASH, EarlierSplits({"old.wav": split}, {sha256: split}))[2][
                "new.wav"
            ]
            == split
        )


def test_files_that_cannot_be_opened_are_named_with_the_reason(tmp_path):
    tree(tmp_path, a_wav="one")
    (tmp_path / "gone.wav").symlink_to(tmp_path / "nowhere.wav")
    (tmp_path / "loop.wav").symlink_to(tmp_path / "loop.wav")
    files, rejected, _ = counted(tmp_path)
    assert files == ["a.wav"]
    assert rejected["gone.wav"][0] == "it cannot be opened: No such file or directory"
    assert rejected["loop.wav"][0] == "it cannot be opened: Too many levels of symbolic links"


@pytest.mark.fault(
    "Archives and folders", "permissions forbid reading a file", "it is left out by name"
)
@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read every file")
def test_files_that_may_not_be_read_are_named_with_the_reason(tmp_path):
    tree(tmp_path, a_wav="one", b_wav="two")
    (tmp_path / "b.wav").chmod(0)
    files, rejected, _ = counted(tmp_path)
    assert files == ["a.wav"]
    assert rejected["b.wav"][0] == "it cannot be opened: Permission denied"


def test_a_file_of_no_use_has_its_place_in_the_order_of_files(tmp_path):
    tree(tmp_path, **{f"{i}_wav": str(i) for i in range(8)})
    (tmp_path / "1.wav").unlink()
    (tmp_path / "1.wav").symlink_to(tmp_path / "nowhere.wav")
    files, rejected, owned = counted(tmp_path, ORDER)
    assert len(files) == 7 and rejected["1.wav"][1] == "train"
    splits = [owned[f"{i}.wav"] for i in range(8)]
    assert splits == ["train"] * 4 + ["validation"] * 2 + ["test"] * 2


def test_a_second_copy_of_a_folder_does_not_move_the_order_of_files(tmp_path):
    tree(tmp_path / "one", **{f"{i}_wav": str(i) for i in range(8)})
    alone = counted(tmp_path, ORDER)[2]
    tree(tmp_path / "two", **{f"{i}_wav": str(i) for i in range(8)})
    files, rejected, owned = counted(tmp_path, ORDER)
    assert {name: owned[name] for name in files} == alone
    assert len(rejected) == 8


def test_a_copy_in_the_same_folder_has_its_place_in_the_order_of_files(tmp_path):
    tree(tmp_path, **{f"{i}_wav": content for i, content in enumerate("00234567")})
    files, rejected, owned = counted(tmp_path, ORDER)
    assert len(files) == 7 and rejected["1.wav"][1] == "train"
    assert list(owned.values()) == ["train"] * 4 + ["validation"] * 2 + ["test"] * 2


def test_a_table_names_the_files_of_its_folder_and_others_are_left_out(tmp_path):
    tree(tmp_path, x__a_wav="a", x__b__c_wav="c", x__d_wav="d", e_wav="e")
    tree(tmp_path, x__split_csv="name,split\na.wav,test\nb/c.wav,train\nnot here.wav,train\n")
    files, rejected, owned = counted(tmp_path, TABLE)
    assert owned == {"x/a.wav": "test", "x/b/c.wav": "train"}
    assert sorted(files) == sorted(owned)
    reason = "the split table **/split.csv does not name it"
    assert rejected == {"x/d.wav": (reason, ""), "e.wav": (reason, "")}


def test_of_two_copies_the_one_that_the_table_names_counts(tmp_path):
    tree(tmp_path, a_wav="same", b_wav="same", split_csv="name,split\nb.wav,test\n")
    files, rejected, owned = counted(tmp_path, TABLE)
    assert (files, owned) == (["b.wav"], {"b.wav": "test"})
    assert "does not name it" in rejected["a.wav"][0]


def test_lists_name_the_files_of_their_folders(tmp_path):
    tree(tmp_path, x__a_wav="a", x__b_wav="b", x__c_wav="c", x__d_wav="d")
    tree(tmp_path, x__validation_txt="b.wav\n\n", x__test_txt="c.wav\r\n d.wav")
    _, rejected, owned = counted(tmp_path, LISTS)
    assert rejected == {}
    assert owned == {
        "x/a.wav": "train",
        "x/b.wav": "validation",
        "x/c.wav": "test",
        "x/d.wav": "test",
    }


@pytest.mark.parametrize("rule", [TABLE, LISTS])
def test_a_split_whose_files_are_missing_is_an_error(tmp_path, rule):
    tree(tmp_path, a_wav="a")
    with pytest.raises(AudioError, match=r"0 files match '\*\*/(split.csv|validation.txt)'"):
        counted(tmp_path, rule)


def test_a_table_with_other_columns_is_an_error(tmp_path):
    tree(tmp_path, a_wav="a", split_csv="file,split\na.wav,test\n")
    with pytest.raises(SplitError, match="has no column 'name'"):
        counted(tmp_path, TABLE)


def test_progress_counts_the_files(tmp_path):
    tree(tmp_path, a_wav="a", b_wav="b", c_wav="c")
    steps = []
    counted(tmp_path, progress=lambda *step: steps.append(step))
    assert steps == [("hash", 1, 3), ("hash", 3, 3)]
