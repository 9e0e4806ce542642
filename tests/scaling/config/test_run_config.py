import json

import pytest
from pydantic import ValidationError

from datasets.augment import Augmentation
from datasets.expectations import KnownFigures
from datasets.settings import Preparation, Settings
from datasets.sources import Patterns
from datasets.splits import SplitRule
from scaling.config.corpus_config import CorpusConfig
from scaling.config.run_config import RunConfig, TrainConfig

MINIMAL = {"study": "s", "corpus": "c"}


def test_the_defaults_are_the_papers_recipe():
    run = RunConfig.model_validate(MINIMAL)
    assert (run.model.context, run.model.chunk, run.model.recent) == (128_000, 2_000, 0)
    assert (run.train.batch, run.train.steps * run.targets_per_step) == (40, 20_000_000)
    assert (run.train.learning_rate, run.train.second_learning_rate) == (1e-4, 0.5e-5)


def test_a_configuration_cannot_be_changed():
    with pytest.raises(ValidationError):
        TrainConfig().steps = 3


def test_a_resolved_configuration_is_json_and_reads_back_as_the_same_run():
    run = RunConfig.model_validate({**MINIMAL, "seed": 4, "model": {"layers": 2}})
    again = RunConfig.model_validate(json.loads(json.dumps(run.resolved())))
    assert again == run
    assert again.id == run.id


@pytest.mark.parametrize(
    ("windows", "positions", "phases"),
    [
        ({}, 1, 1),
        ({"per_window": 5}, 5, 1),
        ({"targets": "chunks"}, 64, 1),
        ({"targets": "chunks", "per_window": 128}, 128, 1),
        ({"targets": "samples"}, 64, 2_000),
        ({"targets": "samples", "phases": 20}, 64, 20),
    ],
)
def test_the_targets_of_a_window_follow_from_its_mode(windows, positions, phases):
    run = RunConfig.model_validate({**MINIMAL, "windows": windows})
    assert (run.positions, run.targets.phases) == (positions, phases)
    assert run.targets.spacing == 2_000
    assert run.targets_per_window == positions * phases


@pytest.mark.parametrize(
    ("windows", "history", "padded"),
    [
        ({}, 128_000, False),
        ({"history": 256_000}, 256_000, False),
        ({"short": "leave_out"}, 128_000, False),
        ({"short": "pad"}, 2_000, True),
        ({"short": "pad", "history": 4_000}, 4_000, True),
    ],
)
def test_history_defaults_to_the_context_or_to_a_chunk_with_padding(windows, history, padded):
    run = RunConfig.model_validate({**MINIMAL, "windows": windows})
    assert (run.history, run.padded) == (history, padded)


def test_padding_and_polarity_make_another_run():
    asked = [{}, {"short": "pad"}, {"polarity": True}, {"short": "pad", "polarity": True}]
    runs = [RunConfig.model_validate({**MINIMAL, "windows": windows}) for windows in asked]
    assert len({run.id for run in runs}) == 4


def test_a_minimal_corpus_takes_all_audio_below_the_working_folder():
    corpus = CorpusConfig.model_validate({"name": "c", "destination": "d", "licence": "CC0"})
    assert corpus.root == "."
    assert corpus.preparation() == Preparation(
        "c", "CC0", Settings(16_000, "mulaw", 256, "none"), SplitRule("order"), Patterns(("**/*",))
    )


def test_every_key_of_a_corpus_reaches_its_preparation():
    corpus = CorpusConfig.model_validate(
        {
            "name": "c",
            "root": "s3://bucket/audio",
            "files": ["*.wav"],
            "exclude": ["a*"],
            "members": ["b/*"],
            "destination": "s3://bucket/corpus",
            "licence": "CC0",
            "rate": 8_000,
            "codec": "linear",
            "levels": 256,
            "scaling": "chunk",
            "chunk": 500,
            "split": {"rule": "table", "files": ["*.csv"], "columns": ["file", "part"]},
            "join": True,
            "augment": {"copies": 3, "gain": 6, "pitch": 2, "polarity": True, "seed": 4},
            "expect": {
                "files": 9,
                "rate": 44_100,
                "channels": 2,
                "shortest": 5,
                "longest": 50,
                "splits": [7, 1, 1],
            },
            "strict": True,
        }
    )
    augmentation = Augmentation(6.0, 2.0, True, 4)
    assert corpus.preparation() == Preparation(
        name="c",
        licence="CC0",
        settings=Settings(8_000, "linear", 256, "chunk", 500, augmentation),
        split=SplitRule("table", files=("*.csv",), columns=("file", "part")),
        patterns=Patterns(("*.wav",), ("a*",), ("b/*",)),
        join=True,
        copies=3,
        expected=KnownFigures(9, 44_100, 2, 5, 50, (7, 1, 1)),
        strict=True,
    )
