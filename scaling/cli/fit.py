"""The verb that fits a law to a table of runs or to a study, and the tables that it prints."""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from rich.markup import escape
from rich.table import Table
from typer import Argument, Option

from scaling.cli.arguments import Seed, console, print_line
from scaling.common.terminal import table_of_pairs, terminal_table
from scaling.config.load import ConfigError

TablePath = Annotated[
    Path, Argument(metavar="TABLE", help="Name a CSV file, or a study's folder, such as runs/demo.")
]
Loss = Annotated[str, Option(help="Name the column of the loss, such as nats.")]
Terms = Annotated[
    list[str] | None,
    Option(
        metavar="NAME=COLUMN",
        help="Add a power law in a column or arithmetic of columns, such as N=params. Repeat it.",
    ),
]
Quadratics = Annotated[
    list[str] | None,
    Option(
        metavar="NAME=COLUMN", help="Add a parabola in a column's logarithm, such as chunk=chunk."
    ),
]
Form = Annotated[
    Literal["additive", "shifted", "coupled", "overtraining"],
    Option(help="Fit this form (docs/fitting.md); additive is E + sum of A/x^a."),
]
Irreducible = Annotated[bool, Option(help="Fit the irreducible loss E, or set it to 0.")]
Kind = Annotated[
    Literal["huber", "mse", "asymmetric"],
    Option(
        help="Minimise this loss of the residuals; asymmetric counts over-predictions ten times."
    ),
]
Delta = Annotated[float, Option(help="Set the half-width of the Huber loss's quadratic part.")]
Space = Annotated[
    Literal["log", "raw"], Option(help="Take residuals of the log loss, or of the loss.")
]
Where = Annotated[str | None, Option(help="Use the rows of this pandas query, such as 'loss < 5'.")]
Group = Annotated[
    str | None, Option(help="Redraw rows with equal values of this column together, such as run.")
]
Holdout = Annotated[
    str | None,
    Option(
        help="Predict the rows of this pandas query instead of fitting them, such as 'N > 1e9'."
    ),
]
Bootstrap = Annotated[
    int, Option(help="Redraw configurations this often for intervals; 0 takes Wald intervals.")
]
Compare = Annotated[bool, Option("--compare", help="Fit the other forms for comparison.")]
IsoFlop = Annotated[
    str | None,
    Option(help="Find best sizes at equal budgets, which this column has, such as budget."),
]
Cost = Annotated[
    str | None,
    Option(help="Find best sizes for this cost by the terms' names, such as '6 * N * D'."),
]
At = Annotated[
    list[float] | None, Option(help="Predict at this budget, such as 1e24. Repeat it for others.")
]
Out = Annotated[
    Path | None,
    Option(
        "--json",
        help="Write everything to this file, such as fit.json, instead of printing tables.",
    ),
]


def fit(
    table: TablePath,
    loss: Loss,
    term: Terms = None,
    quadratic: Quadratics = None,
    form: Form = "additive",
    irreducible: Irreducible = True,
    objective: Kind = "huber",
    delta: Delta = 1e-3,
    space: Space = "log",
    where: Where = None,
    group: Group = None,
    holdout: Holdout = None,
    bootstrap: Bootstrap = 200,
    seed: Seed = 0,
    compare: Compare = False,
    isoflop: IsoFlop = None,
    cost: Cost = None,
    at: At = None,
    out: Out = None,
) -> None:
    """Fit a scaling law to a study or to a CSV of runs. See docs/fitting.md."""
    from datasets.files import replacing
    from scaling.analysis.records import read_run_table
    from scaling.fitting.table_fit import FitRequest, fit_table

    asked = FitRequest(
        *(table, loss, term or [], quadratic or [], form, irreducible, objective, space, delta),
        *(where, group, holdout, bootstrap, seed, compare, isoflop, cost, at or []),
    )
    if out is not None and not out.resolve().parent.is_dir():
        raise ConfigError(f"--json {out}: there is no folder {out.resolve().parent} to write to")
    content = fit_table(asked, read_run_table(asked.table)).content()
    for part in () if out else fit_tables(content):
        console.print(part)
    for sentence in warnings(content):
        print_line(sentence)
    if out:
        with replacing(out) as partial:
            partial.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")
        print_line(out.resolve())


def fit_tables(content: dict[str, Any]) -> Iterator[Table]:
    """Yield the tables of a fit's JSON values: parameters, goodness of fit, and optional parts."""
    yield _parameters(content)
    yield _goodness(content)
    tables: dict[str, Callable[[Any], Table]] = {
        **{"holdout": _holdout, "forms": _forms, "isoflop": _isoflop, "frontier": _frontier}
    }
    for name, make_table in tables.items():
        if content[name]:
            yield make_table(content[name])


def warnings(content: dict[str, Any]) -> Iterator[str]:
    """Yield a fit's warnings as lines."""
    for warning in content["warnings"]:
        yield f"warning: {warning['text']} ({warning['code']})"
    if not content["converged"]:
        yield "warning: the fit did not converge: do not use it."


def _parameters(content: dict[str, Any]) -> Table:
    asked = content["asked"]
    objective = asked["objective"]
    if objective == "huber":
        objective += f" (delta {asked['delta']:g})"
    table = terminal_table(
        f"{asked['loss']} = {content['formula']}, {objective} on the {asked['space']} loss, "
        f"{content['n']} rows in {content['configurations']} configurations",
        ("parameter", "value", "standard error", "95% interval"),
    )
    values = content["parameters"] | {
        f"{name}.compute_exponent": value
        for name, value in (content["frontier"] or {"exponents": {}})["exponents"].items()
    }
    for name, value in values.items():
        interval, error = content["intervals"][name], content["standard_errors"][name]
        table.add_row(escape(name), _number(value), _number(error), _interval(interval))
    method = content["interval_method"]
    if method == "bootstrap":
        table.caption = f"Intervals: {content['redraws']} redraws of configurations."
    elif method == "wald":
        table.caption = "Intervals: curvature at the optimum, with Student t."
    return table


def _goodness(content: dict[str, Any]) -> Table:
    table = terminal_table("", ("goodness of fit", "value"))
    table.add_row("objective (sum)", _number(content["objective"]))
    for name, value in content["goodness"].items():
        table.add_row(name.replace("_", " "), _number(value))
    starts = content["starts"]
    table.add_row("starts at the optimum", f"{starts['agreeing']} of {starts['number']}")
    return table


def _holdout(holdout: dict[str, Any]) -> Table:
    inside = "" if holdout["inside"] is None else f", {holdout['inside']} inside their interval"
    rows = [
        (
            ("line", str(row["line"])),
            ("loss", _number(row["loss"])),
            ("predicted", _number(row["predicted"])),
            ("95% interval", _interval(row["interval"])),
            ("error", f"{row['relative_error']:+.2%}"),
            ("times beyond", _number(row["reach"])),
        )
        for row in holdout["predictions"]
    ]
    return table_of_pairs(
        f"held out: {holdout['rows']} rows, mean absolute error "
        f"{holdout['mean_abs_relative_error']:.2%}{inside}",
        rows,
    )


def _forms(forms: list[dict[str, Any]]) -> Table:
    rows = [
        (
            ("form", escape(score["name"])),
            ("parameters", str(score["parameters"])),
            ("AICc", _number(score["aicc"])),
            ("error on left-out", _number(score["left_out_error"], ".3%")),
            ("problem", escape(score["problem"] or "")),
        )
        for score in forms
    ]
    return table_of_pairs("forms beside each other", rows)


def _isoflop(found: dict[str, Any]) -> Table:
    table = terminal_table(
        "best size at each budget, and the exponent of its growth",
        ("column", "budget", "parabola", "cubic", "joint fit"),
    )
    methods = ("parabola", "cubic", "joint")
    for profile in found["profiles"]:
        best = (_number(profile["best"].get(method)) for method in methods)
        table.add_row(escape(profile["name"]), _number(profile["budget"]), *best)
    for point in found["at"]:
        for name, best in point.items():
            if name != "budget":
                sizes = (_number(best.get(method)) for method in methods)
                table.add_row(escape(name), _number(point["budget"]), *sizes)
    for name, exponents in found["exponents"].items():
        powers = [_number(exponents.get(method)) for method in methods]
        powers[-1] += f" {_interval(exponents['joint_interval'])}"
        table.add_row(escape(name), "exponent", *powers)
    return table


def _frontier(found: dict[str, Any]) -> Table:
    headings = ("budget", "loss", "best sizes (95% interval)", "times beyond")
    table = terminal_table("best sizes for a budget", headings)
    for point in found["best"]:
        sizes = ", ".join(
            f"{name} {_number(size)} {_interval(point['intervals'][name])}".strip()
            for name, size in point["sizes"].items()
        )
        numbers = (point["budget"], point["loss"], max(point["reach"], point["cost_reach"]))
        budget, loss, beyond = map(_number, numbers)
        table.add_row(budget, loss, escape(sizes), beyond)
    return table


def _number(value: float | None, form: str = ".5g") -> str:
    return "" if value is None else format(value, form)


def _interval(interval: Sequence[float | None] | None) -> str:
    if interval is None or None in interval:
        return ""
    low, high = interval
    return f"{low:.4g} to {high:.4g}"
