"""The console that people read. What is printed on it is data, in which `[/b]` and `:apple:` stand for themselves."""

from typing import TextIO

from rich.console import Console


class PlainConsole(Console):
    """A console that takes no text for markup or emoji; styles are given beside the text."""

    def __init__(self, *, stderr: bool = False, file: TextIO | None = None, width: int | None = None) -> None:
        """Print on standard output, standard error or a file, as wide as the terminal or as given."""
        super().__init__(stderr=stderr, file=file, width=width, markup=False, emoji=False)
