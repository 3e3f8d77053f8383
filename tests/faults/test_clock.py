import os
import time
from datetime import UTC, datetime

import pytest

from storage.fsck import check_store
from storage.sweep import Sweep
from tests.storage.houses import toy_selection, toy_store


class Clock(datetime):
    """A clock that was set back by five years."""

    @classmethod
    def now(cls, tz=None):
        return datetime(2021, 11, 21, 12, tzinfo=tz)


@pytest.fixture
def set_back(monkeypatch):
    """From here on the clock shows a time before all that was published."""
    moment = Clock.now(UTC).timestamp()
    for module in ("artifacts", "versions", "tags"):
        monkeypatch.setattr(f"storage.{module}.datetime", Clock)
    monkeypatch.setattr(time, "time", lambda: moment)


def test_versions_are_ordered_by_number_also_when_the_clock_was_set_back(tmp_path, request):
    store = toy_store(tmp_path)
    toy_selection(store, [1, 0, 1, 1])
    store.tag("subset", "production", "toys-clean@1")
    request.getfixturevalue("set_back")
    artifact = toy_selection(store, [1, 1, 1, 1])
    store.tag("subset", "production", "toys-clean@2")
    first, second = store.versions("subset", "toys-clean")
    assert second.created_at < first.created_at
    assert (second.created_at, second.artifact) == ("2021-11-21T12:00:00+00:00", artifact)
    assert store.version("subset", "toys-clean") == second
    assert store.version("subset", "production") == second
    assert store.sql('SELECT sum(weight) AS n FROM subset."toys-clean"')["n"][0] == 4
    assert store.sql("SELECT version FROM catalog.versions WHERE kind = 'subset'")["version"].to_list() == [
        "toys-clean@1",
        "toys-clean@2",
    ]
    assert store.record(artifact).seconds >= 0
    assert list(check_store(store.files)) == []


def test_a_sweep_after_the_clock_was_set_back_removes_nothing(tmp_path, request):
    store = toy_store(tmp_path)
    (tmp_path / "versions" / "dataset" / "toys" / "00000001.json").unlink()
    (tmp_path / "_tmp" / "abc").write_bytes(b"half")
    assert len(Sweep(store.files, grace_seconds=0).find()) == 2
    request.getfixturevalue("set_back")
    assert Sweep(store.files, grace_seconds=0).find() == []


@pytest.mark.parametrize("set_back_ns", [10**12, 0])
def test_a_source_that_was_changed_under_an_older_clock_is_read_anew(tmp_path, set_back_ns):
    from storage.files import Files
    from storage.ingest.source import Source, fingerprint

    path, files = tmp_path / "a.csv", Files(tmp_path / "store")
    path.write_text("x,y\n1,a\n")
    before = fingerprint(Source(location=str(path)), files)
    assert fingerprint(Source(location=str(path)), files) == before
    time.sleep(0.02)
    times = path.stat()
    path.write_text("x,y\n2,a\n")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns - set_back_ns))
    assert fingerprint(Source(location=str(path)), files) != before
