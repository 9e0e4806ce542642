"""Picture of a corpus: lengths, level, targets that each context leaves, and codes."""

import os
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FuncFormatter, MaxNLocator

from datasets import quantise
from datasets.files import replacing
from datasets.manifest import Corpus
from scaling.reporting.corpus_description import CONTEXTS, QUIETEST, Measures, reached

BINS = 10
"""Bins per decade of lengths."""
SHORTEST_CONTEXT = 1_000
"""Shortest context of the picture (samples)."""
CONTEXT_POINTS = 200
COLOURS = {"train": "#0072b2", "validation": "#e69f00", "test": "#009e73"}
GREY = "#777777"
AMPLITUDES = {"mulaw": (-1, -0.1, -0.01, 0.01, 0.1, 1), "linear": (-1, -0.5, 0, 0.5, 1)}
"""Amplitudes marked above the codes, by codec."""
PLAIN = FuncFormatter(lambda value, _: f"{value:g}")


class PictureError(ValueError):
    """A picture that cannot be written, with the remedy."""


def draw(corpus: Corpus, path: Path) -> None:
    """Write the picture of a corpus as PNG; PictureError if it cannot be written."""
    figure = Figure(figsize=(13, 9), dpi=110, layout="constrained")
    lengths, level, reach, codes = figure.subplots(2, 2).ravel()
    measures = Measures.of(corpus)
    _draw_lengths(lengths, measures, corpus.rate)
    _draw_level(level, measures)
    _draw_reach(reach, corpus)
    _draw_codes(codes, corpus)
    hours = measures.samples.sum() / corpus.rate / 3600
    figure.suptitle(
        f"{corpus.name}: recordings {len(measures.samples):,}, hours {hours:,.3g}, "
        f"{corpus.rate:,} Hz, split by {corpus.split_rule}",
        parse_math=False,
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as partial:
            figure.savefig(os.fspath(partial), format="png")
    except OSError as error:
        raise PictureError(
            f"{path} cannot be written ({error.strerror}): name another file, such as "
            "`--out describe.png`."
        ) from error


def _draw_lengths(axes: Axes, measures: Measures, rate: int) -> None:
    decades = np.log10(measures.samples)
    edges = np.arange(np.floor(decades.min() * BINS), np.floor(decades.max() * BINS) + 2) / BINS
    axes.hist(measures.samples, (10**edges).tolist(), color=GREY)
    axes.set_xscale("log")
    _mark_contexts(axes)
    conversions = partial(np.multiply, 1 / rate), partial(np.multiply, rate)
    seconds = axes.secondary_xaxis("top", functions=conversions)
    seconds.xaxis.set_major_formatter(PLAIN)
    seconds.set_xlabel("seconds")
    _name(axes, "Lengths", "samples of a recording", "recordings")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))


def _draw_level(axes: Axes, measures: Measures) -> None:
    quietest = 20 * np.log10(QUIETEST)
    lowest = np.floor(max(measures.rms_dbfs.min() - 3, quietest))
    edges = np.arange(lowest, max(measures.peak_dbfs.max(), 0) + 2).tolist()
    axes.hist(measures.rms_dbfs, edges, color=GREY, label="root mean square")
    axes.hist(measures.peak_dbfs, edges, histtype="step", color="black", label="peak")
    label = f"level (dBFS: 0 is an amplitude of 1, {quietest:.0f} that or less)"
    _name(axes, "Level", label, "recordings")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))


def _draw_reach(axes: Axes, corpus: Corpus) -> None:
    ends = [end for entry in corpus.recordings for _, end in entry.ranges.values()]
    contexts = np.geomspace(SHORTEST_CONTEXT, max(*ends, *CONTEXTS), CONTEXT_POINTS)
    for split in corpus.splits:
        hours = reached(corpus, split, contexts) / corpus.rate / 3600
        axes.plot(contexts, np.where(hours > 0, hours, np.nan), color=COLOURS[split], label=split)
    axes.set(xscale="log", yscale="log")
    axes.yaxis.set_major_formatter(PLAIN)
    _mark_contexts(axes)
    label = "hours of samples with that context"
    _name(axes, "Targets that a context leaves", "samples of context", label)


def _draw_codes(axes: Axes, corpus: Corpus) -> None:
    for split, summary in corpus.splits.items():
        shares = np.array(summary.histogram) / summary.samples
        # Points, because a used code between two unused ones has no line.
        used = np.where(shares > 0, shares, np.nan)
        axes.plot(used, ".-", color=COLOURS[split], label=split, linewidth=0.8, markersize=3)
    axes.set_yscale("log")
    width = corpus.levels // quantise.LEVELS
    label = f"code{'' if width == 1 else f' / {width}'} ({corpus.codec}, {corpus.levels:,} levels"
    if corpus.scaling == "chunk":
        label += f", scaled {corpus.chunk:,} samples at a time"
    else:
        marked = AMPLITUDES[corpus.codec]
        places = quantise.encode(np.array(marked), corpus.codec, corpus.levels) // width
        top = axes.secondary_xaxis("top")
        top.set_xticks(places, [f"{amplitude:g}" for amplitude in marked])
        top.set_xlabel("amplitude")
    _name(axes, "Codes", f"{label})", "share of samples")


def _mark_contexts(axes: Axes) -> None:
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.margins(y=0.2)
    for context in CONTEXTS:
        axes.axvline(context, color="black", linewidth=0.8, linestyle=":")
        axes.annotate(
            f" {context:,} ",
            (context, 1),
            xycoords=axes.get_xaxis_transform(),
            rotation=90,
            horizontalalignment="right",
            verticalalignment="top",
            fontsize="small",
        )


def _name(axes: Axes, title: str, across: str, up: str) -> None:
    axes.set(title=title, xlabel=across, ylabel=up)
    if axes.get_legend_handles_labels()[0]:
        axes.legend()
