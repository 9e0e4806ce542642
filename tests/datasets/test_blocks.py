import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets.blocks import reblocked


@given(sizes=st.lists(st.integers(0, 30)), size=st.integers(1, 12))
def test_blocks_of_one_length_have_the_same_values(sizes, size):
    values = np.arange(sum(sizes))
    found = list(reblocked(np.split(values, np.cumsum(sizes)[:-1]), size))
    assert [len(block) for block in found[:-1]] == [size] * (len(found) - 1)
    assert all(0 < len(block) <= size for block in found)
    assert np.array_equal(np.concatenate([values[:0], *found]), values)


def test_a_block_is_passed_on_as_soon_as_it_is_full():
    def broken():
        yield np.arange(4)
        yield np.arange(2)
        raise OSError("no more")

    found = reblocked(broken(), 3)
    assert [next(found).tolist() for _ in range(2)] == [[0, 1, 2], [3, 0, 1]]
    with pytest.raises(OSError, match="no more"):
        next(found)
