import os

import pytest
import ray.exceptions
from hypothesis import given
from hypothesis import strategies as st

from datasets import jobs
from datasets.manifest import Rejected


@given(pieces=st.lists(st.integers(), max_size=50), size=st.integers(1, 9))
def test_groups_have_all_pieces_in_order(pieces, size):
    groups = jobs.group_pieces(pieces, size)
    assert [piece for group in groups for piece in group] == pieces
    assert all(len(group) == size for group in groups[:-1])
    assert all(0 < len(group) <= size for group in groups)


@pytest.mark.parametrize("pieces", [4_096, 4_097, 100_000])
def test_groups_grow_rather_than_being_too_many(pieces):
    groups = jobs.group_pieces(range(pieces), 1)
    assert len(groups) <= 4_096
    assert sum(map(len, groups)) == pieces


def test_no_pieces_need_no_cluster():
    assert list(jobs.run_tasks([], lambda piece: piece)) == []


def test_each_piece_is_returned_with_its_result(ray_session):
    pieces = [[Rejected(str(i), "r" * i)] for i in range(5)]
    results = list(jobs.run_tasks(pieces, lambda piece: (os.getpid(), piece[0].reason)))
    assert sorted(piece[0].name for piece, _ in results) == ["0", "1", "2", "3", "4"]
    assert all(reason == piece[0].reason for piece, (_, reason) in results)
    assert os.getpid() not in {process for _, (process, _) in results}


def test_errors_of_the_system_are_reported_with_the_reason(ray_session):
    def work(piece):
        raise OSError(28, "No space left on device", piece)

    with pytest.raises(jobs.JobError, match=r"could not be done: .*No space left.*'x'\. Fix that"):
        list(jobs.run_tasks(["x"], work))


def test_another_error_in_a_piece_is_raised_with_its_reason(ray_session):
    def work(piece):
        raise ZeroDivisionError(f"nothing by {piece}")

    with pytest.raises(ray.exceptions.RayTaskError, match="nothing by x"):
        list(jobs.run_tasks(["x"], work))
