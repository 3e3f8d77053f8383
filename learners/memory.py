"""Numbers of every example: where they are held, and how they are read and written by position.

On disk they lie in a file without a name, in the directory for temporary files (`TMPDIR`), which the system removes
with the process however it ends. It is no part of a store: what must outlive the process is in a checkpoint.
"""

import mmap
import os
import tempfile
from typing import Literal

import torch
from torch import Tensor

Place = Tensor | tuple[Tensor, int]
"""(B,) positions, or these and one column."""

BuffersOn = Literal["memory", "disk"]
"""Where memories of examples are held."""


class ExampleMemory:
    """A view of an (N, width) buffer that gives and takes float32, whatever the buffer is held as."""

    def __init__(self, rows: Tensor) -> None:
        self.rows = rows

    def __getitem__(self, place: Place) -> Tensor:
        """(B, width) float32 copies."""
        return self.rows[place].float()

    def __setitem__(self, place: Place, values: Tensor) -> None:
        self.rows[place] = values.to(self.rows)


def zeros_on_disk(num_examples: int, width: int, held_as: torch.dtype) -> Tensor:
    """Rows in a mapped file that goes with the tensor.

    Room for all of it is taken at once, so that a full disk is found out here and not in the middle of training.

    Args:
        num_examples: N, at least 1.
        width: numbers per example, at least 1.
        held_as: type of a number.

    Returns:
        (N, width) zeros on the CPU, to be read and written like any other tensor.

    Raises:
        OSError: the directory for temporary files has no room for them.
    """
    num_bytes = num_examples * width * held_as.itemsize
    with tempfile.TemporaryFile() as file:
        try:
            os.posix_fallocate(file.fileno(), 0, num_bytes)
        except OSError as error:
            raise OSError(
                f"no room for {num_bytes:,} bytes of examples' memories in {tempfile.gettempdir()} ({error}); "
                "set TMPDIR to a directory with more, or buffers_on to memory"
            ) from error
        mapped = mmap.mmap(file.fileno(), num_bytes)
    mapped.madvise(mmap.MADV_RANDOM)
    return torch.frombuffer(mapped, dtype=held_as).view(num_examples, width)
