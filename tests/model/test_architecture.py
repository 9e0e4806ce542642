import pytest

from model.architecture import Architecture
from tests.helpers.architectures import small


def test_the_default_is_buildable_and_has_64_latents():
    assert Architecture().problems() == []
    assert Architecture().latents == 64


def test_encoder_lengths_are_those_of_convolutions_without_padding():
    assert Architecture().encoder_lengths == (2000, 997, 331, 163, 53, 24)


@pytest.mark.fault(
    "Configurations",
    "a model cannot be built, for example because its chunk does not divide its context",
    "an error names what to write",
)
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"context": 128_001, "chunk": 2000}, "write 128000 or 130000"),
        ({"chunk": 100, "context": 1000}, "need 343 samples"),
        ({"filters": (1, 2)}, "one of each for every convolution"),
        ({"layers": 0}, "model.layers is 0"),
        ({"dropout": 1.0}, "model.dropout is 1.0"),
        ({"width": 7}, "write an even number"),
        ({"recent": 40}, "write 0 (the paper), or 51 to 2000"),
    ],
)
def test_impossible_architectures_are_refused_with_the_reason(changes, words):
    found = small(**changes).problems()
    assert len(found) == 1
    assert words in found[0]


def test_the_shortest_allowed_chunk_and_recent_path_are_buildable():
    assert small(chunk=343, context=343, recent=51).problems() == []
    assert small(chunk=342, context=342).problems() != []
    assert small(recent=50).problems() != []


def test_all_problems_are_reported_at_once():
    assert len(small(context=1_999, width=7, token_drop=2).problems()) == 3
