import dataclasses
import io
import json

import numpy as np
import pytest
import soundfile
from rich.console import Console

from datasets.storage import Folder
from datasets.stream import Stream
from datasets.windows import Windows
from scaling.benchmarks import data_bench, stream_rate
from scaling.benchmarks.timing import Spread

SPREADS = ("rate", "plain_rate", "of_plain", "of_plain_cpu")


@pytest.fixture
def small(monkeypatch):
    """Shrink the measurements to seconds; their figures have no meaning."""
    monkeypatch.setattr(stream_rate, "SAMPLES", 2**17)
    monkeypatch.setattr(stream_rate, "BLOCK", 2**15)
    monkeypatch.setattr(stream_rate, "ROUND_BYTES", 2**18)


def ordered(spread):
    return 0 < spread.lowest <= spread.median <= spread.highest


def test_plain_slicing_gives_the_windows_of_the_stream(small, tmp_path):
    only = stream_rate.write_random_recording(tmp_path)
    windows = Windows((only,), ((0, only.samples),), 1_999, 1, 1, 1_999)
    stream = Stream(Folder.of(tmp_path), windows, 0, stream_rate.BATCH, 1)
    codes = np.memmap(tmp_path / stream_rate.RAW, dtype=np.uint8, mode="r")
    positions = np.arange(30)
    begins = windows.locate(stream.indexes(positions))[1] - windows.context
    sliced = stream_rate.slice_windows(codes, begins.tolist(), windows.length)
    assert np.array_equal(sliced.numpy(), stream.read(positions))


def test_everything_is_measured_shown_and_kept(small, ray_session, monkeypatch):
    cases = (("mapped", 1, 4_000), ("mapped", 2, 4_000), ("carried", 1, 4_000))
    monkeypatch.setattr(data_bench, "CASES", cases)
    real = data_bench.encodings
    monkeypatch.setattr(data_bench, "encodings", lambda folder: real(folder, 0.5, 2))
    done = []
    found = data_bench.measure(lambda *progress: done.append(progress))
    assert done == [(number, 12) for number in range(1, 13)]
    assert [(d.way, d.consumers, d.window) for d in found.deliveries] == list(cases)
    for delivery in found.deliveries:
        assert all(ordered(getattr(delivery, name)) for name in SPREADS)
        assert delivery.first_seconds > 0
    alone = found.deliveries[0].rate.median
    assert found.training.of_stream == pytest.approx(alone / found.training.rate.median)
    assert all(ordered(e.encoded) and ordered(e.decoded) for e in found.encodings)
    text = io.StringIO()
    Console(file=text, width=200).print(found.table())
    for shown in ("positions", "codes", "4,000", "mp3", "44,100", "one consumer"):
        assert shown in text.getvalue()
    content = json.loads(json.dumps(dataclasses.asdict(found)))
    assert content["deliveries"][0]["rate"]["median"] == alone
    assert set(content) == {field.name for field in dataclasses.fields(found)}


def test_every_kind_of_file_is_written_whole(tmp_path):
    measured = list(data_bench.encodings(tmp_path, 1.0, 1))
    assert [(m.format, m.rate, m.channels) for m in measured] == [
        (extension, rate, channels)
        for rate, channels in data_bench.SOURCES
        for extension, _ in data_bench.FORMATS
    ]
    for encoding in measured:
        with soundfile.SoundFile(tmp_path / f"{encoding.rate}.{encoding.format}") as file:
            assert (file.samplerate, file.channels) == (encoding.rate, encoding.channels)
            assert file.frames >= encoding.rate


def test_the_generated_sound_is_not_clipped():
    sound = data_bench.music(16_000, 2, 5.0)
    assert sound.shape == (80_000, 2)
    assert 0.1 < np.abs(sound).max() < 1


def test_a_spread_is_the_median_and_the_range():
    assert Spread.of([3.0, 1.0, 8.0]) == Spread(median=3.0, lowest=1.0, highest=8.0)
