import pytest
import torch

from model.convolutions import Convolutions


@pytest.mark.parametrize("length", [343, 500, 777, 1000])
@pytest.mark.parametrize("strides", [(2, 3, 2, 3, 2), (3, 2), (1,)])
def test_the_dense_form_equals_the_strided_one_at_every_offset(length, strides):
    torch.manual_seed(0)
    channels = (2, *range(3, 3 + len(strides)))
    stack = Convolutions(channels, 7, strides, length, 5).double()
    signal = torch.randn(2, 2, length + 80, dtype=torch.float64)
    dense = stack.dense(signal)
    expected = torch.stack([stack(signal[..., o : o + length]) for o in range(81)], 1)
    assert dense.shape == (2, 81, 5)
    torch.testing.assert_close(dense, expected, rtol=0, atol=1e-10)


def test_runs_beyond_a_cached_group_are_all_there_in_order():
    torch.manual_seed(0)
    stack = Convolutions((1, 3), 7, (2,), 40, 5).double()
    runs = torch.randn(35, 1, 40, dtype=torch.float64)
    expected = torch.cat([stack(run[None]) for run in runs])
    torch.testing.assert_close(stack(runs), expected, rtol=0, atol=1e-12)
