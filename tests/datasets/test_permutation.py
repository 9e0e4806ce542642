import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets.permutation import derive_key, permute


@pytest.mark.parametrize("count", [*range(1, 70), 255, 256, 257, 1000, 4095, 4097, 65_537])
def test_it_is_a_bijection(count):
    images = permute(np.arange(count), count, derive_key("bijection", count))
    assert np.array_equal(np.sort(images), np.arange(count))


@given(count=st.integers(1, 2**62), data=st.data())
@settings(deadline=None)
def test_huge_counts_need_no_table(count, data):
    indexes = np.array(sorted(data.draw(st.sets(st.integers(0, count - 1), max_size=50))), np.int64)
    images = permute(indexes, count, derive_key("huge"))
    assert len(set(images.tolist())) == len(indexes)
    assert ((images >= 0) & (images < count)).all()


def test_an_image_does_not_depend_on_the_other_requested_ones():
    whole = permute(np.arange(1000), 1000, derive_key(7))
    assert [
        int(permute(np.array([i]), 1000, derive_key(7))[0]) for i in range(1000)
    ] == whole.tolist()


def test_images_are_pinned_for_all_time():
    # Pinned: stored runs resume in this order.
    assert permute(np.arange(8), 1000, derive_key("pinned", 1)).tolist() == [
        519,
        663,
        660,
        345,
        691,
        450,
        954,
        287,
    ]


def test_neighbours_are_scattered():
    count = 100_000
    images = permute(np.arange(count), count, derive_key("scatter", 3)).astype(float)
    assert abs(np.corrcoef(np.arange(count), images)[0, 1]) < 0.02
    assert abs(np.corrcoef(images[:-1], images[1:])[0, 1]) < 0.02
    # The first tenth of the indexes spreads evenly: chi-squared, 9 degrees of freedom.
    parts = np.bincount((images[: count // 10] * 10 / count).astype(int), minlength=10)
    assert ((parts - 1000) ** 2 / 1000).sum() < 40


def test_keys_give_orders_that_have_nothing_to_do_with_each_other():
    one, two = (permute(np.arange(10_000), 10_000, derive_key("seed", seed)) for seed in (0, 1))
    assert (one == two).sum() < 10
    assert abs(np.corrcoef(one, two)[0, 1]) < 0.05


def test_keys_tell_values_types_and_grouping_apart():
    parts = [(1, 2), (12,), ("1", 2), ("12",), (1, 2, 0), ()]
    assert len({derive_key(*each) for each in parts}) == len(parts)


@pytest.mark.parametrize("indexes", [[-1], [10], [0, 11]])
def test_indexes_outside_are_refused(indexes):
    with pytest.raises(ValueError, match=r"are not all in 0\.\.9"):
        permute(np.array(indexes), 10, derive_key())


def test_no_indexes_can_be_permuted_among_none():
    with pytest.raises(ValueError, match="A permutation of 0 indexes"):
        permute(np.array([], dtype=np.int64), 0, derive_key())
