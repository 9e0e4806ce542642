import io

from rich.console import Console

from scaling.cli.progress import seconds_left, states_table
from scaling.runs.study import RunState


def state(name, step=0, step_seconds=None, nats=None):
    return RunState(
        id=f"run-{name}",
        axes={"model.chunk": 2000},
        state=name,
        step=step,
        steps=10,
        nats=nats,
        targets_per_second=128.0 if nats else None,
        data_wait_share=0.012 if nats else None,
        step_seconds=step_seconds,
        problem=None,
    )


def test_the_table_gives_bits_and_nats_speed_and_data_wait():
    text = io.StringIO()
    console = Console(file=text, width=160)
    console.print(states_table([state("running", 5, 24.0, nats=3.4657), state("waiting")], "demo"))
    for words in ("run-running", "2000", "5/10", "5.000", "3.466", "128", "1.2%", "2 min"):
        assert words in text.getvalue()
    assert "run-waiting" in text.getvalue()


def test_the_time_left_counts_running_and_waiting_runs_over_the_slots():
    states = [state("running", 5, 10.0), state("waiting"), state("finished", 10, 2.0)]
    assert seconds_left(states, concurrent=1) == 50 + 60
    assert seconds_left(states, concurrent=2) == (50 + 60) / 2


def test_the_time_left_is_unknown_before_any_speed_is_known():
    assert seconds_left([state("waiting")], concurrent=1) is None
