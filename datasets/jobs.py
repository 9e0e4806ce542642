"""Run pieces of work as one Ray Data job."""

import logging
import pickle
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import ray.data

MAX_TASKS = 4096
Progress = Callable[[str, int, int], None]
"""Callback: a step, the number of its parts that are done, and the number of all its parts."""


class JobError(RuntimeError):
    """Work that the operating system refused, such as a write to a full disk."""


Piece = TypeVar("Piece")
Result = TypeVar("Result")


def group_pieces(pieces: Sequence[Piece], size: int) -> list[list[Piece]]:
    """Split the pieces into groups of ``size``, or larger ones to stay within MAX_TASKS groups."""
    size = max(size, -(-len(pieces) // MAX_TASKS))
    return [list(pieces[i : i + size]) for i in range(0, len(pieces), size)]


def fill_groups(
    pieces: Iterable[Piece], size: Callable[[Piece], int], full: int, most: int
) -> list[list[Piece]]:
    """Group the pieces in order; a group ends once its sizes sum to ``full`` or it has ``most``."""
    groups: list[list[Piece]] = []
    room = 0
    for piece in pieces:
        if room <= 0 or len(groups[-1]) == most:
            groups.append([])
            room = full
        groups[-1].append(piece)
        room -= size(piece)
    return groups


def run_tasks(
    pieces: Sequence[Piece], work: Callable[[Piece], Result]
) -> Iterator[tuple[Piece, Result]]:
    """Run ``work`` on each piece in a task; yield piece and result in the order of completion.

    Ray must be connected. Pieces and results pass through the driver, so they should be small.
    JobError if the operating system refuses something: a full disk, a lost connection.
    """
    if not pieces:
        return

    def run_piece(row: dict[str, Any]) -> dict[str, Any]:
        try:
            result, refusal = work(pickle.loads(row["piece"])), ""
        except OSError as error:
            result, refusal = None, str(error)
        return {"number": row["number"], "result": pickle.dumps(result), "refusal": refusal}

    for handler in logging.getLogger("ray.data").handlers:
        if isinstance(handler, logging.StreamHandler):
            # Without a terminal, Ray Data prints its progress line by line; its log file has it.
            handler.setLevel(logging.WARNING)
    rows = [{"number": i, "piece": pickle.dumps(piece)} for i, piece in enumerate(pieces)]
    dataset = ray.data.from_items(rows, override_num_blocks=len(rows))
    for row in dataset.map(run_piece).iter_rows():
        if row["refusal"]:
            raise JobError(
                f"A task could not be done: {row['refusal']}. Fix that and run the same command "
                "again: finished parts stay."
            )
        # Unpickling is safe: ``run_piece`` wrote the bytes in this very job.
        yield pieces[row["number"]], pickle.loads(row["result"])
