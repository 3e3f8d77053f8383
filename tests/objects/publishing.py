"""What processes of the race do: `python -m tests.objects.publishing publish|read ...`, in the environment given."""

import json
import os
import sys
import time
from pathlib import Path

from storage.artifacts import Request
from storage.objects import ObjectFiles
from storage.store import Store
from tests.storage.houses import DATASET, toy_selection, toy_store

LARGE = Request(kind="model", settings={"bytes": "many"})


def publish(url: str, writer: str, count: str) -> None:
    """Publish so many new selections under one name, and print the numbers they got."""
    store = Store.open(url)
    base = store.selection(store.version("subset", "toys-clean@1").artifact)
    numbers = []
    for number in range(int(count)):
        settings = {"writer": writer, "number": number}
        request = Request(kind="selection", settings=settings, inputs={"dataset": DATASET.id})
        store.write_selection(request, base, {})
        numbers.append(store.publish("subset", "toys-clean", request.id).number)
    json.dump(numbers, sys.stdout)


def read(url: str, stop: str) -> None:
    """Query the newest version until a file appears; print how many answers were whole, and the numbers seen."""
    store = Store.open(url)
    answers, seen = 0, []
    while answers < 3 or not Path(stop).exists():
        newest = store.version("subset", "toys-clean").number
        rows = store.sql(f'SELECT count(*) AS n, sum(weight) AS w FROM subset."toys-clean@{newest}"')
        assert rows.row(0) == (4, 2.0), rows
        assert [one.number for one in store.versions("subset", "toys-clean")][:newest] == list(range(1, newest + 1))
        answers += 1
        seen.append(newest)
        time.sleep(0.05)
    json.dump([answers, seen], sys.stdout)


def build(url: str, stop_at: str) -> None:
    """Build a small house, ending the process as a kill would at one of the moments of writing; print their number."""
    moments: list[tuple[str, str]] = []

    def watch(operation: str, path: str) -> None:
        moments.append((operation, path))
        if len(moments) == int(stop_at):
            os._exit(9)

    toy_selection(toy_store(ObjectFiles(url, watch)), [1.0, 0.0, 1.0, 0.0])
    json.dump(moments, sys.stdout)


def send(url: str) -> None:
    """Write a file of several parts."""
    store = Store.create(url)
    with store.write(LARGE) as draft:
        draft.add_bytes("model", "model.bin", bytes(range(256)) * (70 * 1024))


if __name__ == "__main__":
    {"publish": publish, "read": read, "build": build, "send": send}[sys.argv[1]](*sys.argv[2:])
