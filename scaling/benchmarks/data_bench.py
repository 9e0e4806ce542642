"""Speed of data on generated audio: the stream of windows, and the conversion of files to codes.

The stream is compared with plain slicing of a memory map in the same processes. It is also compared
with the training of the demo's model on one core.
"""

import dataclasses
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import torch
from rich.console import Group
from rich.table import Table
from scipy import signal

from datasets.audio import read_blocks
from datasets.convert import encode_file
from datasets.settings import Settings
from model.build import build
from model.targets import Targets
from scaling.benchmarks.stream_rate import StreamRate, measure_stream_rates
from scaling.benchmarks.timing import Benchmark, Progress, Spread, one_thread
from scaling.cluster.ray_cluster import connected
from scaling.common.paths import CLONE
from scaling.common.terminal import table_of_pairs
from scaling.config import load

SETTINGS = Settings(rate=16_000, codec="mulaw", levels=256, scaling="none")
SECONDS = 30
REPEATS = 7
SEED = 0
FRAMES = 2**13
"""Frames per write: libsndfile crashes if it gets millions at once for OGG."""
FORMATS = (("wav", "PCM_16"), ("flac", "PCM_16"), ("ogg", "VORBIS"), ("mp3", "MPEG_LAYER_III"))
SOURCES = ((44_100, 2), (16_000, 1))
"""Rates in Hz and numbers of channels."""


@dataclass(frozen=True)
class Encoding:
    """Seconds of audio per CPU second: to mono codes at 16,000 Hz, and to decode and resample."""

    format: str
    rate: int
    channels: int
    encoded: Spread
    decoded: Spread


def encodings(folder: Path, seconds: float = SECONDS, repeats: int = REPEATS) -> Iterator[Encoding]:
    """Measure every kind of file; write each to ``folder`` first."""
    for rate, channels in SOURCES:
        sound = music(rate, channels, seconds)
        for extension, subtype in FORMATS:
            path = folder / f"{rate}.{extension}"
            with soundfile.SoundFile(path, "w", rate, channels, subtype) as file:
                for begin in range(0, len(sound), FRAMES):
                    file.write(sound[begin : begin + FRAMES])
            encoded, decoded = [], []
            for _ in range(repeats):
                encoded.append(seconds / _cpu_seconds(encode_file(path, SETTINGS)))
                decoded.append(seconds / _cpu_seconds(read_blocks(path, SETTINGS.rate)))
            yield Encoding(extension, rate, channels, Spread.of(encoded), Spread.of(decoded))


def music(rate: int, channels: int, seconds: float) -> np.ndarray:
    """Return a chord and noise that falls by 6 dB per octave (float32 [frames, channels])."""
    frames = round(rate * seconds)
    noise = np.random.default_rng(SEED).normal(0, 0.01, (frames, channels))
    times = np.arange(frames)[:, None] / rate
    chord = sum(np.sin(2 * np.pi * hertz * times) for hertz in (220.0, 277.2, 329.6))
    falling = signal.lfilter([1.0], [1.0, -0.99], noise, axis=0)
    return np.asarray(0.1 * chord + falling, dtype=np.float32)


def _cpu_seconds(made: Iterator[np.ndarray]) -> float:
    began = time.process_time()
    for _ in made:
        pass
    return time.process_time() - began


WINDOWS = (128_000, 512_000, 1_024_000)
CASES = (
    *(("mapped", consumers, window) for window in WINDOWS for consumers in (1, 2)),
    ("carried", 1, WINDOWS[0]),
    ("carried", 1, WINDOWS[-1]),
)
MODEL = "configs/runs/demo.yaml"
STEPS = 5
ENCODINGS = len(SOURCES) * len(FORMATS)


@dataclass(frozen=True)
class Training:
    """Windows per second, of ``context`` samples each, that training takes on one core.

    A step is forward, backward and Adam of the model of ``config``, with one target per window.
    ``of_stream`` is the rate of the stream for one consumer over this rate.
    """

    config: str
    context: int
    rate: Spread
    of_stream: float


@dataclass(frozen=True)
class DataBench(Benchmark):
    """All measurements on one machine."""

    deliveries: list[StreamRate]
    training: Training
    encodings: list[Encoding]

    def table(self) -> Group:
        """Return the measurements as tables for a terminal."""
        taken = self.training
        sentence = (
            f"Training {taken.config} at {taken.context:,} samples takes {taken.rate.median:,.1f} "
            f"windows per second ({taken.rate.lowest:,.1f} to {taken.rate.highest:,.1f}); one "
            f"consumer gets {taken.of_stream:,.0f} times as many from the stream."
        )
        return Group(_stream_table(self), sentence, _encoding_table(self))


def measure(progress: Progress) -> DataBench:
    """Measure everything; call ``progress(done, total)`` after each measurement."""
    total = ENCODINGS + 1 + len(CASES)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        encoded, deliveries = [], []
        for encoding in encodings(place):
            encoded.append(encoding)
            progress(len(encoded), total)
        with connected():
            for rate in measure_stream_rates(place, CASES):
                deliveries.append(rate)
                progress(ENCODINGS + len(deliveries), total)
    training = _training(deliveries[0])
    progress(total, total)
    return DataBench(*Benchmark.machine(), deliveries, training, encoded)


def _training(alone: StreamRate) -> Training:
    """Measure the training of the demo's model at the context of the only consumer ``alone``."""
    model = dataclasses.replace(load.run(CLONE / MODEL).model, context=alone.window)
    network = build(model)
    optimizer = torch.optim.Adam(network.parameters())
    targets = Targets("last", model.chunk)
    windows = torch.randint(0, model.levels, (1, targets.samples(1, model)), dtype=torch.uint8)
    rates = []
    with one_thread():
        for _ in range(1 + STEPS):
            began = time.perf_counter()
            optimizer.zero_grad()
            loss, _ = network(windows, targets)
            loss.backward()
            optimizer.step()
            rates.append(1 / (time.perf_counter() - began))
    # The first step also allocates memory that the others reuse.
    rate = Spread.of(rates[1:])
    return Training(MODEL, alone.window, rate, alone.rate.median / rate.median)


def _stream_table(bench: DataBench) -> Table:
    rows = [
        (
            ("rows with", "positions" if row.way == "mapped" else "codes"),
            ("consumers", str(row.consumers)),
            ("window", f"{row.window:,}"),
            ("windows/s", f"{row.rate.median:,.0f}"),
            ("MB/s", f"{row.bytes_per_second / 1e6:,.0f}"),
            ("plain windows/s", f"{row.plain_rate.median:,.0f}"),
            ("of plain", f"{row.of_plain.median:.0%}"),
            ("range", f"{row.of_plain.lowest:.0%} to {row.of_plain.highest:.0%}"),
            ("of plain in CPU time", f"{row.of_plain_cpu.median:.0%}"),
            ("first batch", f"{row.first_seconds:.1f} s"),
        )
        for row in bench.deliveries
    ]
    return table_of_pairs(
        f"{bench.hardware['processor']}, {bench.hardware['cores']} cores; wall time, windows of "
        "8-bit samples; plain: slices of a memory map in the same processes",
        rows,
    )


def _encoding_table(bench: DataBench) -> Table:
    rows = [
        (
            ("format", row.format),
            ("Hz", f"{row.rate:,}"),
            ("channels", str(row.channels)),
            ("times real time", f"{row.encoded.median:,.0f}"),
            ("range", f"{row.encoded.lowest:,.0f} to {row.encoded.highest:,.0f}"),
            ("decoding alone", f"{row.decoded.median:,.0f}"),
        )
        for row in bench.encodings
    ]
    return table_of_pairs(
        "files to mono codes at 16,000 Hz: seconds of audio per second of one core's time", rows
    )
