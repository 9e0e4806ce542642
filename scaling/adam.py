"""PyTorch's Adam without PyTorch's compiler, which no step of a run asks for."""

import inspect

import torch


class Adam(torch.optim.Adam):
    """The same steps on the same state.

    PyTorch's own loads all of its compiler to keep it away from these two methods: a second of
    each start of each worker.
    """

    add_param_group = inspect.unwrap(torch.optim.Adam.add_param_group)
    step = torch.no_grad()(inspect.unwrap(torch.optim.Adam.step))
