"""Tables of a prepared corpus: its splits and its content."""

from collections.abc import Iterator, Sequence

from rich.markup import escape
from rich.table import Table

from datasets.manifest import Corpus
from scaling.common.terminal import table_of_pairs, terminal_table
from scaling.reporting.corpus_description import CONTEXTS, QUANTILES, Description

BARS = 32
HEIGHTS = " ▁▂▃▄▅▆▇█"


def corpus_table(corpus: Corpus) -> Table:
    """Return the splits of a corpus, with two reference models in bits per sample."""
    rows = [
        (
            ("split", name),
            ("recordings", str(split.recordings)),
            ("seconds", f"{split.seconds:.1f}"),
            ("histogram bits", f"{split.histogram_bits:.3f}"),
            ("AR(32) bits", f"{split.linear_bits:.3f}"),
        )
        for name, split in corpus.splits.items()
    ]
    return table_of_pairs(f"{corpus.folder}: {corpus.name}", rows)


def description_tables(described: Description) -> Iterator[Table]:
    """Yield a corpus's properties, splits, codes, recordings, contexts, and the files left out."""
    yield _identity(described)
    yield _splits(described)
    yield _codes(described)
    yield _recordings(described)
    yield _contexts(described)
    if described.left_out:
        table = terminal_table("left out", ("files", "examples", "reason of the first"), text=3)
        for kind in described.left_out:
            names = ", ".join(map(repr, kind.names))
            table.add_row(*map(escape, (f"{kind.files:,}", names, kind.reason)))
        yield table


def _identity(described: Description) -> Table:
    corpus = described.corpus
    scalings = {
        "none": "none",
        "file": "each file to a peak of 1",
        "chunk": f"{corpus['chunk']:,} samples at a time, from their minimum to their maximum",
    }
    rows = {
        "licence": corpus["licence"],
        "codes": f"{corpus['codec']}, {corpus['levels']:,} levels, {corpus['rate']:,} Hz",
        "scaling": scalings[corpus["scaling"]],
        "split": corpus["split_rule"],
        "copies": _copies(described),
        "audio files": ", ".join(
            f"{entry.files:,} at {entry.rate:,} Hz (channels: {entry.channels})"
            for entry in described.formats
        ),
        "silent": f"{described.silent:.2%} of the samples (in tenths of a second below -60 dBFS)",
        "clipped": f"{described.clipped:.4%} of the samples, in {described.clipping:,} recordings",
        "shards": f"{described.shards:,} ({described.bytes / 1e6:,.1f} MB)",
        "fingerprint": corpus["fingerprint"],
    }
    if corpus["contexts_cross_splits"]:
        rows["split"] += "; contexts cross the cuts"
    table = terminal_table(f"{described.folder}: {corpus['name']}", ("", ""), text=2)
    table.show_header = False
    for name, value in rows.items():
        table.add_row(name, escape(value))
    return table


def _copies(described: Description) -> str:
    if not described.copies:
        return "none"
    change = described.corpus["augmentation"]
    return (
        f"{described.copies} of each training recording, by hashing: gain within "
        f"{change.gain_decibels:g} dB, pitch within {change.pitch_semitones:g} semitones, "
        f"polarity {'inverted or not' if change.polarity else 'kept'}"
    )


def _splits(described: Description) -> Table:
    rows = [
        (
            ("split", name),
            ("recordings", f"{split.recordings:,}"),
            ("copies", f"{split.copies:,}"),
            ("hours", f"{split.hours:,.3f}"),
            ("order 0", f"{split.histogram_bits:.3f}"),
            ("order 1", "" if split.pair_bits is None else f"{split.pair_bits:.3f}"),
            ("AR(32)", f"{split.linear_bits:.3f}"),
        )
        for name, split in described.splits.items()
    ]
    return table_of_pairs("splits with copies; reference models in bits per sample", rows)


def _codes(described: Description) -> Table:
    corpus = described.corpus
    title = f"histogram of the codes ({corpus['codec']}, {corpus['levels']:,} levels)"
    table = terminal_table(title, ("split", "lowest to highest", "bins used"), text=2)
    for name, split in described.splits.items():
        table.add_row(name, _bars(split.histogram), f"{split.codes} of {len(split.histogram)}")
    return table


def _bars(histogram: Sequence[int]) -> str:
    """Return a histogram as a line of bars, where every non-empty bin is visible."""
    size = len(histogram) // BARS
    sums = [sum(histogram[i : i + size]) for i in range(0, len(histogram), size)]
    return "".join(HEIGHTS[-(-count * (len(HEIGHTS) - 1) // max(sums))] for count in sums)


def _recordings(described: Description) -> Table:
    names = {0.0: "lowest", 0.5: "median", 1.0: "highest"}
    headings = [names.get(share, f"{share:.0%}") for share in QUANTILES]
    title = f"recordings: {described.recordings:,}, without copies; 0 dBFS is an amplitude of 1"
    table = terminal_table(title, ("", *headings))
    for name, label, shown in (
        ("seconds", "length (seconds)", "{:,.2f}"),
        ("rms_dbfs", "rms (dBFS)", "{:.1f}"),
        ("peak_dbfs", "peak (dBFS)", "{:.1f}"),
        ("silent", "silent", "{:.2%}"),
        ("clipped", "clipped", "{:.3%}"),
    ):
        table.add_row(label, *map(shown.format, described.quantiles[name]))
    return table


def _contexts(described: Description) -> Table:
    title = "by context: recordings without a window / samples with that context"
    table = terminal_table(title, ("samples", "seconds", *described.splits))
    for context in CONTEXTS:
        table.add_row(
            f"{context:,}",
            f"{context / described.corpus['rate']:,.0f}",
            *(
                f"{split.windowless[context]:,} / {split.reached[context]:.1%}"
                for split in described.splits.values()
            ),
        )
    return table
