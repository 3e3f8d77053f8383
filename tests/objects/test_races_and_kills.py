import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.fsck import check_store
from storage.store import Store
from storage.sweep import Sweep
from tests.objects import publishing
from tests.storage.houses import toy_selection, toy_store

REPOSITORY = Path(__file__).parents[2]


def start(*arguments: str, cache: Path | None = None) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"} | ({} if cache is None else {"TAMIS_CACHE": str(cache)})
    command = [sys.executable, "-m", "tests.objects.publishing", *arguments]
    return subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, text=True)


def answers(processes: list[subprocess.Popen[str]]) -> Iterator[list]:
    for process in processes:
        told, _ = process.communicate(timeout=240)
        assert process.returncode == 0
        yield json.loads(told)


def content(store: Store) -> dict[str, list[str]]:
    return {one: [file.sha256 for file in store.record(one).files] for one in store.artifacts.ids()}


def race(url: str, tmp_path: Path, writers: int, count: int, readers: int) -> None:
    toy_selection(toy_store(url), [1.0, 0.0, 1.0, 0.0])
    stop = tmp_path / "stop"
    reading = [start("read", url, str(stop), cache=tmp_path / f"reader-{one}") for one in range(readers)]
    writing = [start("publish", url, str(one), str(count), cache=tmp_path / f"writer-{one}") for one in range(writers)]
    published = [number for numbers in answers(writing) for number in numbers]
    stop.touch()
    assert sorted(published) == list(range(2, 2 + writers * count))
    for whole, seen in answers(reading):
        assert whole == len(seen) >= 3
        assert seen == sorted(seen)
    store = Store.open(url)
    versions = store.versions("subset", "toys-clean")
    assert [one.number for one in versions] == list(range(1, 2 + writers * count))
    assert len({one.artifact for one in versions}) == len(versions)
    assert [*check_store(store.files)] == []


def test_two_processes_that_publish_one_name_get_consecutive_numbers(url, tmp_path):
    race(url, tmp_path, writers=2, count=3, readers=1)


@pytest.mark.slow
def test_four_processes_publish_eight_times_each_while_others_read(url, tmp_path):
    race(url, tmp_path, writers=4, count=8, readers=2)


def kill_and_rerun(url: str, moment: int, cache: Path) -> None:
    """Build a house in a process that ends at a moment, look at what is left, and build it again."""
    killed = start("build", url, str(moment), cache=cache)
    killed.communicate(timeout=60)
    assert killed.returncode == 9
    if "store.json" in Store.create(url).files.top():
        store = Store.open(url)
        for name, kind in (("toys", "dataset"), ("toys-clean", "subset")):
            for version in store.versions(kind, name):
                assert store.sql(f'SELECT count(*) AS n FROM {kind}."{version}"')["n"][0] in (4, 5)
        assert {finding.severity for finding in check_store(store.files)} <= {"leftover"}
    again = toy_store(url)
    toy_selection(again, [1.0, 0.0, 1.0, 0.0])
    list(Sweep(again.files, grace_seconds=0).remove())
    assert [*check_store(again.files)] == []


def moments_of(url: str, cache: Path) -> list[list[str]]:
    (moments,) = answers([start("build", f"{url}-unbroken", "0", cache=cache)])
    return moments


def test_a_writer_killed_before_and_after_it_sends_a_record_leaves_nothing_half_done(url, tmp_path):
    moments = moments_of(url, tmp_path / "first")
    records = [number for number, (_, path) in enumerate(moments, 1) if path.endswith("record.json")]
    for place, moment in enumerate((records[0], records[1])):
        kill_and_rerun(f"{url}-{place}", moment, tmp_path / f"cache-{place}")
        assert content(Store.open(f"{url}-{place}")) == content(Store.open(f"{url}-unbroken"))


@pytest.mark.slow
def test_a_writer_killed_at_any_moment_leaves_nothing_half_done(url, tmp_path):
    moments = moments_of(url, tmp_path / "first")
    assert len(moments) > 20
    for moment in range(1, len(moments) + 1):
        kill_and_rerun(f"{url}-{moment}", moment, tmp_path / "cache")
        assert content(Store.open(f"{url}-{moment}")) == content(Store.open(f"{url}-unbroken"))


def test_a_writer_killed_in_the_middle_of_an_upload_leaves_nothing_to_see(url, server, tmp_path):
    killed = start("send", url, cache=tmp_path / "killed")

    def kill(asked) -> int | None:
        if "partNumber=2" in asked.query and killed.poll() is None:
            os.kill(killed.pid, signal.SIGKILL)
            killed.wait(10)
        return None

    server.refuse = kill
    killed.communicate(timeout=60)
    assert killed.returncode == -signal.SIGKILL
    server.refuse = lambda asked: None
    store = Store.open(url)
    assert store.files.top() == ["store.json"]
    assert [*check_store(store.files)] == []
    publishing.send(url)
    publishing.send(f"{url}-unbroken")
    assert content(store) == content(Store.open(f"{url}-unbroken"))
    assert len(content(store)) == 1
