"""The audio files of a corpus, and the text beside them that states its splits."""

import os
import zipfile
from pathlib import Path

import pytest

from datasets.audio import AudioError
from datasets.sources import EVERYTHING, Patterns, find_sources
from datasets.splits import SplitError, SplitRule, read_split_table
from datasets.storage import Folder


def tree(root: Path, *names: str, content: bytes = b"") -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content or name.encode())
    return root


def found(root, files=EVERYTHING, exclude=(), unpacked="unpacked", members=EVERYTHING):
    place = root if isinstance(root, Folder) else Folder.of(root)
    unpacked = Folder.of(Path(str(place).removeprefix("file://")) / unpacked)
    patterns = Patterns(tuple(files), tuple(exclude), tuple(members))
    return find_sources(place, patterns, unpacked, lambda *step: None)


def names(*arguments, **options):
    return [source.name for source in found(*arguments, **options).sources]


def refused(*arguments, **options):
    return {entry.name: entry.reason for entry in found(*arguments, **options).refused}


def archive(path, *members):
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as file:
        for name in members:
            file.writestr(name, name)
    return path


def content(source):
    return source.folder.read_bytes(os.fsdecode(source.path))


BOTH = pytest.mark.parametrize("scheme", ["", "file://"])


@BOTH
def test_files_are_sorted_as_people_count(tmp_path, scheme):
    root = tree(tmp_path, "out10.wav", "out9.wav", "b/out1.wav", "out100.wav")
    expected = ["b/out1.wav", "out9.wav", "out10.wav", "out100.wav"]
    assert names(Folder(f"{scheme}{root}"), ["**/*.wav"]) == expected
    sources = found(Folder(f"{scheme}{root}")).sources
    assert [content(source).decode() for source in sources] == expected


@BOTH
@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (["*.wav"], ["1.wav"]),
        (["**/*.wav"], ["1.wav", "a/2.wav", "a/b/3.wav"]),
        (["a/*.wav"], ["a/2.wav"]),
        (["*/b/*.wav"], ["a/b/3.wav"]),
        (["a/**/*.wav"], ["a/2.wav", "a/b/3.wav"]),
        (["?.wav", "a/[12].wav", "*.flac"], ["1.wav", "a/2.wav", "take [1].flac"]),
        (["take [[]1].flac", "a/2.wav", "1.wav"], ["1.wav", "a/2.wav", "take [1].flac"]),
    ],
)
def test_patterns_are_relative_to_the_root(tmp_path, scheme, patterns, expected):
    root = tree(tmp_path, "1.wav", "a/2.wav", "a/b/3.wav", "take [1].flac", "a/2.txt")
    assert names(Folder(f"{scheme}{root}"), patterns) == expected


@pytest.mark.fault(
    "Archives and folders",
    "files are not named like audio",
    "they are ignored, unless a pattern names their ending",
)
@BOTH
def test_a_pattern_without_an_ending_matches_audio_endings(tmp_path, scheme):
    root = tree(
        tmp_path, "1.WAV", "2.Flac", "3.mp3", "4.ogg", "notes.txt", "5.raw", "noend", "c.csv"
    )
    root = Folder(f"{scheme}{root}")
    assert names(root) == names(root, ["*"]) == ["1.WAV", "2.Flac", "3.mp3", "4.ogg"]
    assert names(root, ["*.raw", "n*.t?t"]) == ["5.raw", "notes.txt"]
    assert names(root, ["*"], exclude=["*.mp3", "?.WAV"]) == ["2.Flac", "4.ogg"]


@pytest.mark.fault("Archives and folders", "files are hidden", "it is not taken")
@BOTH
def test_hidden_files_are_not_taken(tmp_path, scheme):
    root = tree(tmp_path, "1.wav", "._1.wav", "a/.2.wav", "a/2.wav")
    for patterns in (EVERYTHING, ["**/*.wav"], ["*.wav", ".*.wav", "a/*.wav"]):
        assert names(Folder(f"{scheme}{root}"), patterns) == ["1.wav", "a/2.wav"]


@pytest.mark.fault(
    "Archives and folders", "a link leads to another file of the folder", "the file counts once"
)
def test_a_file_that_several_patterns_or_links_reach_is_taken_once(tmp_path):
    folder = tree(tmp_path / "take [1]", "a.wav")
    (folder / "z_link.wav").symlink_to(folder / "a.wav")
    (folder / "loop").symlink_to(folder)
    (folder / "folder.wav").symlink_to(folder)
    assert names(folder, ["*.wav", "**/*.wav", "a.*"]) == ["a.wav"]


@pytest.mark.fault("Archives and folders", "a link leads nowhere", "it is left out by name")
def test_broken_links_are_kept_so_that_they_are_reported(tmp_path):
    tree(tmp_path, "a.wav")
    (tmp_path / "gone.wav").symlink_to(tmp_path / "nowhere.wav")
    (tmp_path / "loop.wav").symlink_to(tmp_path / "loop.wav")
    assert names(tmp_path) == ["a.wav", "gone.wav", "loop.wav"]


@pytest.mark.fault(
    "Archives and folders", "a link leads out of the folder", "it is left out by name"
)
def test_links_out_of_the_root_are_refused_by_name(tmp_path):
    tree(tmp_path, "other/b.wav", "rooted/c.wav")
    root = tree(tmp_path / "root", "a.wav")
    (root / "link.wav").symlink_to(tmp_path / "other" / "b.wav")
    # A folder whose name merely begins like the root's.
    (root / "near.wav").symlink_to(tmp_path / "rooted" / "c.wav")
    (root / "folder").symlink_to(tmp_path / "other")
    assert names(root) == ["a.wav"]
    reasons = refused(root, ["**/*", "folder/*.wav", "../other/*.wav"])
    assert sorted(reasons) == ["../other/b.wav", "folder/b.wav", "link.wav", "near.wav"]
    assert f"it is a link to {tmp_path}/other/b.wav, outside of {root}" in reasons["link.wav"]


def test_a_root_that_is_a_link_is_a_root(tmp_path):
    tree(tmp_path / "real", "a.wav")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert names(tmp_path / "link") == ["a.wav"] and refused(tmp_path / "link") == {}


def test_names_that_are_not_utf_8_are_escaped_and_their_files_found(tmp_path):
    tree(tmp_path, os.fsdecode(b"caf\xe9.wav"), content=b"coffee")
    (source,) = found(tmp_path).sources
    assert (source.name, source.path) == ("caf\\xe9.wav", b"caf\xe9.wav")
    assert content(source) == b"coffee"


@pytest.mark.fault(
    "Archives and folders",
    "a pattern matches no file",
    "the configuration is refused, and the pattern is named",
)
@pytest.mark.parametrize("patterns", [["*.aiff"], ["a/*.wav"], ["b"]])
def test_patterns_that_match_nothing_are_refused(tmp_path, patterns):
    tree(tmp_path, "1.wav", "b/2.wav")
    with pytest.raises(AudioError, match=r"No file under .* matches \['.*'\]: place the audio th"):
        found(tmp_path, patterns)


def test_absolute_patterns_are_refused(tmp_path):
    tree(tmp_path, "1.wav")
    with pytest.raises(AudioError, match=r"do not begin below .*: write them relative to that fol"):
        found(tmp_path, ["1.wav", f"{tmp_path}/*.wav"])


@BOTH
@pytest.mark.parametrize("pattern", ["", ".", "a**/*.wav"])
def test_patterns_that_are_none_are_refused(tmp_path, scheme, pattern):
    tree(tmp_path, "1.wav")
    with pytest.raises(AudioError, match="is no pattern"):
        found(Folder(f"{scheme}{tmp_path}"), ["*.wav", pattern])


def test_members_of_archives_are_taken_by_patterns_of_their_own(tmp_path):
    archive(tmp_path / "more" / "x.zip", "1.wav", "b/2.wav", "b/3.flac", "b/notes.txt", "b/.4.wav")
    tree(tmp_path, "z.wav")
    inside = ["1.wav", "b/2.wav", "b/3.flac"]
    assert names(tmp_path) == [*(f"more/x.zip/{name}" for name in inside), "z.wav"]
    assert names(tmp_path, members=["b/*.wav"]) == ["more/x.zip/b/2.wav", "z.wav"]
    assert names(tmp_path, exclude=["b/*.flac", "z*"]) == ["more/x.zip/1.wav", "more/x.zip/b/2.wav"]
    assert names(tmp_path, ["*.wav"]) == ["z.wav"]
    source = found(tmp_path, members=["b/*.wav"]).sources[0]
    assert content(source) == b"b/2.wav"


def test_an_archive_is_unpacked_once_under_any_name(tmp_path):
    first = archive(tmp_path / "a.zip", "1.wav")
    (tmp_path / "b.zip").write_bytes(first.read_bytes())
    asked = []
    for _ in range(2):
        find_sources(
            Folder.of(tmp_path),
            Patterns(),
            Folder.of(tmp_path / "unpacked"),
            lambda *step: asked.append(step),
        )
    assert asked == [("unpack a.zip", 0, 1), ("unpack b.zip", 1, 2)] * 2
    assert len(list((tmp_path / "unpacked").iterdir())) == 1


def test_an_archive_that_cannot_be_unpacked_is_refused_by_name(tmp_path):
    tree(tmp_path, "1.wav", "broken.zip")
    archive(tmp_path / "climbs.zip", "../2.wav")
    assert names(tmp_path) == ["1.wav"]
    reasons = refused(tmp_path)
    assert sorted(reasons) == ["broken.zip", "climbs.zip"]
    assert "'../2.wav'" in reasons["climbs.zip"]


def test_archives_are_unpacked_on_this_machine_alone(tmp_path):
    tree(tmp_path, "1.wav")
    archive(tmp_path / "x.zip", "2.wav")
    elsewhere = Folder.of("s3://nowhere/unpacked?region=eu-central-1")
    result = find_sources(Folder.of(tmp_path), Patterns(), elsewhere, lambda *step: None)
    assert [source.name for source in result.sources] == ["1.wav"]
    assert "cannot be unpacked in s3://nowhere/unpacked" in result.refused[0].reason


@pytest.mark.fault("Audio files", "a FIFO named like audio", "it is not opened")
def test_a_fifo_is_not_opened(tmp_path):
    tree(tmp_path, "1.wav")
    os.mkfifo(tmp_path / "pipe.wav")
    assert names(tmp_path) == ["1.wav"]


@pytest.mark.parametrize("pattern", ["a/drafts", "**/drafts", "a/drafts/*", "a/drafts/**/*"])
@BOTH
def test_files_in_an_excluded_folder_are_left_out_locally_and_in_buckets(tmp_path, pattern, scheme):
    root = tree(tmp_path, "a/drafts/1.wav", "a/2.wav", "b/drafts.wav", "3.flac", "drafts of 4.ogg")
    tree(root, "a/._2.wav")  # hidden, as a Mac leaves them
    kept = ["3.flac", "a/2.wav", "b/drafts.wav", "drafts of 4.ogg"]
    assert names(Folder(f"{scheme}{root}"), exclude=[pattern]) == kept


def test_unpacked_members_are_not_found_again_below_the_root(tmp_path):
    tree(tmp_path, "1.wav")
    with zipfile.ZipFile(tmp_path / "more.zip", "w") as archive:
        archive.writestr("2.wav", "two")
        archive.writestr("split.csv", "name,split\n")
    for _ in range(2):
        assert names(tmp_path, unpacked="corpus/unpacked") == ["1.wav", "more.zip/2.wav"]
    assert list((tmp_path / "corpus").rglob("2.wav"))
    texts = found(tmp_path, unpacked="corpus/unpacked").read_texts("**/split.csv")
    assert texts == [("more.zip/", "name,split\n")]


def test_a_text_is_found_in_folders_of_the_audio_and_counts_once(tmp_path):
    tree(tmp_path, "here/a/1.wav", "there/a/1.wav", "other/readme")
    tree(tmp_path, "here/split.csv", "there/split.csv", content=b"name,split\n")
    tree(tmp_path, "other/split.csv", content=b"of another corpus")
    texts = found(tmp_path).read_texts("**/split.csv")
    assert sorted(texts) == [("here/", "name,split\n"), ("there/", "name,split\n")]


def test_texts_that_disagree_or_are_missing_are_refused_by_name(tmp_path):
    tree(tmp_path, "a/1.wav", "a/split.csv", "b/2.wav", "b/split.csv")
    with pytest.raises(AudioError, match=r"2 files match .*'a/split.csv', 'b/split.csv'"):
        found(tmp_path).read_texts("**/split.csv")
    with pytest.raises(AudioError, match=r"0 files match 'split.csv' \[\]: place the one file"):
        found(tmp_path).read_texts("split.csv")


def test_a_table_may_begin_with_a_byte_order_mark_and_must_be_text(tmp_path):
    tree(tmp_path, "1.wav")
    tree(tmp_path, "marked.csv", content="\ufeffname,split\n1.wav,train\n".encode())
    tree(tmp_path, "latin.csv", content=b"caf\xe9,train\n")
    rule = SplitRule("table", files=("marked.csv",))
    ((_, text),) = found(tmp_path).read_texts("marked.csv")
    assert read_split_table(rule, text) == {"1.wav": "train"}
    with pytest.raises(AudioError, match=r"latin\.csv is no UTF-8 text"):
        found(tmp_path).read_texts("latin.csv")
    with pytest.raises(SplitError, match=r"has the splits \[''\] in column 'split'"):
        read_split_table(rule, "name,split\n1.wav\n")
