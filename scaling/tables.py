"""Tables for a terminal: a prepared corpus and a plan."""

from rich.table import Table

from datasets.manifest import Corpus
from scaling.plan import Plan


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


def plan_table(planned: Plan) -> Table:
    """The runs of a plan: axes, parameters, targets, and what they cost."""
    axes = list(planned.runs[0].axes) if planned.runs else []
    table = Table(title=f"runs: {len(planned.runs)}", title_justify="left")
    for heading in ("run", *(axis.split(".")[-1] for axis in axes)):
        table.add_column(heading)
    for heading in ("parameters", "targets", "of", "MFLOP/target", "shared", "TFLOP", "MB/window"):
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
        )
    return table
