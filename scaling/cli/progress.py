"""Progress of runs and of long steps: live on a terminal, in plain lines elsewhere."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.progress import Progress, ProgressColumn, Task, TaskID
from rich.table import Table
from rich.text import Text

from scaling.common.terminal import terminal_table
from scaling.runs.record import bits
from scaling.runs.study import RunState, State, StudyError, read_states

LIVE_SECONDS = 1.0
PLAIN_SECONDS = 15.0


@contextmanager
def show_runs(folder: Path, concurrent: int, console: Console) -> Iterator[None]:
    """Show the progress of a study during the block; ``concurrent`` runs train at once."""
    over = threading.Event()
    follow = _live if console.is_terminal else _plain
    thread = threading.Thread(target=follow, args=(folder, concurrent, console, over), daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@contextmanager
def progress_bars(console: Console) -> Iterator[Callable[[str, int, int], None]]:
    """Yield a function of (step, parts done, parts) that shows one bar per step."""
    columns = (*Progress.get_default_columns(), _Speed())
    hidden = not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=hidden) as progress:
        tasks: dict[str, TaskID] = {}

        def show(step: str, done: int, total: int) -> None:
            if step not in tasks:
                tasks[step] = progress.add_task(step, total=total)
            progress.update(tasks[step], completed=done)

        yield show


class _Speed(ProgressColumn):
    """Column of the parts per second."""

    def render(self, task: Task) -> Text:
        return Text("" if task.speed is None else f"{task.speed:,.0f}/s")


def states_table(states: Sequence[RunState], title: str) -> Table:
    """Return the runs of a study: axes, state, step, loss, speed, wait for data, and time left."""
    axes = list(states[0].axes) if states else []
    shown = terminal_table(
        title,
        (
            *("run", *(axis.split(".")[-1] for axis in axes), "state"),
            *("step", "bits/sample", "nats/sample", "targets/s", "data wait", "left"),
        ),
        text=2 + len(axes),
    )
    for state in states:
        shown.add_row(
            state.id,
            *(str(state.axes.get(axis, "")) for axis in axes),
            state.state,
            f"{state.step}/{state.steps}",
            *_figures(state),
        )
    return shown


def seconds_left(states: Sequence[RunState], concurrent: int) -> float | None:
    """Return the seconds until all runs have ended: those to begin take the others' mean time."""
    known = [state.step_seconds * state.steps for state in states if state.step_seconds]
    if not known:
        return None
    running = sum(state.seconds_left or 0 for state in states if state.state == "running")
    over = ("running", "finished", "pruned", "diverged")
    waiting = sum(state.state not in over for state in states)
    return (running + waiting * sum(known) / len(known)) / concurrent


def _figures(state: RunState) -> tuple[str, ...]:
    left = state.seconds_left if state.state == "running" else None
    return (
        "" if state.nats is None else f"{bits(state.nats):.3f}",
        "" if state.nats is None else f"{state.nats:.3f}",
        "" if state.targets_per_second is None else f"{state.targets_per_second:.0f}",
        "" if state.data_wait_share is None else f"{state.data_wait_share:.1%}",
        "" if left is None else _duration(left),
    )


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def _live(folder: Path, concurrent: int, console: Console, over: threading.Event) -> None:
    with Live(console=console, refresh_per_second=2) as live:
        while True:
            if states := _read(folder):
                live.update(states_table(states, _headline(states, concurrent)))
            if over.wait(LIVE_SECONDS):
                break
        states = _read(folder)
        live.update(states_table(states, _headline(states, concurrent)))


def _plain(folder: Path, concurrent: int, console: Console, over: threading.Event) -> None:
    while not over.wait(PLAIN_SECONDS):
        if states := _read(folder):
            console.print(_headline(states, concurrent), soft_wrap=True, highlight=False)
            for state in states:
                if state.state == "running":
                    console.print(_line(state), soft_wrap=True, highlight=False)


def _line(state: RunState) -> str:
    loss, nats, speed, wait, left = _figures(state)
    axes = " ".join(f"{axis.split('.')[-1]}={value}" for axis, value in state.axes.items())
    return (
        f"  {state.id} {axes} | step {state.step}/{state.steps} | bits/sample {loss or '-'} "
        f"(nats {nats or '-'}) | {speed or '-'} targets/s | data wait {wait or '-'} | "
        f"eta {left or '-'}"
    )


def _headline(states: Sequence[RunState], concurrent: int) -> str:
    counts = Counter(state.state for state in states)
    names: tuple[State, ...] = ("running", "waiting", "paused", "pruned", "failed", "diverged")
    parts = [f"{counts[name]} {name}" for name in names if counts[name]]
    left = seconds_left(states, concurrent)
    eta = "" if not left else f" | eta {_duration(left)}"
    done = f"{counts['finished']}/{len(states)} finished"
    return f"{time.strftime('%H:%M:%S')} {' | '.join([done, *parts])}{eta}"


def _read(folder: Path) -> list[RunState]:
    try:
        return read_states(folder)
    except StudyError:
        return []
