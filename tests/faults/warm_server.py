"""Runs jobs in forked children of a process that has imported everything, so that a job starts in milliseconds.

Reads a JSON list of jobs per line and answers with a JSON list of their ends. The jobs of a line run at the same
time. Nothing here may use a thread pool before the fork: the pool would be missing in the child.
"""

import json
import os
import selectors
import signal
import sys
import time
import traceback
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from tests.faults import jobs

LONGEST_SECONDS = 100.0


@dataclass
class Running:
    process: int
    stop_at: float
    hung: bool = False
    text: bytearray = field(default_factory=bytearray)

    def end(self) -> dict[str, Any]:
        _, status = os.waitpid(self.process, 0)
        lines = self.text.split(b"\n")[:-1]
        told = [json.loads(line) for line in lines]
        results = [one for one in told if isinstance(one, dict)]
        return {
            "killed": os.WIFSIGNALED(status),
            "hung": self.hung,
            "said": [one for one in told if isinstance(one, str)],
            **(results[-1] if results else {}),
        }


def start(job: dict[str, Any]) -> tuple[int, Running]:
    """Fork a child that does one job."""
    read_end, write_end = os.pipe()
    process = os.fork()
    if not process:
        os.close(read_end)
        _work(job, write_end)
    os.close(write_end)
    kill_after = job.get("kill_after_seconds")
    stop_at = time.monotonic() + (LONGEST_SECONDS if kill_after is None else kill_after)
    return read_end, Running(process=process, stop_at=stop_at)


def _work(job: dict[str, Any], write_end: int) -> None:
    """Do a job in the child and leave, without running anything that the parent had prepared for its own end."""

    def say(told: object) -> None:
        os.write(write_end, json.dumps(told).encode() + b"\n")

    try:
        say({"result": getattr(jobs, job["name"])(say=say, **job["arguments"])})
    except BaseException as error:  # noqa: BLE001 (the parent judges)
        say({"error": type(error).__name__, "text": str(error), "trace": traceback.format_exc()})
    os._exit(0)


def run(wanted: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Run jobs at the same time until all have ended; kill those that are to be killed."""
    running = dict(map(start, wanted))
    ends: dict[int, dict[str, Any]] = {}
    order = list(running)
    with selectors.DefaultSelector() as selector:
        for descriptor in running:
            selector.register(descriptor, selectors.EVENT_READ)
        while len(ends) < len(order):
            waiting = [one for one in order if one not in ends]
            soonest = min(running[one].stop_at for one in waiting) - time.monotonic()
            for key, _ in selector.select(max(soonest, 0)):
                data = os.read(key.fd, 65536)
                running[key.fd].text += data
                if not data:
                    selector.unregister(key.fd)
                    ends[key.fd] = running[key.fd].end()
                    os.close(key.fd)
            for one, job in zip(order, wanted, strict=True):
                if one not in ends and running[one].stop_at <= time.monotonic():
                    running[one].hung = "kill_after_seconds" not in job
                    running[one].stop_at += LONGEST_SECONDS
                    os.kill(running[one].process, signal.SIGKILL)
    return [ends[one] for one in order]


def answer(told: object) -> None:
    """Tell the parent."""
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    for module in jobs.WARM:
        import_module(module)
    answer("ready")
    for line in sys.stdin:
        answer(run(json.loads(line)))
