"""The shipped corpora, each from tiny files and archives laid out like the real ones."""

import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from datasets import audio, quantise, shards, splits
from datasets.expectations import find_differences
from datasets.manifest import RecordingPart
from datasets.prepare import prepare_corpus
from datasets.shards import ShardLocation
from datasets.splits import SPLITS
from datasets.storage import Folder
from scaling.config import load
from tests.helpers.clone import CLONE
from tests.helpers.sounds import recording, sound

pytestmark = pytest.mark.usefixtures("ray_session")

RATE = 16_000


def recipe(name, root="data/source", destination="data/nothing"):
    path = CLONE / "configs" / "corpora" / f"{name}.yaml"
    return load.corpus(path, [f"root={root}", f"destination={destination}"])


def prepared(name, root, destination):
    config = recipe(name, root, destination)
    return prepare_corpus(config.preparation(), Folder.of(root), Folder.of(destination))


def samples(length, seed):
    """Return noise that 16 bits represent exactly, with an offset that depends on the seed."""
    draws = np.random.default_rng(seed).normal(seed % 7 * 0.01, 0.05, length)
    return (np.round(draws * 2**15) / 2**15).astype(np.float32)


def wav(length, seed):
    file = io.BytesIO()
    soundfile.write(file, samples(length, seed), RATE, format="WAV")
    return file.getvalue()


def placed(files, folder):
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def zipped(files, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)


def tarred(files, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"./{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def below(folder, files):
    return {f"{folder}/{name}": content for name, content in files.items()}


def codes(corpus, entry):
    return shards.read(corpus.folder, entry.location, 0, entry.samples)


def parts(corpus, split):
    return [part for entry in corpus.recordings if split in entry.ranges for part in entry.parts]


def counts(corpus):
    return [len(parts(corpus, split)) for split in SPLITS]


@pytest.mark.parametrize("name", ["youtubemix", "beethoven", "sc09", "maestro"])
def test_a_corpus_with_exactly_the_known_figures_differs_in_nothing(name):
    preparation = recipe(name).preparation()
    expected = preparation.expected
    names = [f"{i}.wav" for i in range(expected.files)]
    assert sum(expected.splits) == expected.files
    if preparation.split.kind == "order":
        owned = list(splits.assign_splits(preparation.split, names, {}, {}).values())
        assert tuple(map(owned.count, SPLITS)) == expected.splits

    owners = [s for s, count in zip(SPLITS, expected.splits, strict=True) for _ in range(count)]

    def differences(lengths):
        part = RecordingPart("a", "", expected.rate or 44_100, expected.channels, 0)
        entries = [
            recording(ShardLocation("s", 0, length), {owner: (0, length)}, parts=(part,))
            for owner, length in zip(owners, lengths, strict=True)
        ]
        return find_differences(expected, entries)

    shortest, longest = expected.shortest or 1, expected.longest or 10**9
    usual = [shortest] * (expected.files - 1)
    assert differences([*usual, longest]) == ()
    for length, bound in ((shortest - 1, expected.shortest), (longest + 1, expected.longest)):
        found = differences([*usual, length])
        assert len(found) == (bound is not None)
        assert all(f"has {length}" in sentence for sentence in found)


LENGTHS = {f"out{i:03}.wav": 135_000 + i for i in range(17)}
YOUTUBEMIX = {name: wav(length, i) for i, (name, length) in enumerate(LENGTHS.items())}
YOUTUBEMIX_ZIP = below("youtube_mix", YOUTUBEMIX) | {
    "youtube_mix/licence.txt": b"none",
    "__MACOSX/youtube_mix/._out000.wav": b"what a Mac adds",
}


def test_youtubemix_is_split_joined_and_scaled_as_published(tmp_path):
    zipped(YOUTUBEMIX_ZIP, tmp_path / "youtube_mix.zip")
    corpus = prepared("youtubemix", tmp_path, tmp_path / "corpus")
    assert corpus.rejected == ()
    prefix = "youtube_mix.zip/youtube_mix/"
    assert [entry.name for entry in corpus.recordings] == [
        f"{prefix}out000.wav..{prefix}out013.wav",
        f"{prefix}out014.wav",
        f"{prefix}out015.wav..{prefix}out016.wav",
    ]
    assert [list(entry.ranges) for entry in corpus.recordings] == [[split] for split in SPLITS]
    assert [part.begin for part in parts(corpus, "test")] == [0, 135_015]
    chunks = [
        chunk
        for i, length in enumerate(LENGTHS.values())
        for chunk in np.split(samples(length, i), [131_072])
    ]
    expected = [quantise.encode_min_max(chunk, "mulaw") for chunk in chunks]
    found = [codes(corpus, entry) for entry in corpus.recordings]
    assert np.array_equal(np.concatenate(found), np.concatenate(expected))
    files, split, lengths = corpus.differences
    assert files.startswith("17 files can be used, and the corpus is known to have 241")
    assert "14, 1, 2 files, and are known to have 212, 14, 15" in split
    assert lengths.startswith("17 files do not have 958400 to 960511 samples")


def test_a_folder_beside_its_archive_counts_once_and_no_file_moves_whichever_is_left(tmp_path):
    source, destination = tmp_path / "source", tmp_path / "corpus"
    archive = source / "youtube_mix.zip"
    small = {f"out{i:03}.wav": wav(3_000, i) for i in range(17)}
    zipped(below("youtube_mix", small), archive)
    placed(small, source / "youtubemix")
    both = prepared("youtubemix", source, destination)
    owner = {part.sha256: split for split in SPLITS for part in parts(both, split)}
    assert counts(both) == [14, 1, 2]
    assert [part.name for part in parts(both, "validation")] == [
        "youtube_mix.zip/youtube_mix/out014.wav"
    ]
    assert len(both.rejected) == 17
    assert all("are those of youtube_mix.zip/" in entry.reason for entry in both.rejected)
    assert prepared("youtubemix", source, destination).fingerprint == both.fingerprint

    archive.unlink()
    without = prepared("youtubemix", source, destination)
    assert without.rejected == ()
    zipped(below("youtube_mix", small), archive)
    again = prepared("youtubemix", source, destination)
    assert len(again.rejected) == 17
    for corpus in (without, again):
        assert counts(corpus) == [14, 1, 2]
        for split in SPLITS:
            for part in parts(corpus, split):
                assert part.name.startswith("youtubemix/")
                assert owner[part.sha256] == split


def test_beethoven_is_in_natural_order_linear_and_scaled_piece_by_piece(tmp_path):
    pieces = {f"{i}.wav": wav(3_000 + i, i) for i in range(25)}
    placed(below("beethoven", pieces | {"README.md": b"sonatas"}), tmp_path / "source")
    corpus = prepared("beethoven", tmp_path / "source", tmp_path / "corpus")
    assert [entry.name for entry in corpus.recordings] == [f"beethoven/{i}.wav" for i in range(25)]
    assert counts(corpus) == [22, 1, 2]
    assert corpus.rejected == ()
    for i, entry in enumerate(corpus.recordings):
        expected = quantise.encode_min_max(samples(3_000 + i, i), "linear")
        assert np.array_equal(codes(corpus, entry), expected)
    assert "known to have 4328" in corpus.differences[0]


DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
UTTERANCES = {
    f"{word}/{speaker}_nohash_0.wav": wav(1_000 + 10 * i + j, 20 * i + j)
    for i, word in enumerate((*DIGITS, "bed", "_background_noise_"))
    for j, speaker in enumerate(("ab", "cd", "ef"))
}
SPEECH = UTTERANCES | {
    "validation_list.txt": b"bed/cd_nohash_0.wav\none/cd_nohash_0.wav\n",
    "testing_list.txt": b"nine/ef_nohash_0.wav\nsix/ab_nohash_0.wav\nbed/ab_nohash_0.wav\n",
    "LICENSE": b"CC BY 4.0",
}


@pytest.mark.parametrize(
    ("place", "name", "prefix"),
    [
        (tarred, "speech_commands_v0.02.tar.gz", "speech_commands_v0.02.tar.gz/"),
        (zipped, "sc09.zip", "sc09.zip/sc09/"),
        (placed, "", "sc09/"),
    ],
)
def test_sc09_is_ten_digits_of_any_form_split_by_its_lists(tmp_path, place, name, prefix):
    source = tmp_path / "source"
    other = {"elsewhere/validation_list.txt": b"of another corpus"}
    placed(other, source)
    place(SPEECH if name.endswith("gz") else below("sc09", SPEECH), source / name)
    corpus = prepared("sc09", source, tmp_path / "corpus")
    assert corpus.rejected == ()
    assert counts(corpus) == [27, 1, 2]
    assert {part.name for part in parts(corpus, "validation")} == {f"{prefix}one/cd_nohash_0.wav"}
    assert {part.name for part in parts(corpus, "test")} == {
        f"{prefix}nine/ef_nohash_0.wav",
        f"{prefix}six/ab_nohash_0.wav",
    }
    assert {Path(part.name).parent.name for part in parts(corpus, "train")} == set(DIGITS)
    entry = corpus.recordings[-1]
    assert entry.name == f"{prefix}zero/ef_nohash_0.wav"
    assert np.array_equal(codes(corpus, entry), quantise.encode_min_max(samples(1_002, 2), "mulaw"))
    assert "known to have 38908" in corpus.differences[0]


def stereo(seed):
    file = io.BytesIO()
    both = np.stack([samples(9_000, seed), samples(9_000, seed + 1)], axis=1)
    soundfile.write(file, both, 44_100 if seed % 2 else 48_000, format="WAV")
    return file.getvalue()


TABLE = """canonical_composer,canonical_title,split,year,midi_filename,audio_filename,duration
C\N{LATIN SMALL LETTER E WITH ACUTE}sar Franck,"Prelude, 18",train,2018,2018/a.midi,2018/a.wav,0.2
Franz Liszt,"Sonata, ""Dante"", 2",test,2004,2004/b.midi,2004/b.wav,0.2
Franz Liszt,Sonata,validation,2004,2004/c.midi,2004/c.wav,0.2
"""
MAESTRO = {
    "2018/a.wav": stereo(1),
    "2018/a.midi": b"MThd",
    "2004/b.wav": stereo(2),
    "2004/c.wav": stereo(3),
    "2004/not in the table.wav": stereo(4),
    "maestro-v3.0.0.csv": TABLE.encode(),
    "LICENSE": b"CC BY-NC-SA 4.0",
}


@pytest.mark.parametrize("archive", [True, False])
def test_maestro_is_split_by_its_table_and_resampled(tmp_path, archive):
    source = tmp_path / "source"
    content = below("maestro-v3.0.0", MAESTRO)
    placed(content, tmp_path / "unpacked")
    if archive:
        zipped(content, source / "maestro-v3.0.0.zip")
    else:
        placed(content, source)
    corpus = prepared("maestro", source, tmp_path / "corpus")
    prefix = "maestro-v3.0.0.zip/" if archive else ""
    assert {split: [part.name for part in parts(corpus, split)] for split in SPLITS} == {
        "train": [f"{prefix}maestro-v3.0.0/2018/a.wav"],
        "validation": [f"{prefix}maestro-v3.0.0/2004/c.wav"],
        "test": [f"{prefix}maestro-v3.0.0/2004/b.wav"],
    }
    (left_out,) = corpus.rejected
    assert left_out.name == f"{prefix}maestro-v3.0.0/2004/not in the table.wav"
    assert left_out.reason == "the split table **/maestro-v3.0.0.csv does not name it"
    for entry in corpus.recordings:
        heard = audio.read(tmp_path / "unpacked" / entry.name.removeprefix(prefix), RATE)
        assert np.array_equal(codes(corpus, entry), quantise.encode(heard, "mulaw"))
    assert len(corpus.differences) == 2
    assert "known to have 1276" in corpus.differences[0]


def test_a_folder_of_ones_own_is_read_whole_and_grows_without_moving_a_file(tmp_path):
    source, destination = tmp_path / "source", tmp_path / "source" / "corpus"
    own = {f"set{i % 3}/{i}.{kind}" for i, kind in enumerate(["wav", "FLAC", "ogg", "mp3"] * 3)}
    for i, name in enumerate(sorted(own)):
        sound(source / name, samples(9_000, i), 44_100)
    sound(source / "set0" / "not_used" / "x.wav", 9_000)
    placed({"set1/cover.jpg": b"no audio", "notes.txt": b"none"}, source)
    zipped({"more/12.wav": wav(9_000, 12)}, source / "more.zip")
    first = prepared("folder", source, destination)
    names = {part.name: split for split in SPLITS for part in parts(first, split)}
    assert set(names) == own | {"more.zip/more/12.wav"}
    assert (first.rejected, first.differences) == ((), ())
    # The unpacked files lie below the root here, and are not read as more audio.
    assert prepared("folder", source, destination).fingerprint == first.fingerprint
    placed({f"added/{i}.wav": wav(3_000, i) for i in range(20, 30)}, source)
    grown = prepared("folder", source, destination)
    assert sum(counts(grown)) == 23
    for split in SPLITS:
        for part in parts(grown, split):
            assert names.get(part.name, split) == split
