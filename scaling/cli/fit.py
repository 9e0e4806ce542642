"""The verb that fits a table of runs, or the runs of a study."""

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from scaling.cli.arguments import console
from scaling.config.load import ConfigError

Table = Annotated[
    Path,
    typer.Argument(
        help="A CSV with a line of column names, or a study's folder, such as runs/demo."
    ),
]
Loss = Annotated[str, typer.Option(help="The column of the loss.")]
Terms = Annotated[
    list[str] | None,
    typer.Option(help="NAME=COLUMN of a power law; again for each. COLUMN may be arithmetic."),
]
Quadratics = Annotated[
    list[str] | None,
    typer.Option(help="NAME=COLUMN in whose logarithm the loss is a parabola (a chunk)."),
]
Form = Annotated[
    Literal["additive", "shifted", "coupled", "overtraining"],
    typer.Option(help="E + sum of A/x^a, or another of docs/fitting.md."),
]
Irreducible = Annotated[bool, typer.Option(help="Whether E is fitted, or 0.")]
Kind = Annotated[
    Literal["huber", "mse", "asymmetric"],
    typer.Option(help="asymmetric: absolute errors, over-prediction counted ten times."),
]
Delta = Annotated[float, typer.Option(help="Half-width of the Huber loss's quadratic part.")]
Space = Annotated[
    Literal["log", "raw"], typer.Option(help="Residuals of the log loss, or of the loss.")
]
Where = Annotated[str | None, typer.Option(help="Rows to use, as a pandas query: 'loss < 5'.")]
Group = Annotated[
    str | None, typer.Option(help="Column of the configuration; its rows are redrawn together.")
]
Holdout = Annotated[
    str | None, typer.Option(help="Rows to predict and not to fit, as a pandas query.")
]
Bootstrap = Annotated[int, typer.Option(help="Redraws for the intervals; 0 for Wald's.")]
Seed = Annotated[int, typer.Option(help="Of the starts and the redraws.")]
Compare = Annotated[bool, typer.Option("--compare", help="Set the other forms beside it.")]
IsoFlop = Annotated[
    str | None, typer.Option(help="Column of the budget: best sizes at equal budgets.")
]
Cost = Annotated[
    str | None, typer.Option(help="Cost by the terms' names, '6 * N * D': best sizes for budgets.")
]
At = Annotated[list[float] | None, typer.Option(help="A budget to look at; again for each.")]
Out = Annotated[Path | None, typer.Option("--json", help="A file for all, instead of tables.")]


def fit(
    table: Table,
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
    """Fit a scaling law to a study or any CSV of runs, with what its points cannot tell
    (docs/fitting.md)."""
    from datasets.files import replacing
    from scaling.analysis.records import read_run_table
    from scaling.cli.fit_tables import fit_tables, warnings
    from scaling.fitting.fit_request import FitRequest
    from scaling.fitting.table_fit import fit_table

    asked = FitRequest(
        table=table,
        loss=loss,
        terms=term or [],
        quadratics=quadratic or [],
        form=form,
        irreducible=irreducible,
        objective=objective,
        delta=delta,
        space=space,
        where=where,
        group=group,
        holdout=holdout,
        bootstrap=bootstrap,
        seed=seed,
        compare=compare,
        isoflop=isoflop,
        cost=cost,
        at=at or [],
    )
    if out is not None and not out.resolve().parent.is_dir():
        raise ConfigError([f"--json {out}: there is no folder {out.resolve().parent} to write to"])
    content = fit_table(asked, read_run_table(asked.table)).content()
    for part in () if out else fit_tables(content):
        console.print(part)
    for sentence in warnings(content):
        console.print(sentence, markup=False, highlight=False, soft_wrap=True)
    if out:
        with replacing(out) as partial:
            partial.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")
        console.print(str(out.resolve()), soft_wrap=True, highlight=False, markup=False)
