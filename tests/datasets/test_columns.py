"""Columns of tables as corpora."""

import numpy as np
import pytest

from datasets import columns, quantise
from datasets.columns import Series, SeriesError
from datasets.manifest import Corpus
from datasets.settings import Settings, SettingsError
from scaling.config import load
from scaling.config.load import ConfigError
from tests.helpers import sounds
from tests.helpers.archives import COLUMN, table
from tests.helpers.clone import CLONE


def waves(count):
    return 20 + 30 * np.sin(np.arange(count) / 7)


def read(path, column=COLUMN):
    return np.concatenate(list(columns.read_blocks(path, column)))


@pytest.mark.parametrize("name", ["x.csv", "x.parquet", "parquet.dat"])
def test_a_column_is_its_numbers_between_the_ends(tmp_path, name):
    values = waves(300)
    path = table(tmp_path / name.replace(".dat", ".parquet"), values)
    path = path.rename(tmp_path / name)
    found = read(path)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, (values + 20) / 40 - 1, atol=1e-6)
    np.testing.assert_allclose(COLUMN.values(found), values, atol=1e-4)


def test_whole_numbers_are_numbers_too(tmp_path):
    assert read(table(tmp_path / "x.csv", [0, 20, 60])).tolist() == [-0.5, 0.0, 1.0]


@pytest.mark.fault(
    "Corpora",
    "a table's column has a cell that is no number",
    "the table is left out, and the row is named",
)
@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([1.0, None, 3.0], "row 1 of its column 'level' (from 0) is empty or no number"),
        ([1.0, 2.0, float("nan")], "row 2 of its column 'level' (from 0) is empty or no number"),
        (["a", "b", "c"], "it cannot be read as a table"),
    ],
)
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_cells_that_are_no_numbers_are_named(tmp_path, kind, values, said):
    with pytest.raises(SeriesError) as raised:
        read(table(tmp_path / f"x.{kind}", values))
    assert said in str(raised.value)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_missing_column_is_named_with_the_existing_ones(tmp_path, kind):
    path = table(tmp_path / f"x.{kind}", waves(10), column="height")
    with pytest.raises(SeriesError, match="no column 'level': its columns are date, height, word"):
        read(path)


@pytest.mark.parametrize(
    "content", [b"", b"PAR1 and no more", b"level\n1\n2,3\n", bytes(range(256))]
)
def test_files_that_are_no_tables_are_refused_with_the_reason(tmp_path, content):
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(SeriesError, match=r"cannot be read as a table|has no column|no number"):
        read(tmp_path / "x")


@pytest.mark.parametrize("ends", [(1, 1), (2, 1), (0, float("inf")), (float("nan"), 1)])
def test_an_impossible_range_is_refused(ends):
    with pytest.raises(SeriesError, match="write two numbers, the lower one first"):
        Series("level", *ends)


def test_a_pitch_shift_of_a_series_is_refused():
    pitched = sounds.asked(
        settings=Settings(sounds.RATE, "linear", 256, "none"), copies=0
    ).settings.augmentation
    shift = type(pitched)(pitch_semitones=1.0)
    with pytest.raises(SettingsError, match=r"leave augment\.pitch out"):
        Settings(1, "linear", 256, "none", augmentation=shift, series=COLUMN)


def test_a_series_is_prepared_and_its_codes_decode_to_its_numbers(ray_session, tmp_path):
    values = waves(4_000)
    table(tmp_path / "tables/a.csv", values)
    table(tmp_path / "tables/b.parquet", values[::-1])
    settings = Settings(1, "linear", 256, "none", series=COLUMN)
    patterns = type(sounds.asked().patterns)(("**/*.csv", "**/*.parquet"))
    corpus = sounds.prepare(
        tmp_path / "tables", tmp_path / "corpus", settings=settings, patterns=patterns
    )
    assert (corpus.rate, len(corpus.recordings)) == (1, 2)
    assert Corpus.load(corpus.folder).series == COLUMN
    for recording, expected in zip(corpus.recordings, (values, values[::-1]), strict=True):
        codes = sounds.codes_of(corpus, recording)
        found = COLUMN.values(quantise.decode(codes, "linear", 256))
        assert np.abs(found - expected).max() <= 80 / 256 / 2 + 1e-6


def test_codes_of_audio_do_not_depend_on_there_being_series():
    """Check that the shards of corpora without a series keep their names."""
    assert "series" not in Settings(16_000, "mulaw", 256, "none").identity()


def test_the_example_can_be_prepared_and_a_wrong_range_is_refused_with_the_reason(tmp_path):
    asked = load.corpus(CLONE / "configs/corpora/sf_temps.yaml").preparation()
    assert asked.settings.series == Series("temp", 35, 75)
    with pytest.raises(ConfigError, match="write two numbers, the lower one first"):
        load.corpus(CLONE / "configs/corpora/sf_temps.yaml", ["series.range=[75, 35]"])
