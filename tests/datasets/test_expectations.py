import pytest

from datasets.expectations import KnownFigures, find_differences
from datasets.manifest import RecordingPart
from datasets.shards import ShardLocation
from tests.helpers.sounds import recording


def part(name, begin=0, rate=16_000, channels=1):
    return RecordingPart(name, "ab", rate, channels, begin)


def made(samples, *parts, split="train", epoch=0):
    ranges = {split: (0, samples)}
    return recording(ShardLocation("s", 0, samples), ranges, parts=parts, epoch=epoch)


# Four files of 100, 40, 60 and 70 samples, and a changed copy that must not count.
RECORDINGS = (
    made(100, part("a.wav"), split="validation"),
    made(100, part("b.wav"), part("c.wav", begin=40)),
    made(70, part("d.wav", rate=44_100, channels=2), split="test"),
    made(999, part("a.wav", rate=1, channels=9), epoch=1),
)


@pytest.mark.parametrize(
    "expected",
    [
        KnownFigures(),
        KnownFigures(files=4, shortest=40, longest=100, splits=(2, 1, 1)),
        KnownFigures(shortest=1),
        KnownFigures(longest=101),
    ],
)
def test_a_corpus_with_the_known_figures_has_no_differences(expected):
    assert find_differences(expected, RECORDINGS) == ()


@pytest.mark.parametrize(
    ("expected", "sentence"),
    [
        (
            KnownFigures(files=241),
            "4 files can be used, and the corpus is known to have 241: look for files that are "
            "missing, left out or too many",
        ),
        (
            KnownFigures(splits=(2, 2, 0)),
            "train, validation and test have 2, 1, 1 files, and are known to have 2, 2, 0",
        ),
        (
            KnownFigures(rate=16_000),
            "1 files do not have 16000 Hz, unlike the known corpus: d.wav has 44100",
        ),
        (
            KnownFigures(channels=2),
            "3 files do not have 2 channels, unlike the known corpus: a.wav has 1",
        ),
        (
            KnownFigures(shortest=60),
            "1 files do not have 60 to any number of samples, unlike the known corpus: "
            "b.wav has 40",
        ),
        (
            KnownFigures(shortest=41, longest=99),
            "2 files do not have 41 to 99 samples, unlike the known corpus: a.wav has 100",
        ),
        (
            KnownFigures(longest=60),
            "2 files do not have 0 to 60 samples, unlike the known corpus: a.wav has 100",
        ),
    ],
)
def test_each_difference_is_reported_with_the_seen_and_the_known_figure(expected, sentence):
    assert find_differences(expected, RECORDINGS) == (sentence,)


def test_all_differences_are_reported_at_once():
    expected = KnownFigures(
        files=1, rate=1, channels=3, shortest=1_000, longest=2_000, splits=(9, 0, 0)
    )
    assert len(find_differences(expected, RECORDINGS)) == 5
