"""Pieces of work as one Ray Data job."""

import pickle
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import ray.data

MOST_TASKS = 4096
Progress = Callable[[str, int, int], None]
"""Called with a step, and how many of its parts are done of how many."""

Piece = TypeVar("Piece")
Result = TypeVar("Result")


def grouped(pieces: Sequence[Piece], size: int) -> list[list[Piece]]:
    """The pieces in groups of ``size``, or of more where that would make too many tasks."""
    size = max(size, -(-len(pieces) // MOST_TASKS))
    return [list(pieces[i : i + size]) for i in range(0, len(pieces), size)]


def run(pieces: Sequence[Piece], work: Callable[[Piece], Result]) -> Iterator[tuple[Piece, Result]]:
    """Each piece with what ``work`` made of it, a task each, in the order in which they end.

    Ray must be connected. Pieces and results pass through the driver: they should be small.
    """
    if not pieces:
        return

    def worked(row: dict[str, Any]) -> dict[str, Any]:
        return {"number": row["number"], "result": pickle.dumps(work(pickle.loads(row["piece"])))}

    rows = [{"number": i, "piece": pickle.dumps(piece)} for i, piece in enumerate(pieces)]
    dataset = ray.data.from_items(rows, override_num_blocks=len(rows))
    for row in dataset.map(worked).iter_rows():
        # Written by ``worked`` a moment ago, in a cluster that runs this very code.
        yield pieces[row["number"]], pickle.loads(row["result"])
