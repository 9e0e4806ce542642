"""Whether runs may cost what they are planned to, before anything is started."""

from collections.abc import Sequence

from scaling import load, plan
from scaling.config import RunConfig
from scaling.delivery import RECORD, Measured
from scaling.record import FILE_NAME


def problems(runs: Sequence[RunConfig]) -> list[str]:
    """Why these runs are not started: a sentence where ``cluster.max_dollars`` is too little.

    Runs that have ended are paid for already. ConfigError where the hardware's file is none.
    """
    waiting = [run for run in runs if not (run.folder / FILE_NAME).exists()]
    limits = [run.cluster.max_dollars for run in waiting if run.cluster.max_dollars is not None]
    if not limits:
        return []
    file, limit = waiting[0].cluster.hardware, min(limits)
    if file is None:
        return [
            f"cluster.max_dollars is {limit:g}, but nothing says what trains and what it costs: "
            "write cluster.hardware=configs/hardware/a100.yaml or another file"
        ]
    hardware = load.hardware(file)
    if hardware.dollars_per_hour is None:
        return [
            f"cluster.max_dollars is {limit:g}, but {file} states no price: write "
            "dollars_per_hour of a node into it"
        ]
    planned = plan.make([({}, run) for run in waiting], hardware, Measured.read(RECORD))
    price = planned.dollars or 0.0
    if price <= limit:
        return []
    return [
        f"{len(waiting)} run{'s' * (len(waiting) != 1)} would cost {price:,.2f} dollars on "
        f"{hardware.name} by the plan, and cluster.max_dollars is {limit:g}: write "
        f"cluster.max_dollars={price:.0f} or more, or fewer or shorter runs"
    ]
