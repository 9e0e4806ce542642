"""The verbs before a study: design a sweep for a budget, and find the power of a comparison."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from scaling.cli.arguments import Config, Json, Words, console, file_and_overrides, print_line
from scaling.config.load import ConfigError

if TYPE_CHECKING:
    from scaling.planning.design_errors import AssumedEffect

Axes = Annotated[
    list[str] | None,
    Option(
        metavar="KEY=VALUE,VALUE,...",
        help="Vary a key, such as model.context=8000,64000. Repeat it for further keys.",
    ),
]
Guesses = Annotated[
    list[str] | None,
    Option(
        metavar="KEY=NATS,EXPONENT",
        help="Assume a key's nats at its smallest value, and its exponent, such as "
        "model.context=0.05,0.3. Repeat it for further keys.",
    ),
]
Flops = Annotated[float | None, Option(help="Spend this many training operations, such as 1e18.")]
Dollars = Annotated[
    float | None, Option(help="Spend this many dollars, such as 200; needs --hardware.")
]
Hardware = Annotated[
    Path | None, Option(help="Take the price from this file, such as configs/hardware/a100.yaml.")
]
TargetNoise = Annotated[
    float | None,
    Option(
        help="Assume this standard deviation of a target's paired difference, in nats, such as 0.4."
    ),
]
IsoFlop = Annotated[
    bool, Option("--isoflop", help="Vary sizes at equal budgets instead of equal data.")
]
Noise = Annotated[float, Option(help="Assume this standard deviation of a run's loss, in nats.")]


def design(
    words: Words = None,
    config: Config = None,
    axis: Axes = None,
    flops: Flops = None,
    dollars: Dollars = None,
    hardware: Hardware = None,
    isoflop: IsoFlop = False,
    budgets: Annotated[int, Option(help="Use this many budgets with --isoflop.")] = 4,
    seeds: Annotated[int, Option(help="Repeat this many runs with further seeds.")] = 4,
    noise: Noise = 0.004,
    guess: Guesses = None,
    out: Annotated[Path | None, Option(help="Write the sweep here, such as sweep.yaml.")] = None,
) -> None:
    """Design a sweep for a budget, with its expected errors. See docs/planning.md."""
    from datasets.files import replacing
    from scaling.cli.design_tables import design_tables, sweep_text
    from scaling.config import load
    from scaling.planning.design import design as make
    from scaling.planning.design import operations
    from scaling.planning.design_errors import expected_errors

    path, overrides = file_and_overrides(config, words)
    axes, guesses = _axes(axis or []), _guesses(guess or [])
    budget = dollars if flops is None else flops
    if budget is None or None not in (flops, dollars):
        raise ConfigError("give one budget: --flops 1e18, or --dollars 200 with --hardware")
    unit = "dollars" if flops is None else "FLOP"
    problems = _wrong_values(
        ("--dollars" if flops is None else "--flops", budget, "write more than 0", budget <= 0),
        ("--noise", noise, "write nats above 0, such as 0.004", noise <= 0),
        ("--seeds", seeds, "write 0 or more", seeds < 0),
        ("--budgets", budgets, "write 2 or more", budgets < 2),
    )
    if problems:
        raise ConfigError(problems)
    content = load.content(path, overrides)
    content.pop("sweep", None)
    price = _dollars(hardware) if flops is None else operations
    kind: Any = "isoflop" if isoflop else "equal-data"
    made = make(content, axes, kind, budget, price, seeds=seeds, budgets=budgets)
    errors = expected_errors(made, noise, guesses)
    text = sweep_text(made, content, str(path))
    for table in design_tables(made, errors, unit, noise, guesses):
        console.print(table)
    if out is None:
        print(text, end="")
        return
    with replacing(out) as partial:
        partial.write_text(text)
    print_line(f"{out}: run `python -m scaling plan {out}`")


def _wrong_values(*values: tuple[str, float | None, str, bool]) -> list[str]:
    """Return a sentence for each (option, value, what to write, is wrong) that is wrong."""
    return [f"{name} is {value}: {allowed}" for name, value, allowed, wrong in values if wrong]


def power(
    difference: Annotated[float, Option(help="Detect this many nats per sample, such as 0.01.")],
    runs: Annotated[
        Path | None, Option(help="Estimate the noise from this study, such as runs/demo.")
    ] = None,
    seed_noise: Annotated[
        float | None,
        Option(help="Assume this standard deviation between seeds, in nats, such as 0.004."),
    ] = None,
    target_noise: TargetNoise = None,
    correlation: Annotated[
        float, Option(help="Assume this correlation of two differences in a recording.")
    ] = 0.0,
    recordings: Annotated[
        int | None, Option(help="Use this many held-out recordings, such as 60.")
    ] = None,
    per_recording: Annotated[
        int | None,
        Option(help="Take this many targets per recording, such as 100, and find the recordings."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Find the seeds and targets that detect a difference.

    The power is 0.8 at the 5 % level.
    """
    from scaling.analysis.power_analysis import required_runs
    from scaling.cli.design_tables import power_table

    problems = _wrong_values(
        ("--difference", difference, "write nats above 0, such as 0.01", difference <= 0),
        ("--seed-noise", seed_noise, "write 0 or more", (seed_noise or 0) < 0),
        ("--target-noise", target_noise, "write 0 or more", (target_noise or 0) < 0),
        ("--correlation", correlation, "write 0 to 1", not 0 <= correlation <= 1),
        ("--recordings", recordings, "write 2 or more", (recordings or 2) < 2),
        ("--per-recording", per_recording, "write 1 or more", (per_recording or 1) < 1),
    )
    if runs is None and (seed_noise is None or target_noise is None):
        problems.append("give --seed-noise and --target-noise, or --runs with a study's folder")
    if recordings and per_recording:
        problems.append(
            "--recordings and --per-recording are both given: give one, and the command finds the "
            "other"
        )
    if problems:
        raise ConfigError(problems)
    noise, size = _noise(runs, seed_noise, target_noise, correlation)
    found = required_runs(
        difference, noise, recordings=recordings, per_recording=per_recording or size
    )
    if as_json:
        print(json.dumps({"difference": difference, "needs": [asdict(one) for one in found]}))
        return
    console.print(power_table(difference, noise, found))


def _noise(
    runs: Path | None, seeds: float | None, targets: float | None, correlation: float
) -> tuple[Any, int]:
    """Return the noise, given or estimated from a study's runs, and the targets per recording."""
    from math import inf

    from scaling.analysis.power_analysis import Noise
    from scaling.analysis.records import load_records

    if runs is None:
        return Noise(seeds or 0.0, targets or 0.0, correlation), 1
    found, size = Noise.of(load_records(runs)[0], seeds, targets)
    if targets is not None:
        return Noise(found.seeds, targets, correlation, found.freedom if seeds is None else inf), 1
    return found, size


def _axes(texts: list[str]) -> dict[str, list[Any]]:
    """Parse the ``KEY=VALUE,VALUE`` options into values by key; at least one is required."""
    import yaml

    axes = {}
    for text in texts:
        key, _, values = text.partition("=")
        try:
            axes[key] = [yaml.safe_load(value) for value in values.split(",")]
        except yaml.YAMLError:
            axes[key] = []
        numbers = [type(value) in (int, float) and value > 0 for value in axes[key]]
        if not key or len(set(map(str, axes[key]))) < 2 or not all(numbers):
            raise ConfigError(
                f"--axis {text!r}: write a key and two or more different numbers above 0, such "
                "as --axis model.context=8000,64000"
            )
    if not axes:
        raise ConfigError("no axis: write --axis model.context=8000,64000,512000")
    return axes


def _guesses(texts: list[str]) -> "dict[str, AssumedEffect]":
    """Parse the ``KEY=NATS,EXPONENT`` options into effects by key."""
    from scaling.planning.design_errors import AssumedEffect

    guesses = {}
    for text in texts:
        key, _, values = text.partition("=")
        try:
            reducible, exponent = map(float, values.split(","))
        except ValueError:
            reducible = exponent = 0.0
        if not key or min(reducible, exponent) <= 0:
            raise ConfigError(
                f"--guess {text!r}: write KEY=NATS,EXPONENT, such as model.context=0.05,0.3"
            )
        guesses[key] = AssumedEffect(reducible, exponent)
    return guesses


def _dollars(path: Path | None) -> Any:
    """Return a function that prices a run in dollars on this hardware."""
    from scaling.config import load
    from scaling.planning.cost import cost
    from scaling.planning.data_throughput import STREAM_RECORD, StreamMeasurement, window_bytes

    hardware = load.hardware(path) if path else None
    if hardware is None or hardware.dollars_per_hour is None:
        raise ConfigError(
            "--dollars needs hardware with a price: add --hardware configs/hardware/a100.yaml"
        )
    measured = StreamMeasurement.read(STREAM_RECORD)

    def price(config: Any) -> float:
        return cost(config, None, hardware, measured, window_bytes(config, None)).dollars or 0.0

    return price
