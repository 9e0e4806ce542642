"""What the kernels of SaShiMi's state spaces cost: plain numbers, no torch."""


def kernel_shape(samples: int) -> tuple[int, int]:
    """Rows and columns of the products that a kernel of so many samples is computed by."""
    columns = 1 << ((samples - 1).bit_length() + 1) // 2
    return -(-samples // columns), columns


def kernel_products(samples: int, state: int) -> int:
    """Multiply-adds of the products of matrices in :meth:`StateSpace.kernel`, for a channel."""
    rows, columns = kernel_shape(samples)
    doublings = [(count - 1).bit_length() for count in (rows, columns)]
    vectors = sum((1 << doubled) - 1 for doubled in doublings)
    return state**2 * vectors + state**3 * sum(doublings) + rows * columns * state
