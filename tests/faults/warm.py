"""The warm process as tests see it: jobs in, ends out."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


class Warm:
    """Runs jobs in children of a process that has imported everything already."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.warm_server"],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._answer() == "ready"

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())

    def together(self, *jobs: tuple[str, dict[str, Any]], kill_after: float | None = None) -> list[dict[str, Any]]:
        """Ends of jobs that ran at the same time; the first is killed after so many seconds, if it is to be."""
        wanted: list[dict[str, Any]] = [{"name": name, "arguments": arguments} for name, arguments in jobs]
        if kill_after is not None:
            wanted[0]["kill_after_seconds"] = kill_after
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(wanted) + "\n")
        self._process.stdin.flush()
        ends: list[dict[str, Any]] = self._answer()
        assert not any(one["hung"] for one in ends), ends
        return ends

    def end(self, name: str, **arguments: Any) -> dict[str, Any]:
        """How one job ended: killed, with an error, or with a result."""
        return self.together((name, arguments))[0]

    def result(self, name: str, **arguments: Any) -> Any:
        """The result of one job that must not fail."""
        end = self.end(name, **arguments)
        assert "result" in end, end.get("trace", end)
        return end["result"]

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(20)


def commands_on(warm: Warm, place: Path, commands: Iterable[Sequence[str]]) -> list[dict[str, Any]]:
    """How commands ended that ran at the same time on a store."""
    return warm.together(*(("tamis", {"arguments": [*one, "--store", str(place)]}) for one in commands))


def one_sentence(end: dict[str, Any], *, names: str) -> None:
    """A command that failed said one line, without a traceback, that has these words in it."""
    assert "result" in end, end.get("trace")
    result = end["result"]
    assert result["code"] == 1, result
    assert len(result["err"].splitlines()) == 1, result["err"]
    assert result["err"].startswith("tamis: ")
    assert "Traceback" not in result["err"]
    assert names in result["err"]
