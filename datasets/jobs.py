"""Pieces of work as one Ray Data job."""

import logging
import pickle
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import ray.data

MAX_TASKS = 4096
Progress = Callable[[str, int, int], None]
"""Called with a step, and how many of its parts are done of how many."""


class JobError(RuntimeError):
    """A piece of work that could not be done for want of something, with what to do."""


Piece = TypeVar("Piece")
Result = TypeVar("Result")


def group_pieces(pieces: Sequence[Piece], size: int) -> list[list[Piece]]:
    """The pieces in groups of ``size``, or of more where that would make too many tasks."""
    size = max(size, -(-len(pieces) // MAX_TASKS))
    return [list(pieces[i : i + size]) for i in range(0, len(pieces), size)]


def run_tasks(
    pieces: Sequence[Piece], work: Callable[[Piece], Result]
) -> Iterator[tuple[Piece, Result]]:
    """Each piece with what ``work`` made of it, a task each, in the order in which they end.

    Ray must be connected. Pieces and results pass through the driver: they should be small.
    JobError where the operating system refused something: a full disk, a lost connection.
    """
    if not pieces:
        return

    def worked(row: dict[str, Any]) -> dict[str, Any]:
        try:
            result, refusal = work(pickle.loads(row["piece"])), ""
        except OSError as error:
            result, refusal = None, str(error)
        return {"number": row["number"], "result": pickle.dumps(result), "refusal": refusal}

    for handler in logging.getLogger("ray.data").handlers:
        if isinstance(handler, logging.StreamHandler):
            # Where nobody watches it would tell of its progress line by line; its file has all.
            handler.setLevel(logging.WARNING)
    rows = [{"number": i, "piece": pickle.dumps(piece)} for i, piece in enumerate(pieces)]
    dataset = ray.data.from_items(rows, override_num_blocks=len(rows))
    for row in dataset.map(worked).iter_rows():
        if row["refusal"]:
            raise JobError(
                f"A task could not be done: {row['refusal']}. Mend that and type the same command "
                "again: what is finished stays."
            )
        # Written by ``worked`` a moment ago, in a cluster that runs this very code.
        yield pieces[row["number"]], pickle.loads(row["result"])
