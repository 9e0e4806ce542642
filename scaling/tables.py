"""Tables for a terminal: a prepared corpus, what is in it, and a plan."""

from collections.abc import Iterator, Sequence

from rich.markup import escape
from rich.table import Table

from datasets.manifest import Corpus
from scaling.clusters import half_interval
from scaling.comparison import Comparison, Scored
from scaling.describe import CONTEXTS, QUANTILES, Description
from scaling.plan import Plan
from scaling.record import bits
from scaling.scores import Evaluation, Loss, Seen

BARS = 32
HEIGHTS = " ▁▂▃▄▅▆▇█"


def corpus_table(corpus: Corpus) -> Table:
    """The splits of a corpus, with the two plain references in bits a sample."""
    table = Table(title=f"{corpus.folder}: {corpus.name}", title_justify="left")
    for heading in ("split", "recordings", "seconds", "histogram bits", "AR(32) bits"):
        table.add_column(heading, justify="left" if heading == "split" else "right")
    for name, split in corpus.splits.items():
        table.add_row(
            name,
            str(split.recordings),
            f"{split.seconds:.1f}",
            f"{split.histogram_bits:.3f}",
            f"{split.linear_bits:.3f}",
        )
    return table


def description_tables(described: Description) -> Iterator[Table]:
    """A corpus: what it is, its splits, codes, recordings, contexts, and the files left out."""
    yield _identity(described)
    yield _splits(described)
    yield _codes(described)
    yield _recordings(described)
    yield _contexts(described)
    if described.left_out:
        table = _table("left out", ("files", "such as", "for the first, because"), text=3)
        for kind in described.left_out:
            names = ", ".join(map(repr, kind.names))
            table.add_row(*map(escape, (f"{kind.files:,}", names, kind.reason)))
        yield table


def _identity(described: Description) -> Table:
    corpus = described.corpus
    rows = {
        "licence": corpus["licence"],
        "codes": f"{corpus['codec']}, {corpus['levels']:,} levels, {corpus['rate']:,} Hz",
        "scaling": _scaling(corpus["scaling"], corpus["chunk"]),
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
        rows["split"] += ", so that contexts reach back over the cuts"
    table = Table(
        title=escape(f"{described.folder}: {corpus['name']}"),
        title_justify="left",
        show_header=False,
    )
    for name, value in rows.items():
        table.add_row(name, escape(value))
    return table


def _scaling(scaling: str, chunk: int) -> str:
    return {
        "none": "none",
        "file": "each file to a peak of 1",
        "chunk": f"{chunk:,} samples at a time, from their minimum to their maximum",
    }[scaling]


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
    headings = ("split", "recordings", "copies", "hours", "order 0", "order 1", "AR(32)")
    table = _table("splits, with copies, and what their codes take in bits a sample", headings)
    for name, split in described.splits.items():
        table.add_row(
            name,
            f"{split.recordings:,}",
            f"{split.copies:,}",
            f"{split.hours:,.3f}",
            f"{split.histogram_bits:.3f}",
            "" if split.pair_bits is None else f"{split.pair_bits:.3f}",
            f"{split.linear_bits:.3f}",
        )
    return table


def _codes(described: Description) -> Table:
    corpus = described.corpus
    title = f"histogram of the codes ({corpus['codec']}, {corpus['levels']:,} levels)"
    table = _table(title, ("split", "lowest to highest", "bins used"), text=2)
    for name, split in described.splits.items():
        used = f"{split.codes} of {len(split.histogram)}"
        table.add_row(name, _bars(split.histogram), used)
    return table


def _bars(histogram: Sequence[int]) -> str:
    """A histogram as a line of bars; one that is not empty is seen."""
    size = len(histogram) // BARS
    sums = [sum(histogram[i : i + size]) for i in range(0, len(histogram), size)]
    return "".join(HEIGHTS[-(-count * (len(HEIGHTS) - 1) // max(sums))] for count in sums)


def _recordings(described: Description) -> Table:
    names = {0.0: "lowest", 0.5: "median", 1.0: "highest"}
    headings = [names.get(share, f"{share:.0%}") for share in QUANTILES]
    title = f"recordings: {described.recordings:,}, without copies; 0 dBFS is an amplitude of 1"
    table = _table(title, ("", *headings))
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
    table = _table(title, ("samples", "seconds", *described.splits))
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


def plan_table(planned: Plan) -> Table:
    """The runs of a plan: axes, parameters, targets, and what they cost."""
    axes = list(planned.runs[0].axes) if planned.runs else []
    table = Table(title=f"runs: {len(planned.runs)}", title_justify="left")
    for heading in ("run", *(axis.split(".")[-1] for axis in axes)):
        table.add_column(heading)
    for heading in (
        *("parameters", "targets", "of", "MFLOP/target", "shared", "TFLOP"),
        *("MB/window", "windows/step", "MB/step"),
    ):
        table.add_column(heading, justify="right")
    for run in planned.runs:
        table.add_row(
            run.id,
            *(str(run.axes[axis]) for axis in axes),
            f"{sum(run.parameters.values()):,}",
            f"{run.targets:,}",
            "?" if run.epoch is None else f"{run.epoch:,}",
            f"{run.operations_per_target / 1e6:,.1f}",
            f"1/{run.naive_operations_per_target / run.operations_per_target:,.1f}",
            f"{run.operations / 1e12:,.2f}",
            f"{run.window_bytes / 1e6:.2f}",
            f"{run.windows_per_step:,}",
            f"{run.windows_per_step * run.window_bytes / 1e6:,.2f}",
        )
    return table


def forecast_table(planned: Plan) -> Table:
    """What the runs of a plan take from the stream, and how many times that it delivers."""
    forecasts = [(run.id, run.forecast) for run in planned.runs if run.forecast]
    names = {forecast.hardware for _, forecast in forecasts}
    table = _table(
        f"the stream on {', '.join(names)}: what it delivers, and what the runs take at a share of "
        "the accelerators' peak",
        (
            *("run", "nodes", "delivered windows/s", "of peak", "taken windows/s", "MB/s"),
            *("MB/s a node", "delivered/taken", "at 100%"),
        ),
    )
    for name, forecast in forecasts:
        taken = forecast.expected
        table.add_row(
            name,
            f"{forecast.nodes:,}",
            f"{forecast.delivered_windows_per_second:,.0f}",
            f"{taken.utilisation:.0%}",
            f"{taken.windows_per_second:,.1f}",
            f"{taken.bytes_per_second / 1e6:,.1f}",
            f"{taken.node_bytes_per_second / 1e6:,.1f}",
            f"{taken.times:,.1f}",
            f"{forecast.most.times:,.1f}",
        )
    return table


def comparison_table(found: Comparison) -> Table:
    """The rows of a comparison, their losses in bits (nats) with half of a 95 % interval."""
    table = _table(
        f"{found.study}: bits (nats) a sample on {found.split}, with half of a 95% interval; "
        f"differences are paired, to {found.best}",
        (
            *("model", "parameters", "context", "targets", "TFLOP", "seconds"),
            *("full context", "difference", "from silence", "difference", "published bits"),
        ),
    )
    for row in found.rows:
        trained = (
            (f"{row.targets:,}", f"{row.operations / 1e12:,.2f}", f"{row.training_seconds:,.1f}")
            if row.targets and row.operations and row.training_seconds
            else ("", "", "")
        )
        table.add_row(
            escape(row.name),
            f"{row.parameters:,}",
            f"{row.context:,}",
            *trained,
            *_scored(row.scores["full-context"]),
            *_scored(row.scores["from-silence"]),
            "" if row.published is None else f"{row.published:.3f}",
        )
    return table


def contexts_table(curve: Sequence[Seen], first: Evaluation) -> Table:
    """The losses of one run over contexts, each beside that of its own context."""
    table = _table(
        f"{first.run} on {first.split}: bits (nats) a sample over the same {first.targets:,} "
        "targets, with half of a 95% interval; differences are paired, to its own context",
        ("context", "seconds", "loss", "difference", ""),
        text=0,
    )
    for one in curve:
        half = half_interval(one.loss.standard_error, first.clusters)
        table.add_row(
            f"{one.context:,}",
            f"{one.seconds:.3g}",
            f"{one.loss.bits:.3f} ± {bits(half):.3f} ({one.loss.nats:.3f})",
            _difference(one.difference, one.difference_half_interval),
            "extrapolates" if one.extrapolates else "",
        )
    return table


def _scored(score: Scored) -> tuple[str, str]:
    """A loss and its difference to the best row's."""
    loss = f"{score.loss.bits:.3f} ± {bits(score.half_interval):.3f} ({score.loss.nats:.3f})"
    return loss, _difference(score.difference, score.difference_half_interval)


def _difference(difference: Loss | None, half: float | None) -> str:
    """A paired difference with half of its interval; nothing where there is none."""
    if difference is None or half is None:
        return ""
    return f"{difference.bits:+.3f} ± {bits(half):.3f}"


def _table(title: str, headings: Sequence[str], text: int = 1) -> Table:
    """A table of figures but for its first ``text`` columns."""
    table = Table(title=title, title_justify="left")
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="left" if number < text else "right")
    return table
