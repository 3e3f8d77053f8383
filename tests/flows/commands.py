"""The command line, run in the process of the tests."""

import pytest

from flows import cli


def tamis(*arguments: str, capsys) -> tuple[int, str, str]:
    """Exit code, standard output, standard error."""
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    captured = capsys.readouterr()
    return int(stop.value.code or 0), captured.out, captured.err
