import threading
import time

import pytest

from storage.errors import QueryError
from storage.limits import Deadline, Limits, parse_size
from storage.query import stream
from tests.storage.houses import toy_store

ENDLESS = "SELECT count(*) FROM range(1000000000) a, range(1000) b WHERE a.range <> b.range"


def test_a_query_that_takes_too_long_is_stopped_and_says_so(tmp_path):
    store = toy_store(tmp_path)
    started = time.perf_counter()
    with pytest.raises(QueryError, match=r"stopped after 0\.3 s; allow it more time \(--timeout\)"):
        store.sql(ENDLESS, Limits(timeout_seconds=0.3))
    assert 0.3 <= time.perf_counter() - started < 5
    assert not [thread for thread in threading.enumerate() if thread.name == "tamis-sql-timeout"]


def test_a_query_within_its_time_is_left_alone(tmp_path):
    store = toy_store(tmp_path)
    assert store.sql("SELECT count(*) FROM dataset.toys", Limits(timeout_seconds=60)).item() == 5
    assert not [thread for thread in threading.enumerate() if thread.name == "tamis-sql-timeout"]


def test_an_answer_read_too_slowly_is_stopped_too(tmp_path):
    store = toy_store(tmp_path)
    sql = "SELECT range AS n FROM range(100000)"
    limits = Limits(timeout_seconds=0.2)
    parts = stream(store.files, store.artifacts, store._versions, sql, limits, rows_per_frame=10)
    assert len(next(parts)) == 10
    time.sleep(0.4)
    with pytest.raises(QueryError, match=r"stopped after 0\.2 s"):
        list(parts)


def test_a_reader_that_stops_early_leaves_no_thread(tmp_path):
    store = toy_store(tmp_path)
    parts = stream(store.files, store.artifacts, store._versions, "SELECT 1", Limits(timeout_seconds=60))
    next(parts)
    parts.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "tamis-sql-timeout"]


def test_a_query_that_needs_too_much_memory_says_so(tmp_path):
    sql = "SELECT count(DISTINCT n) FROM (SELECT list(range) AS n FROM range(30000000))"
    with pytest.raises(QueryError, match=r"more than the 40 MB of memory it may use; allow it more \(--memory\)"):
        toy_store(tmp_path).sql(sql, Limits(memory_bytes=40_000_000, threads=1))


def test_a_sort_that_does_not_fit_goes_to_disk_and_ends(tmp_path):
    sql = "SELECT md5(range::VARCHAR) AS text FROM range(1000000) ORDER BY text LIMIT 1 OFFSET 999999"
    last = toy_store(tmp_path).sql(sql, Limits(memory_bytes=40_000_000, threads=1)).item()
    assert last.startswith("ffff")


def test_limits_reach_the_database_and_a_query_cannot_lift_them(tmp_path):
    store = toy_store(tmp_path)
    seen = "SELECT current_setting('threads')::INT AS threads, current_setting('memory_limit') AS memory"
    assert store.sql(seen, Limits(memory_bytes=2**26, threads=1)).rows() == [(1, "64.0 MiB")]
    for text in ("SET threads = 8", "SET memory_limit = '8GB'", "RESET threads"):
        with pytest.raises(QueryError, match=r"a query changes no setting; .* set with --memory, --threads and --time"):
            store.sql(text, Limits(threads=1))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"memory_bytes": 1000}, "memory_bytes must be at least 16000000, got 1000"),
        ({"threads": 0}, "threads must be at least 1, got 0"),
        ({"timeout_seconds": 0.0}, "timeout_seconds must be above 0, got 0.0"),
        ({"timeout_seconds": float("nan")}, "timeout_seconds must be above 0, got nan"),
    ],
)
def test_a_limit_that_makes_no_sense_is_refused(settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        Limits(**settings)


@pytest.mark.parametrize(
    ("text", "size"),
    [("2GB", 2_000_000_000), ("500 MB", 500_000_000), ("1.5GiB", 1_610_612_736), ("64mib", 67_108_864), ("7B", 7)],
)
def test_sizes_are_read_with_their_unit(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "2", "GB", "-2GB", "2 G B", "1e3MB", "2PB", "two GB", "٣GB", "2GB\n2GB"])
def test_other_sizes_are_refused_with_an_example(text):
    with pytest.raises(ValueError, match=r"a number with a unit, such as 500MB, 2GB or 1\.5GiB, got "):
        parse_size(text)


def test_without_a_limit_there_is_no_deadline():
    deadline = Deadline(None)
    assert deadline.left_seconds is None
    assert not deadline.passed
    deadline.check()
