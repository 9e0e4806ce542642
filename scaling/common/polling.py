"""Periodic calls beside a running block."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def polling_every(look: Callable[[], None], seconds: float) -> Iterator[None]:
    """Call ``look`` every ``seconds`` in a thread of its own while the block runs."""
    over = threading.Event()

    def body() -> None:
        while not over.wait(seconds):
            look()

    thread = threading.Thread(target=body, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
