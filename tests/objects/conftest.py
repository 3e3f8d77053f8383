"""An S3-compatible server on loopback, and empty buckets on it.

moto looks whether an object is there and then writes it, without a lock between, so a server with a thread per
request could let two conditional puts pass. This one answers one request at a time, as if it had that lock.
"""

import itertools
import threading
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

_NUMBERS = itertools.count()


@dataclass(frozen=True)
class Asked:
    method: str
    path: str
    query: str


def heard(asked: Asked) -> int | None:
    return None


@dataclass
class Server:
    endpoint: str
    asked: list[Asked] = field(default_factory=list)
    """Every request so far."""
    refuse: Callable[[Asked], int | None] = heard
    """A status to answer instead of doing what is asked; None does it."""
    lose: Callable[[Asked], int | None] = heard
    """A status to answer although what is asked was done; None answers truly."""

    is_deaf: bool = False
    """Whether conditions of puts are not heard, as by an old server."""

    def count(self, method: str, ending: str = "") -> int:
        return sum(one.method == method and one.path.endswith(ending) for one in self.asked)


def _application(server: Server) -> Callable[[Any, Any], Any]:
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

    moto = DomainDispatcherApplication(create_backend_app)

    def answer(environ: Any, start_response: Any) -> Any:
        asked = Asked(environ["REQUEST_METHOD"], environ["PATH_INFO"], environ.get("QUERY_STRING", ""))
        server.asked.append(asked)
        if server.is_deaf:
            environ.pop("HTTP_IF_NONE_MATCH", None)
        status = server.refuse(asked)
        if status is None:
            lost = server.lose(asked)
            if lost is None:
                return moto(environ, start_response)
            list(moto(environ, lambda *_: None))
            status = lost
        else:
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        start_response(f"{status} Status", [("Content-Type", "application/xml")])
        return [b""]

    return answer


@pytest.fixture(scope="session")
def running_server() -> Iterator[Server]:
    pytest.importorskip("obstore", reason="obstore is not installed: pip install 'tamis[objects]'")
    pytest.importorskip("moto.server", reason="moto is not installed: pip install 'moto[server]'")
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Quiet(WSGIRequestHandler):
        def log(self, *_: Any) -> None:
            pass

    server = Server("")
    made = make_server("127.0.0.1", 0, _application(server), threaded=False, request_handler=Quiet)
    server.endpoint = f"http://127.0.0.1:{made.server_port}"
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield server
    made.shutdown()
    thread.join()
    made.server_close()


@pytest.fixture
def server(running_server, monkeypatch, tmp_path) -> Iterator[Server]:
    for name, value in {
        "AWS_ENDPOINT_URL": running_server.endpoint,
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "us-east-1",
        "TAMIS_CACHE": str(tmp_path / "cache"),
    }.items():
        monkeypatch.setenv(name, value)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    yield running_server
    running_server.refuse = running_server.lose = heard
    running_server.is_deaf = False


@pytest.fixture
def url(server) -> str:
    name = f"bucket-{next(_NUMBERS)}"
    request = urllib.request.Request(f"{server.endpoint}/{name}", method="PUT")
    with urllib.request.urlopen(request) as answer:
        assert answer.status == 200
    server.asked.clear()
    return f"s3://{name}/stores/one"


@pytest.fixture
def elsewhere(monkeypatch, tmp_path) -> Callable[[], None]:
    """Makes what follows run as on another machine: with an empty cache."""
    numbers = itertools.count()
    return lambda: monkeypatch.setenv("TAMIS_CACHE", str(tmp_path / f"elsewhere-{next(numbers)}"))
