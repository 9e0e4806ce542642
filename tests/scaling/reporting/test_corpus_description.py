"""Description of a corpus against figures computed by hand, and its picture."""

import dataclasses
import io
import json

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.image import imread
from rich.console import Console
from typer.testing import CliRunner

from datasets.augment import Augmentation
from datasets.level import Level
from datasets.manifest import (
    Corpus,
    Recording,
    RecordingPart,
    Reference,
    Rejected,
    Shard,
    SplitSummary,
)
from datasets.storage import Folder
from scaling.cli.corpus_tables import description_tables
from scaling.cli.main import app
from scaling.reporting.corpus_description import Measures, describe, reached
from scaling.reporting.corpus_picture import PictureError, draw

RATE = 16_000
SILENT_DECIBELS = -120.0


def entry(name, samples, level, ranges, parts=((RATE, 1),), epoch=0):
    parts = tuple(RecordingPart(f"{name}{i}", "", *each, begin=i) for i, each in enumerate(parts))
    return Recording(name, "shards/s.parquet", 0, samples, parts, level, epoch, ranges)


def summary(recordings, samples, histogram, pair_bits=5.0):
    return SplitSummary(
        recordings, samples, samples / RATE, tuple(histogram), 7.0, pair_bits, 6.0, samples
    )


@pytest.fixture
def corpus():
    """Three recordings of 1, 4 and 100 seconds, and an augmented copy of the first.

    The first is as long as a context of 16,000 samples; the split cuts the last in time.
    """
    last = {"train": (0, 800_000), "test": (800_000, 1_600_000)}
    recordings = (
        entry("a", 16_000, Level(1.0, 0.1, 400, 0), {"train": (0, 16_000)}),
        entry("a copy 1", 16_000, Level(2.0, 0.2, 8_000, 0), {"train": (0, 16_000)}, epoch=1),
        entry("b", 64_000, Level(0.0, 0.0, 0, 64_000), {"train": (0, 64_000)}, [(44_100, 2)] * 2),
        entry("c", 1_600_000, Level(0.5, 0.01, 0, 16_000), last, [(44_100, 2)]),
    )
    histogram = np.zeros(256, dtype=int)
    histogram[128], histogram[130] = 890_000, 6_000
    return Corpus(
        name="by hand",
        rate=RATE,
        codec="mulaw",
        levels=256,
        scaling="none",
        chunk=0,
        split_rule="time 0.50/0.00/0.50",
        contexts_cross_splits=True,
        licence="CC0",
        augmentation=Augmentation(gain_decibels=6.0),
        differences=("3 files can be used",),
        recordings=recordings,
        rejected=(
            Rejected("y.wav", "it is truncated: 8 bytes of the 80 that its header states"),
            *(
                Rejected(f"x{i}.wav", f"it has {i} samples at 16000 Hz, fewer than the 33")
                for i in range(5)
            ),
            Rejected("z.wav", "it is truncated: 9 bytes of the 99 that its header states"),
        ),
        shards={"shards/s.parquet": Shard(1_000, "ab"), "shards/t.parquet": Shard(234, "cd")},
        splits={
            "train": summary(4, 896_000, histogram.tolist()),
            "test": summary(1, 800_000, np.full(256, 3_125).tolist()),
        },
        linear=Reference(2, (1.5, -0.5), 0.25, 3.0),
        versions={"numpy": "2"},
    )


def text(corpus):
    console = Console(width=160, record=True, file=io.StringIO())
    for table in description_tables(describe(corpus)):
        console.print(table)
    return console.export_text()


def test_lengths_and_levels_are_those_of_the_recordings_without_copies(corpus):
    found = describe(corpus)
    assert found.recordings == 3
    # The lowest, at 5, 25, 50, 75 and 95 %, and the highest of three: 5 % is a tenth of the way
    # from the lowest to the median.
    assert found.quantiles["seconds"] == pytest.approx([1, 1.3, 2.5, 4, 52, 90.4, 100])
    assert found.quantiles["rms_dbfs"] == pytest.approx(
        [SILENT_DECIBELS, -112, -80, -40, -30, -22, -20]
    )
    half = 20 * np.log10(0.5)
    assert found.quantiles["peak_dbfs"][3:] == pytest.approx([half, half / 2, half / 10, 0.0])


def test_silence_and_clipping_are_shares_of_samples(corpus):
    found = describe(corpus)
    total = 16_000 + 64_000 + 1_600_000
    assert found.silent == pytest.approx((64_000 + 16_000) / total)
    assert found.clipped == pytest.approx(400 / total)
    assert found.clipping == 1
    assert found.quantiles["silent"][::3] == pytest.approx([0, 0.01, 1])
    assert found.quantiles["clipped"][-1] == pytest.approx(400 / 16_000)


def test_splits_are_those_of_the_manifest_with_their_copies(corpus):
    train, test = describe(corpus).splits.values()
    assert (train.recordings, train.copies, test.recordings, test.copies) == (4, 1, 1, 0)
    assert train.hours == pytest.approx(56 / 3600)
    assert (train.histogram_bits, train.pair_bits, train.linear_bits) == (7.0, 5.0, 6.0)
    assert (train.codes, test.codes) == (2, 256)
    assert train.histogram == corpus.splits["train"].histogram


def test_a_recording_as_long_as_a_context_gives_no_window_of_it(corpus):
    train, test = describe(corpus).splits.values()
    # Both `a` are as long as the first context; the 800,000 training samples of `c` precede its
    # test samples.
    assert list(train.windowless.values()) == [2, 3, 3, 4]
    assert list(test.windowless.values()) == [0, 0, 0, 0]
    targets = [(64_000 - 16_000) + (800_000 - 16_000), 800_000 - 128_000, 800_000 - 512_000, 0]
    assert list(train.reached.values()) == pytest.approx([count / 896_000 for count in targets])
    assert list(test.reached.values()) == pytest.approx([1, 1, 1, 576_000 / 800_000])


@pytest.mark.parametrize("context", [1, 15_999, 16_000, 63_999, 799_999, 10**7])
def test_reached_counts_the_samples_one_by_one(corpus, context):
    for split in corpus.splits:
        counted = sum(
            int((np.arange(*own.ranges[split]) >= context).sum())
            for own in corpus.recordings
            if split in own.ranges
        )
        assert reached(corpus, split, [context]).tolist() == [counted]


def test_audio_files_are_counted_by_rate_and_channels_most_first(corpus):
    formats = [(entry.rate, entry.channels, entry.files) for entry in describe(corpus).formats]
    assert formats == [(44_100, 2, 3), (RATE, 1, 1)]


def test_left_out_files_are_grouped_by_reasons_that_differ_in_figures_alone(corpus):
    many, few = describe(corpus).left_out
    assert (many.files, many.names) == (5, ("x0.wav", "x1.wav", "x2.wav"))
    assert many.reason == "it has 0 samples at 16000 Hz, fewer than the 33"
    assert (few.files, few.names) == (2, ("y.wav", "z.wav"))
    assert few.reason.startswith("it is truncated: 8 bytes")


def test_the_tables_have_the_figures_of_the_manifest(corpus):
    shown = text(corpus)
    for words in (
        "by hand",
        "mulaw, 256 levels, 16,000 Hz",
        "time 0.50/0.00/0.50; contexts cross the cuts",
        "1 of each training recording, by hashing: gain within 6 dB",
        "3 at 44,100 Hz (channels: 2), 1 at 16,000 Hz (channels: 1)",
        "4.76% of the samples",
        "2 (0.0 MB)",
        "2 of 256",
        "3 / 32.1%",
        "'y.wav', 'z.wav'",
    ):
        assert words in shown, words


def test_names_and_reasons_with_brackets_are_printed_as_they_are(corpus):
    odd = Rejected("[bold]a[/].wav", "it is [red]no[/] audio")
    changed = dataclasses.replace(corpus, rejected=(odd,), licence="[1]")
    shown = text(changed)
    assert "'[bold]a[/].wav'" in shown and "it is [red]no[/] audio" in shown and "[1]" in shown


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"codec": "linear", "scaling": "chunk", "chunk": 131_072},
        {"codec": "linear", "levels": 65_536},
        {"scaling": "file", "name": "costs $1 to $2"},
    ],
)
def test_the_picture_is_a_png_with_something_in_each_of_its_four_panels(corpus, tmp_path, fields):
    corpus = dataclasses.replace(corpus, **fields)
    draw(corpus, tmp_path / "folder/picture")
    assert (tmp_path / "folder/picture").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["picture"]
    pixels = imread(tmp_path / "folder/picture", format="png")[..., :3]
    height, width, _ = pixels.shape
    assert height > 800 and width > 1200
    for rows in (slice(height // 2), slice(height // 2, height)):
        for columns in (slice(width // 2), slice(width // 2, width)):
            panel = pixels[rows, columns]
            assert len(np.unique(panel.sum(-1))) > 20
            assert 0.005 < (panel < 0.9).any(-1).mean() < 0.5


def test_every_recording_is_in_the_histograms(corpus, monkeypatch, tmp_path):
    """Also those with a peak far over full scale, and those of silence."""
    loud = entry("d", 20_000, Level(30.0, 8.0, 0, 0), {"train": (0, 20_000)})
    corpus = dataclasses.replace(corpus, recordings=(*corpus.recordings, loud))
    drawn = []
    hist = Axes.hist
    monkeypatch.setattr(Axes, "hist", lambda *a, **b: drawn.append(hist(*a, **b)) or drawn[-1])
    draw(corpus, tmp_path / "picture.png")
    assert [counts.sum() for counts, _, _ in drawn] == [4, 4, 4]


def test_a_picture_that_cannot_be_written_is_refused_with_the_reason(corpus, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(PictureError, match=r"file/a\.png cannot be written \(.*\): name another"):
        draw(corpus, tmp_path / "file/a.png")


def test_20_000_recordings_are_described_by_their_own_figures(corpus):
    many = tuple(
        entry(f"{i}", 100 + i, Level(0.5, 0.1, 0, 0), {"train": (0, 100 + i)})
        for i in range(20_000)
    )
    found = describe(
        dataclasses.replace(
            corpus,
            recordings=many,
            splits={"train": summary(20_000, sum(own.samples for own in many), [1] * 256)},
        )
    )
    assert found.recordings == 20_000
    assert list(found.splits["train"].windowless.values()) == [15_901, 20_000, 20_000, 20_000]
    assert found.quantiles["seconds"][3] == pytest.approx((100 + 9_999.5) / RATE)


def test_the_verb_prints_the_tables_and_draws_into_the_corpus(embedded_corpus):
    done = CliRunner().invoke(app, ["describe", str(embedded_corpus.folder)])
    assert done.exit_code == 0, done.output
    picture = embedded_corpus.folder.local / "describe.png"
    assert str(picture) == done.stdout.splitlines()[-1]
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert f"{embedded_corpus.splits['train'].pair_bits:.3f}" in done.stdout
    picture.unlink()


def test_describe_prints_json_and_draws_into_the_named_file(embedded_corpus, tmp_path):
    out = tmp_path / "new/picture.png"
    words = ["describe", str(embedded_corpus.folder), "--json", "--out", str(out)]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["picture"] == str(out) and out.exists()
    assert found["corpus"]["fingerprint"] == embedded_corpus.fingerprint
    assert found["corpus"]["augmentation"]["gain_decibels"] == 0
    (recording,) = embedded_corpus.recordings
    assert found["quantiles"]["seconds"][3] == pytest.approx(recording.samples / RATE)
    level = Measures.of(embedded_corpus)
    assert found["quantiles"]["peak_dbfs"][0] == level.peak_dbfs[0]
    assert found["splits"]["test"]["histogram"] == list(embedded_corpus.splits["test"].histogram)


def test_a_corpus_in_a_bucket_is_drawn_into_the_current_folder(
    corpus, bucket, tmp_path, monkeypatch
):
    place = f"{bucket}/{tmp_path.name}"
    corpus.write(Folder.of(place))
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["describe", place])
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[-1] == str(tmp_path / "describe.png")
    assert (tmp_path / "describe.png").exists()
    assert "note: 3 files can be used" in done.stdout
