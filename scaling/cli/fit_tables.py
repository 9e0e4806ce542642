"""A fit as tables for a terminal, from its JSON values alone."""

from collections.abc import Iterator, Sequence
from typing import Any

from rich.markup import escape
from rich.table import Table

from scaling.common.terminal import terminal_table


def fit_tables(content: dict[str, Any]) -> Iterator[Table]:
    """Parameters with their intervals, then goodness, and what else was asked for."""
    yield _parameters(content)
    yield _goodness(content)
    if content["holdout"]:
        yield _holdout(content["holdout"])
    if content["forms"]:
        yield _forms(content["forms"])
    if content["isoflop"]:
        yield _isoflop(content["isoflop"])
    if content["frontier"]:
        yield _frontier(content["frontier"])


def warnings(content: dict[str, Any]) -> Iterator[str]:
    """What the points cannot tell, a sentence a line."""
    for warning in content["warnings"]:
        yield f"warning: {warning['text']} ({warning['code']})"
    if not content["converged"]:
        yield "warning: the fit did not converge: do not read it."


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
    table = terminal_table(
        f"held out: {holdout['rows']} rows, mean absolute error "
        f"{holdout['mean_abs_relative_error']:.2%}{inside}",
        ("line", "loss", "predicted", "95% interval", "error", "times beyond"),
    )
    for row in holdout["predictions"]:
        table.add_row(
            str(row["line"]),
            _number(row["loss"]),
            _number(row["predicted"]),
            _interval(row["interval"]),
            f"{row['relative_error']:+.2%}",
            _number(row["reach"]),
        )
    return table


def _forms(forms: list[dict[str, Any]]) -> Table:
    table = terminal_table(
        "forms beside each other", ("form", "parameters", "AICc", "error on left-out", "problem")
    )
    for score in forms:
        error = score["left_out_error"]
        table.add_row(
            escape(score["name"]),
            str(score["parameters"]),
            _number(score["aicc"]),
            "" if error is None else f"{error:.3%}",
            escape(score["problem"] or ""),
        )
    return table


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
    table = terminal_table(
        "best sizes for a budget", ("budget", "loss", "best sizes (95% interval)", "times beyond")
    )
    for point in found["best"]:
        sizes = ", ".join(
            f"{name} {_number(size)} {_interval(point['intervals'][name])}".strip()
            for name, size in point["sizes"].items()
        )
        beyond = max(point["reach"], point["cost_reach"])
        table.add_row(
            _number(point["budget"]), _number(point["loss"]), escape(sizes), _number(beyond)
        )
    return table


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.5g}"


def _interval(interval: Sequence[float | None] | None) -> str:
    if interval is None or None in interval:
        return ""
    low, high = interval
    return f"{low:.4g} to {high:.4g}"
