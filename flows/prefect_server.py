"""A Prefect server for as long as schedules are served, where the user runs none.

Prefect's temporary server cannot schedule; this one can, and its pages can be opened in a browser.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.error import URLError
from urllib.request import urlopen

USUAL_PORT = 4200
START_SECONDS = 120.0
"""Longest wait for the server to answer."""


@contextmanager
def prefect_server() -> Iterator[str]:
    """The URL of a server's pages: the user's own if PREFECT_API_URL is set, else one that ends with the block.

    Sets PREFECT_API_URL, so Prefect must be imported inside the block.

    Raises:
        TimeoutError: the server did not answer in time.
    """
    if "PREFECT_API_URL" in os.environ:
        yield os.environ["PREFECT_API_URL"].removesuffix("/api")
        return
    port = _free_port()
    environment = {
        **os.environ,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL",
    }
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    process = subprocess.Popen(  # noqa: S603 (no user input)
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        _wait(process, f"http://127.0.0.1:{port}/api/health")
        os.environ["PREFECT_API_URL"] = environment["PREFECT_API_URL"]
        yield f"http://127.0.0.1:{port}"
    finally:
        os.environ.pop("PREFECT_API_URL", None)
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the server with all its children."""
    for kill in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, kill)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=10)
            return


def _free_port() -> int:
    for wanted in (USUAL_PORT, 0):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", wanted))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise OSError("no free port on 127.0.0.1 for Prefect's server")


def _wait(process: subprocess.Popen[bytes], health: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise OSError(
                f"Prefect's server ended at once (exit code {process.returncode}); try `prefect server start`"
            )
        try:
            with urlopen(health, timeout=2):  # noqa: S310 (loopback)
                return
        except (URLError, OSError):
            time.sleep(0.3)
    raise TimeoutError(
        f"Prefect's server did not answer within {START_SECONDS:.0f} s; set PREFECT_API_URL to one that runs"
    )
