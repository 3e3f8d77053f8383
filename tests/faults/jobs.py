"""What children of the warm process do: each job is one function, its arguments and result are JSON."""

import contextlib
import errno
import hashlib
import io
import os
import resource
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from flows import cli
from storage.artifacts import Request
from storage.errors import NotFoundError
from storage.fsck import check_store
from storage.store import Store
from storage.sweep import Sweep
from storage.values import Selection
from storage.versions import KINDS
from tests.faults import building
from tests.storage.houses import DATASET

Say = Callable[[object], None]

WARM = (
    "curation.scorers.el2n",
    "curation.selectors.top_fraction",
    "flows.append_examples",
    "flows.assemble_scores",
    "flows.ingest_by_hand",
    "flows.ingest_examples",
    "flows.relabel_examples",
    "flows.report.answers",
    "flows.report.shown",
    "flows.report.upkeep",
    "flows.score_examples",
    "flows.select_examples",
    "storage.catalog_file",
    "storage.ingest.formats.csv",
)
"""What is imported late elsewhere, and before the fork here."""

WRITES = ("write", "opened", "written", "link", "replace", "private", "native write", "native written")
"""Moments at which a disk without room shows it."""


def work(
    *,
    say: Say,
    chain: str,
    root: str,
    sources: str,
    kill_at: int | None = None,
    fail_at: int | None = None,
    number: int = errno.ENOSPC,
    lasting: bool = False,
    user: int | None = None,
    file_bytes: int | None = None,
) -> dict[str, Any]:
    """Build or extend a house; the moments it passed.

    Args:
        say: told of every version that stands.
        chain: `build` or `extend`.
        root: the store.
        sources: where the house's sources are.
        kill_at: number of the moment, from 1, at which the process is killed.
        fail_at: number of the moment at which the operating system refuses.
        number: the refusal, as in `errno`.
        lasting: whether everything that needs room fails from there on.
        user: id of a user to become first.
        file_bytes: most bytes of a file.
    """
    if file_bytes is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))
    _become(user)
    passed: list[str] = []

    def watch(operation: str, path: str) -> None:
        passed.append(operation)
        if len(passed) == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        refused = fail_at is not None and len(passed) > fail_at and lasting and operation in WRITES
        if len(passed) == fail_at or refused:
            raise OSError(number, os.strerror(number))

    getattr(building, chain)(Path(root), Path(sources), watch, say)
    return {"passed": passed}


def state(*, say: Say, root: str) -> dict[str, Any]:
    """What a reader sees: every version with the hashes of its files, rows by SQL, and what fsck says."""
    try:
        store = Store.open(root)
    except NotFoundError:
        return {"versions": {}, "findings": []}
    findings = [(one.severity, str(one)) for one in check_store(store.files)]
    return {"versions": _versions(store), "findings": findings}


def recover(*, say: Say, chain: str, root: str, sources: str, sweep_first: bool) -> dict[str, Any]:
    """State after a kill; then run again, sweep before or after, and the state at the end."""
    after_kill = state(say=say, root=root)
    swept = sweep_first and (Path(root) / "store.json").exists()
    if swept:
        _swept(Store.open(root))
    getattr(building, chain)(Path(root), Path(sources))
    if not swept:
        _swept(Store.open(root))
    return {"after_kill": after_kill, "at_the_end": state(say=say, root=root)}


def read_on(*, say: Say, root: str, done: list[str], times: int = 1) -> dict[str, int]:
    """Read all there is, so many times or more, until files say that the writers are done; errors are the job's."""
    rounds = 0
    numbers: dict[tuple[str, str], int] = {}
    while True:
        last = rounds >= times - 1 and all(Path(one).exists() for one in done)
        with contextlib.suppress(NotFoundError):
            store = Store.open(root)
            for kind in KINDS:
                for name in store.names(kind):
                    versions = store.versions(kind, name)
                    assert [one.number for one in versions] == list(range(1, len(versions) + 1))
                    assert len(versions) >= numbers.get((kind, name), 0)
                    numbers[kind, name] = len(versions)
                    for one in versions[-3:]:
                        _whole(store, one.artifact)
                    assert store.sql(f'SELECT count(*) AS n FROM {kind}."{name}"')["n"][0] > 0
        rounds += 1
        if last:
            return {"rounds": rounds}


def publish(*, say: Say, root: str, names: list[str], writer: int, times: int, done: str) -> list[list[object]]:
    """Publish artifacts of one's own on names that others publish on too; name, number and artifact of each."""
    store = Store.open(root)
    published: list[list[object]] = []
    try:
        for turn in range(times):
            name = names[turn % len(names)]
            artifact = _toy_selection(store, [float(writer + 1), float(turn + 1), 1.0, 0.0])
            version = store.publish("subset", name, artifact)
            published.append([name, version.number, version.artifact])
    finally:
        Path(done).touch()
    return published


def change(*, say: Say, arguments: list[str], done: str) -> dict[str, Any]:
    """What `tamis` does with these arguments, and a file that says that it has ended."""
    try:
        return tamis(say=say, arguments=arguments)
    finally:
        Path(done).touch()


def tamis(*, say: Say, arguments: list[str], user: int | None = None, file_bytes: int | None = None) -> dict[str, Any]:
    """Exit code and what the command line wrote."""
    if file_bytes is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))
    _become(user)
    out, err = io.StringIO(), io.StringIO()
    code: object = None
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            cli.main(arguments)
        except SystemExit as stop:
            code = stop.code
    return {"code": code, "out": out.getvalue(), "err": err.getvalue()}


def _become(user: int | None) -> None:
    if user is not None:
        os.setgid(user)
        os.setuid(user)


def _swept(store: Store) -> None:
    time.sleep(0.002)
    list(Sweep(store.files, grace_seconds=0).remove())


def _versions(store: Store) -> dict[str, Any]:
    """By version: its artifact, and table, rows and hash of each of its files, read anew."""
    found: dict[str, Any] = {}
    for kind in KINDS:
        for name in store.names(kind):
            for version in store.versions(kind, name):
                found[f"{kind} {version}"] = [version.artifact, _whole(store, version.artifact)]
            assert store.sql(f'SELECT count(*) AS n FROM {kind}."{name}"')["n"][0] > 0
    return found


def _whole(store: Store, artifact: str) -> list[list[object]]:
    """Files of an artifact and of all that it was made from, each held against its record."""
    waiting, files, seen = [artifact], [], set()
    while waiting:
        record = store.record(waiting.pop())
        waiting += sorted(set(record.request.inputs.values()) - seen)
        seen |= set(record.request.inputs.values())
        for file in record.files:
            found = hashlib.sha256((store.root / file.path).read_bytes()).hexdigest()
            assert found == file.sha256, f"{file.path} of {record.id} is not what its record says"
            files.append([record.id, file.table, file.rows, found])
    return files


def _toy_selection(store: Store, weights: list[float]) -> str:
    """A selection over the toy store's data set."""
    index = store.dataset("toys").index("train")
    reasons = np.array(["kept"] * len(index), dtype=object)
    selection = Selection(index=index, weights=np.array(weights, dtype=np.float32), reasons=reasons)
    request = Request(kind="selection", settings={"weights": weights}, inputs={"dataset": DATASET.id})
    store.write_selection(request, selection, {})
    return request.id
