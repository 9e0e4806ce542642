"""Tables of losses: a comparison, contexts, the use of a context, and forecasts of a series."""

from collections.abc import Sequence

from rich.markup import escape
from rich.table import Table

from scaling.common.terminal import table_of_pairs, terminal_table
from scaling.comparison.table import Comparison, ScoredLoss
from scaling.evaluation.clustered_errors import half_interval
from scaling.evaluation.forecast import SeriesForecast
from scaling.evaluation.scores import KINDS, ContextScore, ContextUse, Evaluation, Loss
from scaling.runs.record import bits


def comparison_table(found: Comparison) -> Table:
    """Return the rows of a comparison, with losses in bits (nats) and half of a 95 % interval."""
    table = terminal_table(
        f"{found.study}: bits (nats) per sample on {found.split} ± half of a 95% interval; paired "
        f"differences from {found.best}",
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


def contexts_table(curve: Sequence[ContextScore], first: Evaluation) -> Table:
    """Return the losses of one run at several contexts, and their differences from its own."""
    rows = [
        (
            ("context", f"{one.context:,}"),
            ("seconds", f"{one.seconds:.3g}"),
            ("loss", _loss(one.loss, half_interval(one.loss.standard_error, first.clusters))),
            ("difference", _difference(one.difference, one.difference_half_interval)),
            ("", "extrapolates" if one.extrapolates else ""),
        )
        for one in curve
    ]
    return table_of_pairs(
        f"{first.run} on {first.split}: bits (nats) per sample over the same {first.targets:,} "
        "targets ± half of a 95% interval; paired differences from its own context",
        rows,
        text=0,
    )


def probe_table(found: ContextUse) -> Table:
    """Return the loss without the older samples, and the attention on the newest ones."""
    table = terminal_table(
        f"{found.run} on {found.split}: bits per sample lost over {found.targets:,} targets if "
        "everything older is replaced, ± half of a 95% interval",
        ("newest samples", "seconds", *KINDS, "attention on them by layer"),
        text=0,
    )
    costs = {(one.kept, one.kind): one for one in found.replaced}
    for mass in found.attention:
        found_costs = [costs.get((mass.newest, kind)) for kind in KINDS]
        cells = [_difference(one.excess, one.half_interval) if one else "" for one in found_costs]
        shares = " ".join(f"{share:.0%}" for share in mass.by_layer)
        table.add_row(f"{mass.newest:,}", f"{mass.newest / found.rate:.3g}", *cells, shares)
    return table


def forecast_table(found: SeriesForecast) -> Table:
    """Return the errors of every method that forecasts a series, in its own unit."""
    rows = [
        (
            ("method", way.name),
            ("mean absolute error", f"{way.mean_absolute:.4g}"),
            ("root mean square", f"{way.root_mean_square:.4g}"),
            ("difference", f"{way.difference:+.4g} ± {way.half_interval:.2g}"),
        )
        for way in found.ways
    ]
    return table_of_pairs(
        f"{found.run} on {found.split}: the next {found.column} over {found.values:,} values, with "
        f"the absolute error's paired difference from the value {found.season} rows before",
        rows,
    )


def _scored(score: ScoredLoss) -> tuple[str, str]:
    """Return a loss, and its difference from the best row's."""
    loss = _loss(score.loss, score.half_interval)
    return loss, _difference(score.difference, score.difference_half_interval)


def _loss(loss: Loss, half: float) -> str:
    return f"{loss.bits:.3f} ± {bits(half):.3f} ({loss.nats:.3f})"


def _difference(difference: Loss | None, half: float | None) -> str:
    """Return a paired difference with half of its interval, or an empty text without one."""
    if difference is None or half is None:
        return ""
    return f"{difference.bits:+.3f} ± {bits(half):.3f}"
