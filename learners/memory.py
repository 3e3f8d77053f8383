"""ExampleMemory: some numbers of every example, read and written by position."""

from torch import Tensor

Place = Tensor | tuple[Tensor, int]
"""(B,) positions, or these and one column."""


class ExampleMemory:
    """A view of an (N, width) buffer that gives and takes float32, whatever the buffer is held as."""

    def __init__(self, rows: Tensor) -> None:
        self.rows = rows

    def __getitem__(self, place: Place) -> Tensor:
        """(B, width) float32 copies."""
        return self.rows[place].float()

    def __setitem__(self, place: Place, values: Tensor) -> None:
        self.rows[place] = values.to(self.rows)
