"""How many threads PyTorch computes with, for as long as a block lasts."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def computing_threads(threads: int | None) -> Iterator[None]:
    """Compute with so many threads inside the block, and with the caller's number after it.

    Args:
        threads: at least 1; None changes nothing.
    """
    if threads is None:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
