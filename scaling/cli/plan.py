"""The verb that plans a run or a sweep."""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Option

from scaling.cli.arguments import Config, Json, Words, console, file_and_overrides, print_line
from scaling.config.load import ConfigError

if TYPE_CHECKING:
    from rich.table import Table

    from scaling.planning.match_parameters import Match
    from scaling.planning.plan import Plan

Parameters = Annotated[
    str | None,
    Option(help="Change the key of --vary to get about this many parameters, such as 3.14M."),
]
Vary = Annotated[str | None, Option(help="Name the key that changes, such as model.width.")]
HardwareFile = Annotated[
    Path | None,
    Option(help="Forecast time and cost on this hardware, such as configs/hardware/a100.yaml."),
]
Measured = Annotated[
    Path | None, Option(help="Read the stream's speed from a record of `bench data --json`.")
]
StepRates = Annotated[
    Path | None, Option(help="Read the steps' speed from a record of `bench --json`, or a study.")
]
Nodes = Annotated[str | None, Option(help="Forecast on these numbers of nodes, such as 1,8,64.")]


def plan(
    words: Words = None,
    config: Config = None,
    hardware: HardwareFile = None,
    measured: Measured = None,
    rates: StepRates = None,
    nodes: Nodes = None,
    parameters: Parameters = None,
    vary: Vary = None,
    as_json: Json = False,
) -> None:
    """Print what a run or a sweep needs, and its problems.

    The needs are parameters, operations, memory, time and cost.
    """
    from scaling.cli.plan_tables import figures_table, node_tables
    from scaling.config import load
    from scaling.planning.calibration import Calibration, Rates
    from scaling.planning.data_throughput import STREAM_RECORD, StreamMeasurement
    from scaling.planning.multi_node import parse_node_counts
    from scaling.planning.plan import make_plan

    path, overrides = file_and_overrides(config, words)
    match = _match(path, overrides, parameters, vary)
    runs = load.sweep(path, [*overrides, match.override] if match else overrides).runs
    hardware = hardware or runs[0][1].cluster.hardware
    trains_on = load.hardware(hardware) if hardware else None
    for option, given in (("--measured", measured), ("--nodes", nodes), ("--rates", rates)):
        if given and not trains_on:
            raise ConfigError(
                f"{option} needs --hardware: add --hardware configs/hardware/a100.yaml"
            )
    stream = StreamMeasurement.read(measured or STREAM_RECORD) if trains_on else None
    calibration = Calibration.read() if nodes else None
    seen = Rates.read(rates) if rates else None
    numbers = parse_node_counts(nodes) if nodes else ()
    planned = replace(make_plan(runs, trains_on, stream, calibration, numbers, seen), match=match)
    if as_json:
        print(json.dumps(asdict(planned)))
    else:
        tables: list[Table] = []
        if trains_on and stream and calibration:
            configs = {run.id: run for _, run in runs}
            for run in planned.runs:
                tables.append(figures_table(configs[run.id], trains_on, stream, calibration))
                tables += node_tables(configs[run.id], trains_on, run.nodes)
        _show(planned, tables)
    if planned.problems:
        raise ConfigError(planned.problems)


def _show(planned: "Plan", of_nodes: "Sequence[Table]") -> None:
    """Print the plan, and its tables of runs on several nodes if there are any."""
    from scaling.cli.plan_tables import cost_tables, forecast_table, plan_table

    if planned.match:
        print_line(planned.match.sentence)
    if not planned.runs:
        return
    forecast = [forecast_table(planned)] if any(run.forecast for run in planned.runs) else []
    for table in (plan_table(planned), *cost_tables(planned), *forecast, *of_nodes):
        console.print(table)
    for sentence in planned.verdicts:
        print_line(sentence)
    for note in planned.notes:
        print_line(f"note: {note}")


def _match(
    path: Path, overrides: Sequence[str], parameters: str | None, vary: str | None
) -> "Match | None":
    """Find the value of the key of --vary that gives --parameters; None without either option."""
    from scaling.config import load
    from scaling.planning.match_parameters import nearest_value, parse_count

    if parameters is None and vary is None:
        return None
    if parameters is None:
        raise ConfigError(f"--vary {vary} needs a number of parameters: add --parameters 3.14M")
    if vary is None:
        raise ConfigError(
            f"--parameters {parameters} needs the key that may change: add --vary model.width"
        )
    wanted = parse_count(parameters)
    runs = load.sweep(path, overrides).runs
    ((axes, config), *others) = runs
    if axes or others:
        raise ConfigError(
            f"--parameters is for one run, and {path} describes a sweep of {len(runs)}: name "
            "the file of a run, such as configs/runs/demo.yaml"
        )
    return nearest_value(config, vary, wanted)
